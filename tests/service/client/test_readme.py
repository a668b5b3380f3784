"""The first example of the client's README runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from autopack_api.toolchain.v1 import toolchain_pb2 as pb
from autopack_api.toolchain.v1.toolchain_pb2_grpc import (
    ToolchainServiceServicer,
    add_ToolchainServiceServicer_to_server,
)
from autopack_kit.errors import NotFound
from autopack_kit.server import ServiceContext
from autopack_kit.testing import running
from structlog.testing import capture_logs

README = Path(__file__).parents[3] / "clients/python/README.md"


class OneProject(ToolchainServiceServicer):
    name = "toolchain"
    full_names = ("autopack.toolchain.v1.ToolchainService",)

    def add_to(self, server: grpc.aio.Server) -> None:
        add_ToolchainServiceServicer_to_server(self, server)

    async def start(self, context: ServiceContext) -> None:
        pass

    async def stop(self, grace: float) -> None:
        pass

    async def Detect(self, request: Any, context: Any) -> pb.DetectResponse:
        if request.path != "/src/shop":
            raise NotFound("There is no such directory.", reason="PATH_NOT_FOUND", remedy="Give one that exists.")
        project = pb.Project(workdir=".", ecosystem="python", package_manager=pb.PackageManager(name="uv"))
        return pb.DetectResponse(projects=[project])

    async def GetSnapshotSpec(self, request: Any, context: Any) -> pb.GetSnapshotSpecResponse:
        return pb.GetSnapshotSpecResponse()

    async def NormalizePlan(self, request: Any, context: Any) -> pb.NormalizePlanResponse:
        return pb.NormalizePlanResponse()


async def test_first_example_prints_projects_and_errors(capsys: pytest.CaptureFixture[str]) -> None:
    code = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)[0]
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(code, str(README), "exec"), names)
    with capture_logs():  # unconfigured, they would go to standard output
        async with running(OneProject()) as target:
            await names["main"](target.address, "/src/shop")
            await names["main"](target.address, "/none")
    assert capsys.readouterr().out.splitlines() == [
        ". python uv",
        "PATH_NOT_FOUND There is no such directory. Give one that exists.",
    ]


def test_all_examples_compile() -> None:
    for code in re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL):
        compile(code, str(README), "exec")
