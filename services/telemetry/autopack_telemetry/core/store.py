"""What the service asks of its storage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from autopack_telemetry.core.estimate import ModelClass
from autopack_telemetry.core.model import PhaseRecord, RunSummary, UsageRecord

__all__ = ["DiscardingStore", "Store"]


class Store(Protocol):
    """Records and sums, each call for one tenant. A write returns after its commit."""

    async def record_phases(self, tenant: str, phases: Sequence[PhaseRecord], now: int) -> int:
        """Keeps each phase in place of an earlier one with its ids; the last one where a batch has several. All or
        none. Returns how many phases were kept."""

    async def record_usage(self, tenant: str, records: Sequence[UsageRecord], now: int) -> tuple[int, int]:
        """Keeps the records whose ids are new. All or none. Returns how many were new, and how many were known."""

    async def summary(self, tenant: str, run_id: str) -> RunSummary | None:
        """The sums of a run; None if nothing was recorded for it."""

    async def phases(self, tenant: str, run_id: str, after: int, limit: int) -> list[tuple[int, PhaseRecord]]:
        """Phases of a run with their keys, which are greater than ``after``, in the order of their first recording."""

    async def doctor_calls(self, tenant: str, run_id: str | None, model_class: ModelClass, limit: int) -> list[int]:
        """Tokens of the last doctor calls that did not fail and used any; ``UNKNOWN`` stands for any class."""

    async def close(self) -> None:
        """Ends what is in flight."""


class DiscardingStore:
    """The store of a service that was opted out of: takes everything, keeps nothing."""

    async def record_phases(self, tenant: str, phases: Sequence[PhaseRecord], now: int) -> int:
        """Nothing is kept."""
        return 0

    async def record_usage(self, tenant: str, records: Sequence[UsageRecord], now: int) -> tuple[int, int]:
        """Nothing is kept."""
        return 0, 0

    async def summary(self, tenant: str, run_id: str) -> RunSummary | None:
        """Nothing is known."""
        return None

    async def phases(self, tenant: str, run_id: str, after: int, limit: int) -> list[tuple[int, PhaseRecord]]:
        """Nothing is known."""
        return []

    async def doctor_calls(self, tenant: str, run_id: str | None, model_class: ModelClass, limit: int) -> list[int]:
        """Nothing is known."""
        return []

    async def close(self) -> None:
        """Nothing to close."""
