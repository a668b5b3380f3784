"""Patterns as data: what a failure looks like, what is done about it, and the samples that prove both.

A file holds one family: ``data/patterns/<family>.toml``. Its format is described, with a full example, in
``docs/patterns.md``; reading it is in ``patternfile.py``.
"""

from __future__ import annotations

import enum
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any

from autopack_kit.commands import Command, Script

from autopack_hardening.core.model import Approval, Ending, Failure, Risk, Suggestion

__all__ = ["ALIASES", "EndingAlone", "Expression", "Pattern", "PatternError", "Sample", "Step", "Tier", "parse_line"]


ALIASES: Mapping[str, int] = MappingProxyType(
    {
        "python_missing_dep": 1,
        "node_missing_dep": 1,
        "wrong_working_dir": 2,
        "scope_mismatch": 2,
        "missing_test_discovery": 3,
        "permission_error": 4,
    }
)
"""The names of the six kinds of failure that the original Autopack knew, with their priorities."""


class PatternError(ValueError):
    """A pattern that cannot be used; the message names the file, the id and what is wrong.

    Attributes:
        source: the file.
        pattern_id: the pattern; empty if the file as a whole is bad.
        problem: what is wrong.
    """

    def __init__(self, source: str, pattern_id: str, problem: str) -> None:
        super().__init__(f"{source}: pattern {pattern_id or '(without id)'}: {problem}")
        self.source = source
        self.pattern_id = pattern_id
        self.problem = problem


class Tier(enum.IntEnum):
    """How common a failure is: what is seen daily has tier 1 and the fuller treatment."""

    COMMON = 1
    RARE = 2


@dataclass(frozen=True, slots=True)
class Expression:
    """One RE2 expression of a pattern, with the conditions under which an occurrence counts.

    Attributes:
        regex: the expression.
        confidence: 0 to 1, how sure the reading is where it occurs.
        values: fixed values beside the named groups.
        commands: globs of command lines, of which one must fit; empty = any. None that begins with ``!`` may fit.
        exit_codes: of which one must be the command's; empty = any.
        unless: RE2; an occurrence on a line that this matches does not count.
        noisy: it counts on lines that are noise elsewhere, such as warnings.
    """

    regex: str
    confidence: float
    values: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    commands: tuple[str, ...] = ()
    exit_codes: tuple[int, ...] = ()
    unless: str = ""
    noisy: bool = False


@dataclass(frozen=True, slots=True)
class EndingAlone:
    """The ways to end that explain a failure without a word of output; the weakest of all evidence.

    Attributes:
        exit_codes: exit codes.
        signals: numbers of signals.
        timed_out: a command that was killed because its time was over.
        confidence: 0 to 1.
    """

    exit_codes: tuple[int, ...] = ()
    signals: tuple[int, ...] = ()
    timed_out: bool = False
    confidence: float = 0.5

    def fits(self, ending: Ending) -> bool:
        """Whether a command that ended so is meant."""
        if ending.timed_out:
            return self.timed_out
        return ending.exit_code in self.exit_codes if ending.signal is None else ending.signal in self.signals


@dataclass(frozen=True, slots=True)
class Step:
    """One action of a pattern's mitigation: the resolver that makes it from the facts, and what it is told."""

    action: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Sample:
    """An output with what is known beside it.

    Attributes:
        output: what the command printed.
        exit_code: its exit code.
        command: its command line; empty = unknown.
        paths: the workspace; empty = unknown.
        best: patterns that may be the best diagnosis of it, beside the own one (of an example), or that may match at
            all
            (of a near miss).
    """

    output: str
    exit_code: int
    command: str = ""
    paths: tuple[str, ...] = ()
    best: tuple[str, ...] = ()

    def failure(self) -> Failure:
        """The sample as the input of a diagnosis."""
        return Failure(parse_line(self.command), Ending(self.exit_code), self.output.encode(), paths=self.paths)


@dataclass(frozen=True, slots=True)
class Pattern:
    """How one kind of failure is recognised and met.

    Attributes:
        id: ``tool.what_happened``, stable.
        family: the file it stands in.
        title: a few words.
        description: a sentence or two; may be empty.
        tier: how common it is.
        priority: 1 comes first, 9 last.
        aliases: earlier names.
        commands: globs of command lines for all its expressions; empty = any.
        exit_codes: exit codes for all its expressions; empty = any.
        usual_exit_codes: what a program exits with that fails so; empty = any. With another it is found all the same,
            but what was said later and explains the end comes first.
        any: of which one must occur.
        all: RE2 expressions which must all occur as well.
        none: RE2 expressions of which none may occur.
        ending: the endings that suffice alone; None = none do.
        wraps: globs of pattern ids that name the cause of what this one only reports: those come before it.
        steps: the mitigation's actions, in order.
        approval: how freely the actions may be applied at most.
        suggestions: advice; ``{name}`` stands for a capture.
        otherwise: of these the first whose captures took part is the advice where there is no other.
        risk: what the actions may touch.
        verify: how to prove that it helped.
        examples: outputs that it must match.
        near_misses: outputs that look alike and that it must not match.
        source: the file, for messages.
        is_custom: written by a user: never automatic.
    """

    id: str
    family: str
    title: str
    description: str
    tier: Tier
    priority: int
    aliases: tuple[str, ...]
    commands: tuple[str, ...]
    exit_codes: tuple[int, ...]
    usual_exit_codes: tuple[int, ...]
    any: tuple[Expression, ...]
    all: tuple[str, ...]
    none: tuple[str, ...]
    ending: EndingAlone | None
    wraps: tuple[str, ...]
    steps: tuple[Step, ...]
    approval: Approval
    suggestions: tuple[Suggestion, ...]
    otherwise: tuple[Suggestion, ...]
    risk: Risk
    verify: str
    examples: tuple[Sample, ...]
    near_misses: tuple[Sample, ...]
    source: str
    is_custom: bool = False

    def is_wrapper_of(self, pattern_id: str) -> bool:
        """Whether ``pattern_id`` names the cause of what this pattern reports."""
        return pattern_id != self.id and any(fnmatchcase(pattern_id, glob) for glob in self.wraps)

    def may_end_with(self, exit_codes: Collection[int]) -> bool:
        """Whether a program that fails so may have exited with one of ``exit_codes``; yes if none is known."""
        return not self.usual_exit_codes or not exit_codes or any(code in self.usual_exit_codes for code in exit_codes)


def parse_line(line: str) -> Command | None:
    """A command line as a person types it. One that needs a shell becomes a script; an empty one is unknown."""
    if not line.strip():
        return None
    try:
        words = shlex.split(line)
    except ValueError:
        words = []
    if not words or any(word in _SHELL_WORDS or word.endswith(";") for word in words):
        return Command(script=Script(("bash", "-e"), line))
    return Command.of(*words)


_SHELL_WORDS = frozenset(["&&", "||", "|", ";", ">", "<", ">>", "2>&1", "&"])
