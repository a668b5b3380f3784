"""The thin servicer: convert, call the core, convert."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import grpc.aio
from autopack_api.intention.v1 import intention_pb2 as pb
from autopack_api.intention.v1 import intention_pb2_grpc as pb_grpc
from autopack_kit.identity import current_principal
from autopack_kit.offload import compute
from autopack_kit.server import ServiceContext

from autopack_intention import convert
from autopack_intention.adapters.cache import ProfileCache
from autopack_intention.adapters.store import SqlProfileStore
from autopack_intention.core.context import build_context
from autopack_intention.core.drift import check_drift
from autopack_intention.core.goal_text import parse_intention
from autopack_intention.errors import unknown_profile
from autopack_intention.settings import IntentionSettings

__all__ = ["IntentionService"]

Context = grpc.aio.ServicerContext[Any, Any]


class IntentionService(pb_grpc.IntentionServiceServicer):
    """``autopack.intention.v1.IntentionService``.

    Args:
        settings: where profiles are kept, and how many.
        clock: seconds since 1970.
    """

    name = "intention"
    full_names = (pb.DESCRIPTOR.services_by_name["IntentionService"].full_name,)

    def __init__(self, settings: IntentionSettings, *, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._clock = clock
        self._open = AsyncExitStack()
        self._profiles: ProfileCache  # from the start on: no call is answered before

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register the servicer."""
        pb_grpc.add_IntentionServiceServicer_to_server(self, server)

    async def start(self, context: ServiceContext) -> None:
        """Opens and migrates the database."""
        settings = self._settings
        store = await asyncio.to_thread(
            SqlProfileStore.open,
            settings.database_url,
            max_profiles=settings.profiles_stored,
            max_bytes=settings.profiles_bytes,
        )
        self._profiles = ProfileCache(store, max_profiles=settings.profiles_in_memory, clock=self._clock)
        self._open.push_async_callback(self._profiles.close)

    async def unready(self) -> str:
        """Why no profile can be kept now: the database does not answer as it should. What needs none is answered."""
        return await self._profiles.unready()

    async def stop(self, grace: float) -> None:
        """Ends what is under way and closes the database."""
        await self._open.aclose()

    async def BuildContext(self, request: pb.BuildContextRequest, context: Context) -> pb.BuildContextResponse:
        """The text to inject, at most the budget."""
        budget = convert.budget_from_request(request)
        intention = await compute(request, convert.intention_from_request, request.intention)
        return convert.context_to_response(await compute(request, build_context, intention, budget))

    async def ParseIntention(self, request: pb.ParseIntentionRequest, context: Context) -> pb.ParseIntentionResponse:
        """The intention in a text."""
        return convert.parsed_to_response(await compute(request, parse_intention, request.text, request.title))

    async def PutProfile(self, request: pb.PutProfileRequest, context: Context) -> pb.PutProfileResponse:
        """Keep what a repository usually talks about."""
        profile = await compute(request, convert.profile_from_request, request.profile)
        await self._profiles.put(current_principal().tenant, profile)
        return pb.PutProfileResponse(profile_id=profile.id)

    async def CheckDrift(self, request: pb.CheckDriftRequest, context: Context) -> pb.CheckDriftResponse:
        """Judge one step of a run."""
        intention = await compute(request, convert.intention_from_request, request.intention)
        step = await compute(request, convert.step_from_request, request)
        profile_id = convert.profile_id_from_request(request)
        scorer = await self._profiles.get(current_principal().tenant, profile_id) if profile_id else None
        if profile_id and scorer is None:
            raise unknown_profile(profile_id)
        return convert.drift_to_response(await compute(request, check_drift, intention, step, scorer))
