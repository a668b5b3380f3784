"""One thread that writes: few threads contend for the one lock of SQLite, and many small writes share one commit."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from autopack_kit.db.faults import explain
from autopack_kit.errors import ResourceExhausted, Unavailable

__all__ = ["DEFAULT_CAPACITY", "Writer"]

T = TypeVar("T")

DEFAULT_CAPACITY = 50_000
"""Rows that may wait: about two seconds of writing to SQLite, and some tens of megabytes."""
GROUP_WEIGHT = 5_000
"""Rows in one transaction: beyond that a commit is a vanishing part, and waiting readers of the answer grow old."""
GROUP_SECONDS = 0.05
"""Age at which a transaction takes in no further write: other processes wait for its lock."""
CONFLICT_TRIES = 3
"""Times that a write is tried alone after a conflict with another process; one is nearly always enough."""
_SAVEPOINT = "autopack_write"
RETRY_SECONDS = 0.5
"""What a caller is told to wait when the queue is full: a quarter of what it holds is written by then."""


@dataclass(slots=True)
class _Job:
    work: Callable[[Connection], Any]
    weight: int
    answer: Future[Any] = field(default_factory=Future)


@dataclass(frozen=True, slots=True)
class _Failure:
    """Attributes:
    whole: the whole transaction failed, and what became of it may not be known.
    """

    error: BaseException
    whole: bool = False


_Outcome = tuple[_Job, Any]


class Writer:
    """A bounded queue and the thread that empties it into transactions.

    Args:
        engine: whose transactions may write.
        location: of the database, for messages.
        capacity: sum of the weights of writes that may wait.

    Attributes:
        on_commit: told the seconds of each transaction that was committed, on the writer's thread; for metrics.
    """

    def __init__(self, engine: Engine, location: str, *, capacity: int = DEFAULT_CAPACITY) -> None:
        self.on_commit: Callable[[float], None] | None = None
        self._engine = engine
        self._location = location
        self._capacity = capacity
        self._jobs: deque[_Job] = deque()
        self._weight = 0  # of what waits and of what is being written
        self._closed = False
        self._changed = threading.Condition()
        # A daemon: what was not committed was not acknowledged, and must not keep a process from ending.
        self._thread = threading.Thread(target=self._loop, name="autopack-db-writer", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Weight of the writes that are not committed yet."""
        return self._weight

    async def run(self, work: Callable[[Connection], T], *, weight: int = 1) -> T:
        """Runs ``work`` in a transaction on the writer thread and returns its value after the commit.

        Other writes may share the transaction; what ``work`` raises undoes ``work`` alone and is raised here. A call
        that is cancelled while ``work`` runs may still be committed.

        Args:
            work: writes through the connection, does nothing else that takes time, and keeps nothing of it. It is run
                again, alone, when another process got in its way.
            weight: about how many rows it writes.

        Raises:
            ResourceExhausted: ``DATABASE_QUEUE_FULL``, with a delay after which to try again.
            Unavailable: the database cannot be reached or has no room, or is closed here. After a lost connection it
                is not known whether the commit came through: repeat only what may be repeated.
            FailedPrecondition: the database is read-only or damaged.
        """
        job = _Job(work, weight)
        with self._changed:
            if self._closed:
                raise Unavailable(
                    f"The database {self._location} is closed: the service stops.",
                    reason="DATABASE_CLOSED",
                    remedy="Try again when it runs.",
                    metadata={"database": self._location},
                )
            # A write heavier than the whole queue is taken when nothing else waits.
            if self._weight and self._weight + weight > self._capacity:
                raise ResourceExhausted(
                    f"{self._weight} rows wait to be written, and at most {self._capacity} may.",
                    reason="DATABASE_QUEUE_FULL",
                    remedy=f"Send it again in {RETRY_SECONDS} s.",
                    metadata={"retry_delay": str(RETRY_SECONDS), "limit": str(self._capacity)},
                )
            self._jobs.append(job)
            self._weight += weight
            self._changed.notify()
        answer: T = await asyncio.wrap_future(job.answer)
        return answer

    async def close(self) -> None:
        """Writes what waits, then ends the thread. Further writes are refused."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        await asyncio.to_thread(self._thread.join)

    def _loop(self) -> None:
        while (first := self._take(None)) is not None:
            conflicts: list[_Job] = []
            for job, outcome in self._write(first, share=True):
                if _is_conflict(outcome):
                    conflicts.append(job)
                else:
                    self._answer(job, outcome)
            for job in conflicts:
                self._answer(job, self._write_alone(job))

    def _write_alone(self, job: _Job) -> Any:
        """The outcome of a write that another process got in the way of: alone it holds fewer locks."""
        for _ in range(CONFLICT_TRIES):
            outcome = self._write(job, share=False)[0][1]
            if not _is_conflict(outcome):
                break
        return outcome

    def _write(self, first: _Job, *, share: bool) -> list[_Outcome]:
        group = [first]
        outcomes: list[_Outcome] = []
        try:
            self._commit(group, outcomes, share=share)
        except BaseException as error:  # whatever it is, somebody waits for an answer, and the thread must live
            return [(job, _Failure(error, whole=True)) for job in group]
        return outcomes

    def _take(self, room: int | None) -> _Job | None:
        """The next write that nobody has cancelled; None at the end. With ``room`` only one that is there and fits."""
        with self._changed:
            while True:
                while room is None and not self._jobs and not self._closed:
                    self._changed.wait()
                if not self._jobs or (room is not None and self._jobs[0].weight > room):
                    return None
                job = self._jobs.popleft()
                if job.answer.set_running_or_notify_cancel():
                    return job
                self._weight -= job.weight

    def _commit(self, group: list[_Job], outcomes: list[_Outcome], *, share: bool) -> None:
        """Runs the first write, and those that come while its transaction is open if it may ``share`` it; commits."""
        start = time.monotonic()
        end = start + GROUP_SECONDS if share else 0.0
        room = GROUP_WEIGHT - group[0].weight
        with self._engine.begin() as connection:
            job: _Job | None = group[0]
            while job is not None:
                outcomes.append((job, _attempt(connection, job)))
                job = self._take(room) if time.monotonic() < end else None
                if job is not None:
                    group.append(job)
                    room -= job.weight
        if self.on_commit is not None:
            self.on_commit(time.monotonic() - start)

    def _answer(self, job: _Job, outcome: Any) -> None:
        with self._changed:
            self._weight -= job.weight
        if isinstance(outcome, _Failure):
            job.answer.set_exception(explain(outcome.error, self._location) or outcome.error)
        else:
            job.answer.set_result(outcome)


def _is_conflict(outcome: Any) -> bool:
    """Whether PostgreSQL undid a write for the sake of another transaction (SQLSTATE class 40), so it may be repeated.

    Writes that share a transaction hold locks in the order in which they came; in another process they come otherwise.
    """
    if not isinstance(outcome, _Failure) or outcome.whole or not isinstance(outcome.error, DBAPIError):
        return False
    return str(getattr(outcome.error.orig, "sqlstate", None) or "").startswith("40")


def _attempt(connection: Connection, job: _Job) -> Any:
    """The value of a write, or a :class:`_Failure` that the savepoint has undone."""
    # In words: as a nested transaction of SQLAlchemy each would be compiled anew, at the price of a small write.
    connection.exec_driver_sql(f"SAVEPOINT {_SAVEPOINT}")
    try:
        value = job.work(connection)
        connection.exec_driver_sql(f"RELEASE SAVEPOINT {_SAVEPOINT}")
    except Exception as error:
        if connection.invalidated:
            raise
        try:
            connection.exec_driver_sql(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
            connection.exec_driver_sql(f"RELEASE SAVEPOINT {_SAVEPOINT}")
        except SQLAlchemyError:
            # The database has ended the whole transaction (SQLite does on a full disk): the error is everybody's.
            raise error from None
        return _Failure(error)
    return value
