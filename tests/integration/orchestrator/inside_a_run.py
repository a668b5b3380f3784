"""An agent that tries every door with the token of its run, and writes what it found to ``found.json``."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable
from pathlib import Path

from autopack_api.common.v1.common_pb2 import TokenUsage
from autopack_api.hardening.v1 import hardening_pb2 as hardening
from autopack_api.intention.v1 import intention_pb2 as intention
from autopack_api.orchestrator.v1 import orchestrator_pb2 as orchestrator
from autopack_api.telemetry.v1 import telemetry_pb2 as telemetry
from autopack_api.toolchain.v1 import toolchain_pb2 as toolchain
from autopack_client import connect
from autopack_kit.errors import AutopackError


def usage(run_id: str, tokens: int = 10) -> telemetry.RecordUsageRequest:
    record = telemetry.UsageRecord(run_id=run_id, usage_id="1", tokens=TokenUsage(output=tokens))
    return telemetry.RecordUsageRequest(records=[record])


async def said(call: Awaitable[object]) -> str:
    try:
        await call
    except AutopackError as error:
        return f"{type(error).__name__} {error.reason}"
    return "OK"


async def stream(call: object) -> None:
    async for _ in call:  # type: ignore[attr-defined]  # a streaming call
        pass


async def main(tokens: int) -> None:
    run_id, batch_id = os.environ["AUTOPACK_RUN_ID"], os.environ["AUTOPACK_BATCH_ID"]
    token = Path(os.environ["AUTOPACK_TOKEN_FILE"]).read_text()
    async with connect(os.environ["AUTOPACK_ADDRESS"], token=token) as client:
        api = client.orchestrator
        doors: dict[str, Awaitable[object]] = {
            "own usage": client.telemetry.RecordUsage(usage(run_id, tokens)),
            "other usage": client.telemetry.RecordUsage(usage(f"{batch_id}.other")),
            "summary": client.telemetry.GetRunSummary(telemetry.GetRunSummaryRequest(run_id=f"{batch_id}.other")),
            "create": api.CreateBatch(orchestrator.CreateBatchRequest()),
            "batches": api.ListBatches(orchestrator.ListBatchesRequest()),
            "batch": api.GetBatch(orchestrator.GetBatchRequest(batch_id=batch_id)),
            "runs": api.ListRuns(orchestrator.ListRunsRequest()),
            "run": api.GetRun(orchestrator.GetRunRequest(run_id=run_id)),
            "cancel run": api.CancelRun(orchestrator.CancelRunRequest(run_id=run_id)),
            "cancel batch": api.CancelBatch(orchestrator.CancelBatchRequest(batch_id=batch_id)),
            "watch": stream(api.WatchBatch(orchestrator.WatchBatchRequest(batch_id=batch_id))),
            "log": stream(api.ReadLog(orchestrator.ReadLogRequest(run_id=run_id))),
            "patch": stream(api.GetPatch(orchestrator.GetPatchRequest(run_id=run_id))),
            "detect": client.toolchain.Detect(toolchain.DetectRequest()),
            "diagnose": client.hardening.Diagnose(hardening.DiagnoseRequest()),
            "context": client.intention.BuildContext(intention.BuildContextRequest()),
        }
        found = {name: await said(call) for name, call in doors.items()}
    Path("found.json").write_text(json.dumps(found, indent=1))


asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10))
