"""Which of an agent's signals count, when several tell of the same calls.

An agent may report one call as a log record, a span, an increase of a metric and a line of a file. Adding them up would
count the call four times. So of each session of an agent in a run one signal counts, the best that spoke:
LOG > SPAN > FILE > METRIC. Log records and spans tell of single calls, by id; a file tells of all that one process did,
but not of earlier processes of the same session; metrics cannot be told apart from their own repetition. The others
are kept as "shadow", to compare with.

* API stands aside: who records calls by itself knows which, so such usage always counts and hides nothing.
* Usage that names no session tells of all sessions of that agent in the run. It counts where it is as good as the best
  of them, and where it is better, they are its shadow.
* Usage of no run is no part of any sum; there each session stands for itself until it is registered.

Signals of a session are kept as a set of bits, a union whatever the order in which they came, so the outcome depends on
what was told and never on when. The bits are powers of two, best first: the lowest bit of a set is its best.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from autopack_telemetry.core.model import Signal

__all__ = ["BITS", "RIVALS", "Standing", "best", "competing", "signals_of"]

BITS: Mapping[Signal, int] = {Signal.LOG: 1, Signal.SPAN: 2, Signal.FILE: 4, Signal.METRIC: 8, Signal.API: 16}
RIVALS = 15
"""The bits of signals that tell of the same calls."""
_NONE = 1 << 10
"""Worse than any signal."""


def best(bits: int) -> int:
    """The bit of the signal that counts among these; above all bits if none competes.

    >>> best(8 | 2), best(16) > 16
    (2, True)
    """
    rivals = bits & RIVALS
    return rivals & -rivals or _NONE


def competing(bits: int) -> bool:
    """Whether several of these tell of the same calls."""
    rivals = bits & RIVALS
    return bool(rivals & (rivals - 1))


def signals_of(bits: int) -> tuple[Signal, ...]:
    """The signals of a set, best first."""
    return tuple(signal for signal, bit in BITS.items() if bits & bit)


@dataclass(frozen=True, slots=True)
class Standing:
    """What decides about the sessions of one agent in one run.

    Attributes:
        unnamed: signals of the usage that names no session.
        named: signals of all sessions together.
    """

    unnamed: int = 0
    named: int = 0

    @property
    def unnamed_rules(self) -> bool:
        """Whether the usage without session is better than any session, which are then its shadow."""
        return best(self.unnamed) < best(self.named)

    @property
    def unnamed_best(self) -> int:
        """The bit that counts of the usage without session; 0 if a session is better."""
        own = best(self.unnamed)
        return own if own <= best(self.named) else 0

    def shadow(self, signal: Signal, session_id: str, session: int) -> bool:
        """Whether usage is told better by another signal.

        Args:
            signal: of the usage.
            session_id: that it names; may be empty.
            session: the signals of that session.
        """
        if signal is Signal.API:
            return False
        if not session_id:
            return BITS[signal] != self.unnamed_best
        return self.unnamed_rules or BITS[signal] != best(session)
