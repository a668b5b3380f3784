"""A command as data: what is run, where, with what, for how long.

Pure: ``core/`` packages may import it. On the wire it is ``autopack.common.v1.Command``.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType

__all__ = ["MAX_SCRIPT_BYTES", "MAX_WORDS", "MAX_WORD_BYTES", "Command", "Script"]

MAX_WORDS = 1024
"""Words of a command line; the longest seen in real manifests has under 100."""
MAX_WORD_BYTES = 32 << 10
"""Bytes of a word; Linux takes 128 KiB (MAX_ARG_STRLEN)."""
MAX_SCRIPT_BYTES = 64 << 10
"""Bytes of a script; longer ones belong into a file of the repository."""


@dataclass(frozen=True, slots=True)
class Script:
    """A text for an interpreter: used only where a line cannot be reduced to an argument vector.

    Attributes:
        interpreter: argument vector of the program that reads the text from a file, for example ``("bash", "-e")``.
        text: the script itself.
    """

    interpreter: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Command:
    """Exactly one of ``argv`` and ``script``; paths are relative to the workspace.

    Attributes:
        argv: program and arguments; never seen by a shell.
        script: the marked exception.
        cwd: directory relative to the workspace root, ``"."`` for the root.
        env: variables added to the allow-listed environment.
        timeout: wall time after which the whole process tree is killed; None = the caller's default.
    """

    argv: tuple[str, ...] = ()
    script: Script | None = None
    cwd: str = "."
    env: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    timeout: timedelta | None = None

    def __post_init__(self) -> None:
        if bool(self.argv) == (self.script is not None):
            raise ValueError("a command has either argv or a script, and not both")

    @classmethod
    def of(cls, *argv: str, cwd: str = ".", env: Mapping[str, str] | None = None) -> Command:
        """A command from its words: ``Command.of("npm", "test")``."""
        return cls(argv=tuple(argv), cwd=cwd, env=MappingProxyType(dict(env or {})))

    def line(self) -> str:
        """The command as a person would type it, quoted; for messages only, never for a shell."""
        if self.script is not None:
            return self.script.text
        assignments = [f"{name}={shlex.quote(value)}" for name, value in sorted(self.env.items())]
        return " ".join([*assignments, quote(self.argv)])


def quote(argv: Sequence[str]) -> str:
    """``argv`` quoted for display."""
    return " ".join(shlex.quote(word) for word in argv)
