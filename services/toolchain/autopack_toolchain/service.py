"""The servicer: convert, detect in a thread, convert."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc.aio
from autopack_api.toolchain.v1 import toolchain_pb2, toolchain_pb2_grpc
from autopack_kit.server import ServiceContext

from .adapters.filesystem import open_allowed
from .adapters.programs import installed
from .adapters.snapshot import SnapshotTree
from .convert import detection_to_proto, snapshot_spec_to_proto, source_from_proto
from .core.detect import detect
from .core.model import Detection
from .core.registry import default_registry
from .settings import ToolchainSettings

__all__ = ["ToolchainService"]

Context = grpc.aio.ServicerContext[Any, Any]


class ToolchainService(toolchain_pb2_grpc.ToolchainServiceServicer):
    """``autopack.toolchain.v1.ToolchainService``; stateless."""

    name = "toolchain"
    full_names = (toolchain_pb2.DESCRIPTOR.services_by_name["ToolchainService"].full_name,)

    def __init__(self, settings: ToolchainSettings) -> None:
        self._settings = settings

    def add_to(self, server: grpc.aio.Server) -> None:
        """Registers the servicer."""
        toolchain_pb2_grpc.add_ToolchainServiceServicer_to_server(self, server)

    async def start(self, context: ServiceContext) -> None:
        """Reads the registry, so that a fault in it shows at the start and not at the first call."""
        await asyncio.to_thread(default_registry)

    async def stop(self, grace: float) -> None:
        """Holds nothing that must be closed."""

    async def Detect(self, request: toolchain_pb2.DetectRequest, context: Context) -> toolchain_pb2.DetectResponse:
        """Every project of a source."""
        source = await asyncio.to_thread(source_from_proto, request, self._settings.max_depth)
        detection = await asyncio.to_thread(self._detect, source)
        found = await asyncio.to_thread(installed, detection.tools) if request.probe_tools else None
        return detection_to_proto(detection, found)

    async def GetSnapshotSpec(
        self, request: toolchain_pb2.GetSnapshotSpecRequest, context: Context
    ) -> toolchain_pb2.GetSnapshotSpecResponse:
        """What a snapshot should contain."""
        return snapshot_spec_to_proto(default_registry(), self._settings.max_depth)

    def _detect(self, source: str | SnapshotTree) -> Detection:
        if isinstance(source, SnapshotTree):
            return detect(source)
        with open_allowed(source, self._settings.allowed_roots, self._settings.budget) as tree:
            return detect(tree)
