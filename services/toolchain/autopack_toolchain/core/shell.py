"""Which simple commands a piece of shell text runs: their words, directory and variables, and under what conditions.

The text of a CI job, of a package script or of a script file is read, never run. The reader is linear in the length
of the text, bounded, and takes broken text as far as it makes sense: it never raises. (A general incremental parser
was measured on hostile input and took from seconds to a minute for 64 KiB; this one needs milliseconds.)
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType

from .recent import Recent
from .shell_reader import LimitReached, Reader
from .shell_state import PLACEHOLDER, UNKNOWN, Simple, directory_after, directory_of

__all__ = [
    "MAX_SHELL_BYTES",
    "PLACEHOLDER",
    "UNKNOWN",
    "Simple",
    "directory_after",
    "directory_left",
    "directory_of",
    "simple_commands",
]

MAX_SHELL_BYTES = 32 << 10
"""Characters at most that are read of one text: the longest script in the CI of 38 surveyed repositories has 10 KiB."""

_RECENT = Recent(2 << 20)
"""Texts that were read; CI files repeat many, and so do repositories that are detected again."""


def simple_commands(text: str, variables: Mapping[str, str] = MappingProxyType({})) -> list[Simple]:
    """The simple commands of ``text`` in the order in which they would run; never raises.

    Loops over a written list are unrolled, functions are entered where they are called, and assignments of known
    values are put in, so that ``for d in a b; do (cd $d && go test); done`` gives two commands. A variable that is
    set again under a condition keeps the value that it has without.

    Args:
        text: the first :data:`MAX_SHELL_BYTES` characters are read.
        variables: environment variables whose values are known.
    """
    return list(_recent(text, variables)[0])


def directory_left(text: str, variables: Mapping[str, str] = MappingProxyType({})) -> str:
    """The directory in which ``text`` ends, as :attr:`Simple.cwd`: for texts that one shell reads one after another."""
    return _recent(text, variables)[1]


def _recent(text: str, variables: Mapping[str, str]) -> tuple[tuple[Simple, ...], str]:
    return _RECENT.of(_read, text[:MAX_SHELL_BYTES], tuple(variables.items()))


def _read(text: str, variables: tuple[tuple[str, str], ...]) -> tuple[tuple[Simple, ...], str]:
    """The commands, and the directory in which they end."""
    reader = Reader(text.replace("\r\n", "\n").replace("\0", " "), dict(variables))
    with suppress(LimitReached):  # at a limit, what was read until then stands
        reader.list_until(frozenset())
    return tuple(reader.found), reader.cwd
