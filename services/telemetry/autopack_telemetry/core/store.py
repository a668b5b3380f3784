"""What the service asks of its storage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from autopack_telemetry.core.compare.model import RunMeasures
from autopack_telemetry.core.estimate import ModelClass
from autopack_telemetry.core.model import PhaseRecord, RunRecord, RunSummary, Session, UsageRecord

__all__ = ["DiscardingStore", "Store"]


class Store(Protocol):
    """Records and sums, each call for one tenant. A write returns after its commit."""

    async def record_phases(self, tenant: str, phases: Sequence[PhaseRecord], now: int) -> int:
        """Keeps each phase in place of an earlier one with its ids; the last one where a batch has several. All or
        none. Returns how many phases were kept."""

    async def record_usage(self, tenant: str, records: Sequence[UsageRecord], now: int) -> tuple[int, int]:
        """Keeps the records whose ids are new. All or none. Returns how many were new, and how many were known.

        The rows are the same in whatever order records come, come again, or come through several signals:

        * An id counts once in its run. A cumulative record replaces a smaller one of its id, and is "known".
        * A response id counts once for an agent, signal and number of tokens, in whatever session or run: the record
          of the earliest call stays. The number is a part because some servers give ids of three digits.
        * A record without a run takes that for which its session is registered, else it is of no run. A record without
          a phase takes that of its session's registration, if it is of the same run.
        * Of the signals of a session one counts, the others are kept beside it as shadows: see :mod:`.signals`.
        """

    async def record_runs(self, tenant: str, runs: Sequence[RunRecord], now: int) -> int:
        """Keeps what is known of runs; what a record does not know stays as it was. All or none.

        Returns how many runs the records are of.
        """

    async def register_session(
        self, tenant: str, agent: str, session_id: str, run_id: str, phase_id: str, now: int, *, bound: bool = False
    ) -> int:
        """Says to which run and phase a session belongs, and moves its usage of no run there.

        Usage that names its run stays with that, and usage that names its phase with that. Returns how many records
        were moved: those that the run knows already are dropped.

        Args:
            bound: the caller may record for this run alone. Then nothing is moved, as no usage without a run came from
                such a caller, and a session that is known outside the run is not its to name.

        Raises:
            AlreadyExists: ``SESSION_OF_ANOTHER_RUN``.
            PermissionDenied: ``SESSION_NOT_OF_RUN``.
        """

    async def sessions(
        self, tenant: str, run_id: str | None, *, unattributed: bool, before: int | None, limit: int
    ) -> list[Session]:
        """Sessions that reported usage, newest first, with keys below ``before``; of one run, of none, or of all.

        Usage that names no session is listed as one for each agent, unless it came over the API.
        """

    async def runs(self, tenant: str, run_ids: Sequence[str]) -> list[RunRecord]:
        """What is known of these runs; those of which nothing was recorded are left out."""

    async def measures(self, tenant: str, run_ids: Sequence[str]) -> tuple[list[RunMeasures], int]:
        """What was measured of these runs, those of which nothing was recorded left out; and tokens of calls in their
        time that belong to no run."""

    async def summary(self, tenant: str, run_id: str) -> RunSummary | None:
        """The sums of a run; None if nothing was recorded for it."""

    async def phases(self, tenant: str, run_id: str, after: int, limit: int) -> list[tuple[int, PhaseRecord]]:
        """Phases of a run with their keys, which are greater than ``after``, in the order of their first recording."""

    async def doctor_calls(self, tenant: str, run_id: str | None, model_class: ModelClass, limit: int) -> list[int]:
        """Tokens of the last doctor calls that count, did not fail and used any; ``UNKNOWN`` stands for any class.

        Of a run, the ``limit`` last calls of any class are looked at.
        """

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

    async def record_runs(self, tenant: str, runs: Sequence[RunRecord], now: int) -> int:
        """Nothing is kept."""
        return 0

    async def register_session(
        self, tenant: str, agent: str, session_id: str, run_id: str, phase_id: str, now: int, *, bound: bool = False
    ) -> int:
        """Nothing is kept."""
        return 0

    async def sessions(
        self, tenant: str, run_id: str | None, *, unattributed: bool, before: int | None, limit: int
    ) -> list[Session]:
        """Nothing is known."""
        return []

    async def runs(self, tenant: str, run_ids: Sequence[str]) -> list[RunRecord]:
        """Nothing is known."""
        return []

    async def measures(self, tenant: str, run_ids: Sequence[str]) -> tuple[list[RunMeasures], int]:
        """Nothing is known."""
        return [], 0

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
