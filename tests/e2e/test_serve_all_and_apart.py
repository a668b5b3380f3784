"""One process with five services, and five processes with one each, give the same answers to the same batch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from autopack_api.orchestrator.v1.orchestrator_pb2 import ListRunsRequest
from autopack_api.telemetry.v1.telemetry_pb2 import GetRunSummaryRequest
from autopack_cli.demo.repositories import make_mixed
from autopack_cli.serve import SERVICES
from autopack_client import connect_sync

Cli = Any
Servers = Any

BATCH = """\
name: same
max_concurrent_runs: 2
defaults: {prepare: none, on_scope_violation: revert}
runs:
  - name: fixed
    goal: Compute net prices
    command: sh -c 'echo "# net" >> api/prices.py'
    validate: [python3 -m unittest discover -s tests]
  - name: scoped
    goal: Explain the API
    scope: [README.md]
    command: sh -c 'echo more >> README.md; echo secret > stray.txt'
    validate: [grep -q more README.md]
  - name: broken
    goal: Break the prices
    command: sh -c 'echo "raise SystemExit(1)" >> api/prices.py'
    validate: [{line: python3 -m unittest discover -s tests, cwd: api}]
  - name: fails
    goal: Fail
    command: sh -c 'exit 3'
"""
FACTS = (
    "name", "state", "attempt", "tree_id", "changes", "reverted_paths", "mitigations", "drift_verdict", "drift_z",
    "intention_sha256", "agent_exit_code", "warnings", "base_commit",
)  # fmt: skip


def answers(cli: Cli, repository: Path, address: str) -> list[dict[str, Any]]:
    """What the runs of the batch became, without what differs each time."""
    file = repository / "batch.yaml"
    file.write_text(BATCH)
    done = cli("run", file, "--json", "--address", address)
    assert done.returncode == 1, done.stderr
    found = []
    for run in json.loads(done.stdout)["runs"]:
        facts = {name: run[name] for name in FACTS if name in run}
        facts["steps"] = [
            {key: step.get(key) for key in ("outcome", "exit_code", "tries", "pattern_id")}
            for step in run.get("steps", ())
        ]
        facts["reason"] = run.get("error", {}).get("reason")
        found.append(facts)
    return found


def recorded(orchestrator: str, telemetry: str) -> list[Any]:
    """What telemetry knows of each run: phases by outcome, and fixes."""
    with connect_sync(orchestrator) as one, connect_sync(telemetry) as other:
        runs = one.orchestrator.ListRuns(ListRunsRequest()).runs
        summaries = [other.telemetry.GetRunSummary(GetRunSummaryRequest(run_id=run.run_id)) for run in runs]
    return [(item.phases, dict(item.phases_by_outcome), item.mitigated) for item in summaries]


@pytest.fixture
def mixed(cli: Cli) -> Path:
    path = Path(cli.home) / "mixed"
    make_mixed(path)
    return path


def test_one_process_and_five_give_the_same_answers(cli: Cli, servers: Servers, mixed: Path) -> None:
    one = servers.start("--all", "--allow-root", mixed).address
    together, seen_together = answers(cli, mixed, one), recorded(one, one)
    states = [run["state"].removeprefix("RUN_STATE_") for run in together]
    assert states == ["SUCCEEDED", "SUCCEEDED", "FAILED", "FAILED"]
    assert together[0]["mitigations"][0]["fixed"]
    assert together[1]["reverted_paths"] == ["stray.txt"]
    assert seen_together[0][2] == 1

    env = {"AUTOPACK_DATA_DIR": str(cli.home / "apart")}
    peers = servers.start_all([name for name in SERVICES if name != "orchestrator"], env)
    settings = {f"AUTOPACK_ORCHESTRATOR_{name.upper()}_ADDRESS": address for name, address in peers.items()}
    orchestrator = servers.start("orchestrator", "--allow-root", mixed, env={**env, **settings}).address
    assert answers(cli, mixed, orchestrator) == together
    assert recorded(orchestrator, peers["telemetry"]) == seen_together
