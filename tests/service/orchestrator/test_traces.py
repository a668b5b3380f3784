"""What a run asks the other services is one trace, which can be found by the id of the run."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from tests.service.orchestrator import bench as benches
from tests.service.orchestrator.bench import bench, run


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Names of spans by trace."""

    def __init__(self) -> None:
        self.traces: defaultdict[str, set[str]] = defaultdict(set)

    async def Export(self, request: Any, context: Any) -> Any:
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.traces[span.trace_id.hex()].add(span.name.rpartition("/")[2])
        return trace_service_pb2.ExportTraceServiceResponse()


async def test_the_calls_of_each_run_are_a_trace(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    collector, server = Collector(), grpc.aio.server()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]
    endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    plain = benches.options
    monkeypatch.setattr(
        benches, "options", lambda *values, **more: replace(plain(*values, **more), traces_endpoint=endpoint)
    )
    async with bench(tmp_path) as stack:
        runs = await stack.finish(repo, run("a"), run("b"))
    await server.stop(0)
    for item in runs:
        names = collector.traces[hashlib.sha256(item.run_id.encode()).hexdigest()[:32]]
        assert {"BuildContext", "RecordPhases"} <= names
        assert "CreateBatch" not in names  # that is the caller's
