"""The thin servicer: convert, call the core, convert."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import grpc.aio
from autopack_api.intention.v1 import intention_pb2 as pb
from autopack_api.intention.v1 import intention_pb2_grpc as pb_grpc
from autopack_kit.identity import current_principal
from autopack_kit.server import ServiceContext
from google.protobuf.message import Message

from autopack_intention import convert
from autopack_intention.adapters.profile_store import FileProfileStore, ProfileCache
from autopack_intention.core.context import build_context
from autopack_intention.core.drift import check_drift
from autopack_intention.errors import unknown_profile
from autopack_intention.settings import IntentionSettings

__all__ = ["IntentionService", "IntentionServicer"]

P = ParamSpec("P")
R = TypeVar("R")

_INLINE_BYTES = 8 << 10
"""A request up to this size is answered in under a millisecond; a larger one must not hold up the others."""


async def _compute(request: Message, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    if request.ByteSize() <= _INLINE_BYTES:
        return function(*args, **kwargs)
    return await asyncio.to_thread(function, *args, **kwargs)


class IntentionServicer(pb_grpc.IntentionServiceServicer):
    """``autopack.intention.v1.IntentionService``.

    Args:
        profiles: where profiles are kept.
    """

    def __init__(self, profiles: ProfileCache) -> None:
        self._profiles = profiles

    async def BuildContext(self, request: pb.BuildContextRequest, context: Any) -> pb.BuildContextResponse:
        """The text to inject, at most the budget."""
        budget = convert.budget_from_request(request)
        intention = await _compute(request, convert.intention_from_request, request.intention)
        return convert.context_to_response(await _compute(request, build_context, intention, budget))

    async def PutProfile(self, request: pb.PutProfileRequest, context: Any) -> pb.PutProfileResponse:
        """Keep what a repository usually talks about."""
        profile = await _compute(request, convert.profile_from_request, request.profile)
        await self._profiles.put(current_principal().tenant, profile)
        return pb.PutProfileResponse(profile_id=profile.id)

    async def CheckDrift(self, request: pb.CheckDriftRequest, context: Any) -> pb.CheckDriftResponse:
        """Judge one step of a run."""
        intention = await _compute(request, convert.intention_from_request, request.intention)
        step = await _compute(request, convert.step_from_request, request)
        profile_id = convert.profile_id_from_request(request)
        scorer = await self._profiles.get(current_principal().tenant, profile_id) if profile_id else None
        if profile_id and scorer is None:
            raise unknown_profile(profile_id)
        return convert.drift_to_response(await _compute(request, check_drift, intention, step, scorer))


class IntentionService:
    """The capability ``intention``, as :class:`autopack_kit.server.Server` takes it.

    Args:
        settings: where profiles are kept, and how many.
    """

    name = "intention"
    full_names = (pb.DESCRIPTOR.services_by_name["IntentionService"].full_name,)

    def __init__(self, settings: IntentionSettings) -> None:
        store = FileProfileStore(
            settings.profiles_dir,
            max_profiles=settings.profiles_on_disk,
            max_bytes=settings.profiles_bytes,
        )
        self._profiles = ProfileCache(store, max_profiles=settings.profiles_in_memory)

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register the servicer."""
        pb_grpc.add_IntentionServiceServicer_to_server(IntentionServicer(self._profiles), server)

    async def start(self, context: ServiceContext) -> None:
        """Nothing to open: profiles are read when they are asked for."""

    async def stop(self, grace: float) -> None:
        """End what is being loaded."""
        await self._profiles.stop()
