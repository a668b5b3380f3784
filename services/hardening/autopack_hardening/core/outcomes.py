"""What became of failures after a mitigation, and how often a pattern's mitigation was proven to help."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["MitigationOutcome", "OutcomeRecord", "Success"]


class MitigationOutcome(enum.Enum):
    """What became of a failure; the values are the columns that count them."""

    FIXED = "fixed"
    PROGRESSED = "progressed"
    UNCHANGED = "unchanged"
    WORSE = "worse"


@dataclass(frozen=True, slots=True)
class OutcomeRecord:
    """One mitigation and what became of it.

    Attributes:
        id: chosen by the caller; counted once.
        pattern_id: whose mitigation was applied.
        outcome: what became of it.
        run_id: in which it happened; empty = in none.
    """

    id: str
    pattern_id: str
    outcome: MitigationOutcome
    run_id: str = ""


@dataclass(frozen=True, slots=True)
class Success:
    """How often it helped.

    Attributes:
        last_at: microseconds since 1970; 0 = never recorded.
    """

    fixed: int = 0
    progressed: int = 0
    unchanged: int = 0
    worse: int = 0
    last_at: int = 0

    @property
    def rate(self) -> float | None:
        """The share of those that got the command further; None without any."""
        total = self.fixed + self.progressed + self.unchanged + self.worse
        return (self.fixed + self.progressed) / total if total else None
