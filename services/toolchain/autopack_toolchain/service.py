"""The servicer: convert, detect in a thread, convert."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar

import grpc.aio
from autopack_api.toolchain.v1 import toolchain_pb2, toolchain_pb2_grpc
from autopack_kit.server import ServiceContext

from .adapters.filesystem import open_allowed
from .adapters.programs import installed
from .adapters.snapshot import SnapshotTree
from .convert import detection_to_proto, snapshot_spec_to_proto, source_from_proto
from .convert_plan import plan_from_proto, plan_to_proto
from .core.detect import detect
from .core.plan import normalize_plan
from .core.plan.knowledge import knowledge
from .core.registry import default_registry
from .core.tree import FileTree
from .settings import ToolchainSettings

__all__ = ["ToolchainService"]

T = TypeVar("T")
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
        """Reads the registries, so that a fault in them shows at the start and not at the first call."""
        await asyncio.to_thread(default_registry)
        await asyncio.to_thread(knowledge)

    async def stop(self, grace: float) -> None:
        """Holds nothing that must be closed."""

    async def Detect(self, request: toolchain_pb2.DetectRequest, context: Context) -> toolchain_pb2.DetectResponse:
        """Every project of a source."""
        source = await asyncio.to_thread(source_from_proto, request, self._settings.max_depth)
        detection = await asyncio.to_thread(self._on, source, detect)
        found = await asyncio.to_thread(installed, detection.tools) if request.probe_tools else None
        return detection_to_proto(detection, found)

    async def GetSnapshotSpec(
        self, request: toolchain_pb2.GetSnapshotSpecRequest, context: Context
    ) -> toolchain_pb2.GetSnapshotSpecResponse:
        """What a snapshot should contain."""
        return self._snapshot_spec

    async def NormalizePlan(
        self, request: toolchain_pb2.NormalizePlanRequest, context: Context
    ) -> toolchain_pb2.NormalizePlanResponse:
        """What a plan in words means for a source."""
        text, source = await asyncio.to_thread(plan_from_proto, request, self._settings.max_depth)
        answer = await asyncio.to_thread(self._on, source, lambda tree: normalize_plan(text, tree))
        return await asyncio.to_thread(plan_to_proto, answer)

    @cached_property
    def _snapshot_spec(self) -> toolchain_pb2.GetSnapshotSpecResponse:
        """The same for every caller; to make it takes longer than the rest of the call."""
        return snapshot_spec_to_proto(default_registry(), self._settings.max_depth)

    def _on(self, source: str | SnapshotTree, work: Callable[[FileTree], T]) -> T:
        """``work`` on the tree of a source."""
        if isinstance(source, SnapshotTree):
            return work(source)
        with open_allowed(source, self._settings.allowed_roots, self._settings.budget) as tree:
            return work(tree)
