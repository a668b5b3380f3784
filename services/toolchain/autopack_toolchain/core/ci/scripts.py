"""Scripts that CI files give as lists of lines, and the phases of a job that one shell runs one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from ..shell import MAX_SHELL_BYTES, directory_left, directory_of
from .document import Value
from .model import CiCommand, Gathered

__all__ = ["Phase", "add_phases", "joined", "scalars"]

MAX_NODES = 1000
"""Lines and lists at most that are looked at for one script: lists may hold each other."""

MAX_PADDING = 200
"""Empty lines at most that are put between two lines of a script: more is another place of the file."""


@dataclass(frozen=True, slots=True)
class Phase:
    """One list of lines: its name, the file that it stands in, and the lines."""

    name: str
    path: str
    lines: list[Value]


def scalars(value: Value, follow: Callable[[Value], Value] = lambda value: value) -> list[Value]:
    """The scalars of a list and of the lists in it (there because of aliases), in order, or the scalar itself.

    Args:
        value: what is looked through.
        follow: what a list stands for, where it is a reference.
    """
    found: list[Value] = []
    waiting = [value]
    for _ in range(MAX_NODES):
        if not waiting:
            break
        value = waiting.pop()
        if value.text:
            found.append(value)
        else:
            waiting += reversed(follow(value).items()[:MAX_NODES])
    return found


def joined(lines: Iterable[Value]) -> tuple[str, int]:
    """One text of all lines and the line of the first; padded so that the others stand where they are in the file."""
    made: list[str] = []
    start = at = size = 0
    for value in lines:
        start = start or value.line
        padding = value.line - start - at
        if 0 < padding <= MAX_PADDING:
            made += [""] * padding
            at += padding
        made.append(value.text)
        at += value.text.count("\n") + 1
        size += len(value.text)
        if size > MAX_SHELL_BYTES:
            break
    return "\n".join(made), start


def add_phases(gathered: Gathered, command: CiCommand, phases: Iterable[Phase], values: Mapping[str, str]) -> None:
    """Adds one command for each phase; each starts where the one before has left off."""
    for phase in phases:
        text, line = joined(phase.lines)
        if text.strip() and gathered.look(len(phase.lines)):
            gathered.add(replace(command, path=phase.path, line=line, step=phase.name, script=text))
            if "cd " in text or "push" in text:
                command = replace(command, workdir=directory_of(command.workdir, directory_left(text, values)))
