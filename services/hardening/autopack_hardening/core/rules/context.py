"""What every resolver gets and returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from autopack_hardening.core.matching import Hit
from autopack_hardening.core.model import Failure, Mitigation
from autopack_hardening.core.names import Names
from autopack_hardening.core.workspace import Workspace

__all__ = ["Context", "Finding", "Parameters", "Resolver", "distinct", "printable", "telling"]

# Names are shown in messages; more than this is no name.
_MAX_SHOWN = 100
# Distinct names that one diagnosis looks at; an output that lacks more lacks its whole environment.
MAX_DISTINCT = 20

Parameters = Mapping[str, Any]
"""What a pattern tells a resolver: the keys beside ``action`` in its mitigation."""


@dataclass(frozen=True, slots=True)
class Context:
    """The failure with its facts indexed, and the static maps."""

    failure: Failure
    workspace: Workspace
    names: Names

    @property
    def cwd(self) -> str:
        """Where the command ran, relative to the workspace."""
        return self.failure.command.cwd if self.failure.command is not None else "."

    @property
    def words(self) -> tuple[str, ...]:
        """The command's argument vector; empty if unknown or a script."""
        return self.failure.command.argv if self.failure.command is not None else ()


@dataclass(frozen=True, slots=True)
class Finding:
    """What a resolver makes of the hits of its pattern.

    Attributes:
        hit: the occurrence that decides.
        mitigation: what to do; the pattern adds its advice and how to verify it.
        certainty: factor from 0 to 1 on the expression's confidence: 1 where the facts confirm the reading.
        captures: what the resolver understood, beside the hit's own captures.
    """

    hit: Hit
    mitigation: Mitigation = field(default_factory=Mitigation)
    certainty: float = 1.0
    captures: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Resolver:
    """The code behind one action of a pattern's mitigation.

    Attributes:
        resolve: makes a finding of the parameters, the hits and the facts, or None: the facts contradict the
            pattern, which
            then did not match.
        required: parameters that must be there.
        optional: parameters that may be there.
        check: says what is wrong with the parameters; empty = nothing.
    """

    resolve: Callable[[Parameters, Sequence[Hit], Context], Finding | None]
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    check: Callable[[Parameters], str] = lambda _: ""


def distinct(hits: Sequence[Hit], key: str) -> dict[str, Hit]:
    """The values of one capture, latest first, each with its last hit; at most 20."""
    found: dict[str, Hit] = {}
    for hit in reversed(hits):
        value = hit.captures.get(key, "")
        if value and value not in found and len(found) < MAX_DISTINCT:
            found[value] = hit
    return found


def telling(hits: Sequence[Hit]) -> Hit:
    """The last of the surest hits that capture most: what only repeats that something failed does not decide."""
    return max(reversed(hits), key=lambda hit: (len(hit.captures), hit.confidence))


def printable(text: str) -> str:
    """Text from an output, safe to show: one line, no control characters, at most 100 characters."""
    shown = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    return shown if len(shown) <= _MAX_SHOWN else shown[: _MAX_SHOWN - 3] + "..."
