"""What the tests of the OTLP collector share: requests, and what they became."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from autopack_api.telemetry.v1 import agents_pb2
from autopack_api.telemetry.v1 import telemetry_pb2 as pb
from autopack_api.telemetry.v1 import telemetry_pb2_grpc as pb_grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs_pb
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

__all__ = ["call", "logs", "logs_json", "summary", "totals"]


def call(number: int, **more: Any) -> dict[str, Any]:
    """The attributes of one call of Claude Code, of 10 tokens."""
    return {
        "event.name": "claude_code.api_request",
        "session.id": "session-1",
        "request_id": f"req-{number}",
        "model": "claude-sonnet-4-5",
        "input_tokens": 4,
        "output_tokens": "6",
    } | {key.replace("__", "."): value for key, value in more.items()}


def logs(*records: Mapping[str, Any], body: str = "", run_id: str = "") -> logs_pb.ExportLogsServiceRequest:
    """A request with these log records; ``run_id`` is the resource's."""
    request = logs_pb.ExportLogsServiceRequest()
    group = request.resource_logs.add()
    group.resource.attributes.extend(_attributes({"autopack.run.id": run_id} if run_id else {}))
    scope = group.scope_logs.add()
    for record in records:
        item = scope.log_records.add(time_unix_nano=time.time_ns())
        item.body.string_value = body
        item.attributes.extend(_attributes(record))
    return request


def logs_json(*records: Mapping[str, Any], run_id: str = "") -> dict[str, Any]:
    """The same in JSON."""
    items = [{"timeUnixNano": str(time.time_ns()), "attributes": _json(record)} for record in records]
    resource = {"attributes": _json({"autopack.run.id": run_id} if run_id else {})}
    return {"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": items}]}]}


async def summary(channel: Any, run_id: str) -> pb.GetRunSummaryResponse:
    """What the service tells of a run."""
    stub = pb_grpc.TelemetryServiceStub(channel)
    answer: pb.GetRunSummaryResponse = await stub.GetRunSummary(pb.GetRunSummaryRequest(run_id=run_id))
    return answer


async def totals(channel: Any) -> dict[tuple[str, str, str], tuple[int, int]]:
    """Records and tokens of every session that no run has or that one has, by run, agent and session."""
    stub = pb_grpc.TelemetryServiceStub(channel)
    answer = await stub.ListSessions(agents_pb2.ListSessionsRequest(page_size=1000))
    found = {}
    for session in answer.sessions:
        tokens = [usage.tokens for usage in session.reported]
        found[(session.run_id, session.agent, session.session_id)] = (
            sum(usage.records for usage in session.reported),
            sum(item.input + item.cache_read + item.cache_write + item.output for item in tokens),
        )
    return found


def _attributes(values: Mapping[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=key, value=_value(value)) for key, value in values.items()]


def _value(value: Any) -> AnyValue:
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    return AnyValue(string_value=value)


def _json(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"key": key, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}}
        for key, value in values.items()
    ]
