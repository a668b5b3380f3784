"""The servicer: convert, call core, convert."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc.aio
from autopack_api.hardening.v1 import hardening_pb2 as pb
from autopack_api.hardening.v1 import hardening_pb2_grpc
from autopack_kit.paging import decode_token, encode_token, page_size
from autopack_kit.server import ServiceContext

from autopack_hardening import convert, convert_answers
from autopack_hardening.adapters.registry import diagnostician
from autopack_hardening.errors import unknown_pattern
from autopack_hardening.settings import HardeningSettings

__all__ = ["HardeningService"]

MAX_PAGE_SIZE = 500
"""Patterns of a page; the contract's limit."""

Context = grpc.aio.ServicerContext[Any, Any]


class HardeningService(hardening_pb2_grpc.HardeningServiceServicer):
    """``autopack.hardening.v1.HardeningService`` as a service of the kit. Stateless; executes and touches nothing.

    The packaged patterns are loaded by the first call that needs them.

    Args:
        settings: which patterns are off.

    Raises:
        InvalidArgument: the settings disable a pattern that does not exist.
    """

    name = "hardening"
    full_names = (pb.DESCRIPTOR.services_by_name["HardeningService"].full_name,)

    def __init__(self, settings: HardeningSettings) -> None:
        self._core = diagnostician(settings.disabled_patterns)

    def add_to(self, server: grpc.aio.Server) -> None:
        """Registers the servicer."""
        hardening_pb2_grpc.add_HardeningServiceServicer_to_server(self, server)

    async def start(self, context: ServiceContext) -> None:
        """Nothing to open."""

    async def stop(self, grace: float) -> None:
        """Nothing to close."""

    async def Diagnose(self, request: pb.DiagnoseRequest, context: Context) -> pb.DiagnoseResponse:
        """Why did this command fail? In a thread: 1 MiB of output and 50,000 paths take some 50 ms."""
        return await asyncio.to_thread(self._diagnose, request)

    def _diagnose(self, request: pb.DiagnoseRequest) -> pb.DiagnoseResponse:
        return convert_answers.result_to_response(self._core.diagnose(convert.failure_from_request(request)))

    async def ListPatterns(self, request: pb.ListPatternsRequest, context: Context) -> pb.ListPatternsResponse:
        """The patterns by priority, then by id."""
        size = page_size(request.page_size, maximum=MAX_PAGE_SIZE)
        after = decode_token(request.page_token, {}, int, str)
        rest = [one for one in self._core.patterns if after is None or (one.priority, one.id) > after]
        more = encode_token((rest[size - 1].priority, rest[size - 1].id), {}) if len(rest) > size else ""
        return pb.ListPatternsResponse(
            patterns=map(convert_answers.pattern_to_proto, rest[:size]), next_page_token=more
        )

    async def GetPattern(self, request: pb.GetPatternRequest, context: Context) -> pb.GetPatternResponse:
        """One pattern, by its id or by an earlier name."""
        for pattern in self._core.patterns:
            if request.pattern_id in (pattern.id, *pattern.aliases):
                return pb.GetPatternResponse(pattern=convert_answers.pattern_to_proto(pattern))
        raise unknown_pattern(request.pattern_id)
