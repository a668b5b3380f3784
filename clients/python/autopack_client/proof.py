"""Did it help? The same command before and after a mitigation, compared.

    judge(before, after, diagnosis) -> Proof.FIXED | PROGRESSED | UNCHANGED | WORSE

A failure is FIXED only by the command itself having passed. What is between is decided by what the two failures are
and how far the command got, because exit codes alone do not say it: most tools have one for everything. Pure.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from autopack_api.hardening.v1.hardening_pb2 import DiagnoseRequest, Diagnosis
from autopack_kit.commands import Command

__all__ = ["MAX_HEAD_BYTES", "MAX_TAIL_BYTES", "Ended", "Proof", "ending", "judge"]

MAX_HEAD_BYTES = 8 << 10
"""Bytes of the beginning of a longer output: what Diagnose takes."""
MAX_TAIL_BYTES = 1 << 20
"""Bytes of its end."""
NOT_FOUND = 127
NOT_EXECUTABLE = 126
MAX_LINES = 2000
"""Lines of a beginning that are compared; what a command prints first tells how far it got."""
LAST_ENVIRONMENT_PRIORITY, CODE_PRIORITY = 4, 5
"""Priorities of patterns by what they are about, as docs/patterns.md gives them."""


class Proof(enum.Enum):
    """What became of a failure once the same command ran again."""

    FIXED = "fixed"
    """The command passed."""
    PROGRESSED = "progressed"
    """This failure is gone, and the command got to another one."""
    UNCHANGED = "unchanged"
    """The same failure."""
    WORSE = "worse"
    """It got less far than before, did not start or end at all, or more fails than before."""


@dataclass(frozen=True, slots=True)
class Ended:
    """One command that has ended, and what explains it.

    Attributes:
        exit_code: None if a signal ended it or its time was over.
        started: there was such a program.
        output: all of it, or its end, at most 1 MiB.
        head: the beginning of a longer one, at most 8 KiB.
        first_line: number of the first line of ``output`` in the whole; 0 = not known, or there is no head.
        diagnoses: best first; empty = nothing known explains it.
    """

    command: Command
    exit_code: int | None
    signal: int | None = None
    timed_out: bool = False
    started: bool = True
    output: bytes = field(default=b"", repr=False)
    head: bytes = field(default=b"", repr=False)
    first_line: int = 0
    diagnoses: tuple[Diagnosis, ...] = field(default=(), repr=False)

    @property
    def ok(self) -> bool:
        """It ended by itself with exit code 0."""
        return self.started and not self.timed_out and self.exit_code == 0

    @property
    def is_abrupt(self) -> bool:
        """It did not start, or did not end by itself."""
        shell_says_so = self.exit_code in (NOT_FOUND, NOT_EXECUTABLE) or (self.exit_code or 0) > 128
        return not self.started or self.timed_out or self.signal is not None or shell_says_so


def ending(request: DiagnoseRequest, ended: Ended) -> None:
    """Puts into the request how the command ended and what it printed."""
    request.output, request.head, request.first_line = ended.output, ended.head, ended.first_line
    if ended.timed_out:
        request.timed_out = True
    elif ended.signal is not None:
        request.signal = ended.signal
    else:
        request.exit_code = 1 if ended.exit_code is None else ended.exit_code


def judge(before: Ended, after: Ended, target: Diagnosis) -> Proof:
    """What a mitigation has achieved.

    Args:
        before: the failure, with its diagnoses.
        after: the same command afterwards, with its own.
        target: the one of ``before.diagnoses`` that was acted upon.
    """
    if after.ok:
        return Proof.FIXED
    if after.is_abrupt and not before.is_abrupt:
        return Proof.WORSE
    if _identity(target) in {_identity(one) for one in after.diagnoses}:
        return Proof.WORSE if _failures(after) > _failures(before) else Proof.UNCHANGED
    if not after.diagnoses and _lines(after.output) == _lines(before.output):
        return Proof.UNCHANGED
    # Before the environment is right there is nothing to get to: whatever comes after is later.
    if _stage(target) == 0 or _got_as_far(before, after, target):
        return Proof.PROGRESSED
    if not after.diagnoses or _stage(after.diagnoses[0]) < _stage(target):
        return Proof.WORSE
    return Proof.PROGRESSED


def _identity(diagnosis: Diagnosis) -> tuple[str, ...]:
    """What makes two failures the same: their pattern and what it names, without what differs from run to run."""
    captures = sorted(f"{name}={_steady(value)}" for name, value in diagnosis.captures.items())
    words = captures or [_steady(diagnosis.excerpt.decode("utf-8", "replace"))]
    return (diagnosis.pattern_id, *words)


_VOLATILE = re.compile(r"0x[0-9a-fA-F]+|\b[0-9a-f]{12,64}\b|/tmp/[^\s'\":]+|\d+", re.ASCII)


def _steady(text: str) -> str:
    return " ".join(_VOLATILE.sub("#", text).split())


def _lines(output: bytes, limit: int = MAX_LINES) -> list[str]:
    """The lines that say something, without what differs from run to run."""
    found = (_steady(line.decode("utf-8", "replace")) for line in output.splitlines()[:limit])
    return [line for line in found if line.strip("# .=-")]


def _got_as_far(before: Ended, after: Ended, target: Diagnosis) -> bool:
    """Whether the command printed again most of what it had printed until it failed. Unknown counts as yes."""
    if before.head or after.head or not target.line:
        return True
    reached = _lines(b"\n".join(before.output.splitlines()[: target.line - 1]))
    again = set(_lines(after.output))
    return sum(line in again for line in reached) * 2 >= len(reached)


def _stage(diagnosis: Diagnosis) -> int:
    """How far a command got that failed so: 0 = its environment is not right, 1 = the code, 2 = a test or later."""
    return sum(diagnosis.priority > last for last in (LAST_ENVIRONMENT_PRIORITY, CODE_PRIORITY))


_COUNT = re.compile(
    rb"\b(\d{1,6}) (?:\w+ )?(?:failed|failures?|failing|errors?|problems?)\b|(?:failures|errors)[=:] ?(\d{1,6})"
)


def _failures(ended: Ended) -> int:
    """How many failures a command counted last; 0 = it did not say."""
    return max(_numbers(ended.output[-4096:].lower()), default=0)


def _numbers(tail: bytes) -> Iterable[int]:
    found: Sequence[tuple[bytes, bytes]] = _COUNT.findall(tail)
    return (int(first or second) for first, second in found)
