"""The goal that a person gives: words on the command line, a Markdown file, or a run of a batch file."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from autopack_api.intention.v1 import intention_pb2 as pb
from autopack_api.orchestrator.v1 import batch_pb2
from autopack_client import AsyncClient
from autopack_kit.errors import AutopackError, FieldViolation, InvalidArgument, invalid_field, invalid_fields

from autopack_cli.batchfile import BatchFile, load
from autopack_cli.batchvalues import split_goal
from autopack_cli.refusals import refuse
from autopack_cli.render import clean, err_console
from autopack_cli.yamlnodes import Problem

__all__ = ["Goal", "add_to", "fill_goals", "intention_of", "options_named", "parse", "read_text"]

MAX_GOAL_BYTES = 1 << 20
"""What the service takes."""

_BATCH_SUFFIXES = frozenset({".yaml", ".yml"})
_SHOWN_NAMES = 10

_OPTIONS = {
    "intention.title": "--goal",
    "intention.description": "--goal",
    "intention.constraints": "--constraint",
    "intention.acceptance": "--acceptance",
    "intention.scope": "--scope",
    "intention.non_goals": "--non-goal",
    "intention.non_goal_globs": "--non-goal-glob",
    "intention.notes": "--note",
    "budget_bytes": "--budget",
    "note": "--note",
}
"""Fields of requests, and the options that fill them."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What was given as the goal.

    Attributes:
        text: words of ``--goal``.
        file: the file instead, ``-`` for standard input.
        option: what the file is called on this command line.
        title: the goal in one line, for a file that does not say it.
        run: of a batch file.
        more: fields of an intention, and what options add to them.
    """

    text: str | None
    file: Path | None
    option: str
    title: str = ""
    run: str = ""
    more: Mapping[str, Sequence[str] | None] = field(default_factory=dict)

    def read(self) -> _Source:
        """The file or the words, as far as that needs no server.

        Raises:
            InvalidArgument: neither or both were given, a text is not UTF-8, or the file cannot be read as text.
        """
        if (self.text is None) == (self.file is None):
            raise invalid_field("--goal", f"give exactly one of {self.option} and --goal")
        self._check_utf8()
        if self.text is not None or self.file is None:
            if self.run:
                raise invalid_field("--run", "names a run of a batch file; give the file")
            title, description = (self.title, (self.text or "").strip()) if self.title else split_goal(self.text or "")
            return _Source(self, intention=pb.Intention(title=title, description=description))
        if self.file.suffix.lower() in _BATCH_SUFFIXES:
            return self._of_batch(self.file)
        if self.run:
            raise invalid_field("--run", f"names a run of a batch file, and {self.file} is none")
        return _Source(self, text=read_text(self.file, self.option))

    def _check_utf8(self) -> None:
        """Bytes of a command line that are not UTF-8 are lone surrogates here, which no request can carry."""
        more = {_OPTIONS[f"intention.{name}"]: texts or () for name, texts in self.more.items()}
        for option, texts in {"--goal": [self.text or ""], "--title": [self.title], **more}.items():
            if any("\ud800" <= char <= "\udfff" for text in texts for char in text):
                raise invalid_field(option, "is not UTF-8: write it in UTF-8, or give a file that is")

    def _of_batch(self, path: Path) -> _Source:
        file = load(path)
        if file.problems:
            refuse(file, file.problems, "it is not used")
        names = [run.name for run in file.spec.runs]
        if not self.run and len(names) != 1:
            raise invalid_field("--run", f"say which run of {path} is meant: {_listed(names)}")
        if self.run and self.run not in names:
            raise invalid_field("--run", f"{path} has no run {self.run!r}; it has {_listed(names)}")
        index = names.index(self.run) if self.run else 0
        one = batch_pb2.BatchSpec(runs=[file.spec.runs[index]])
        goals = {0: file.goals[index]} if index in file.goals else {}
        return _Source(self, batch=replace(file, spec=one, goals=goals))


@dataclass(frozen=True, slots=True)
class _Source:
    goal: Goal
    intention: pb.Intention | None = None
    text: str | None = None
    batch: BatchFile | None = None


async def intention_of(client: AsyncClient, source: _Source) -> pb.Intention:
    """The intention, with what options add to it.

    Raises:
        InvalidArgument: the text names no goal, or is too long.
    """
    goal = source.goal
    if source.batch is not None:
        if problems := await fill_goals(client, source.batch):
            refuse(source.batch, problems, "it is not used")
        intention = source.batch.spec.runs[0].intention
        intention.title = goal.title or intention.title
    elif source.text is not None:
        intention = await parse(client, source.text, goal.title, goal.option, str(goal.file))
    else:
        intention = source.intention or pb.Intention()
    return add_to(intention, goal.more)


def add_to(intention: pb.Intention, more: Mapping[str, Sequence[str] | None]) -> pb.Intention:
    """``intention`` with the items of ``more`` behind its own, each once."""
    for name, items in more.items():
        own = getattr(intention, name)
        own.extend(item for item in dict.fromkeys(items or ()) if item not in own)
    return intention


async def parse(
    client: AsyncClient, text: str, title: str, option: str, name: str, *, title_option: str = "--title"
) -> pb.Intention:
    """The intention in a text; what it warns of is told on standard error.

    Raises:
        InvalidArgument: the text names no goal, or is too long.
    """
    with options_named({"text": option, "title": title_option}):
        response = await client.intention.ParseIntention(pb.ParseIntentionRequest(text=text, title=title))
    for warning in response.warnings:
        err_console().print(f"warning: {clean(name)}: {clean(warning)}", style="yellow", soft_wrap=True)
    return response.intention


async def fill_goals(client: AsyncClient, file: BatchFile) -> list[Problem]:
    """Completes the runs of a batch by their goal files; what the batch says itself stands.

    Returns:
        What is wrong with the files.
    """
    parsed: dict[tuple[Path, str], pb.Intention] = {}
    problems = []
    for index, goal in file.goals.items():
        own = file.spec.runs[index].intention
        key = (goal.path, own.title)
        try:
            if key not in parsed:
                parsed[key] = await parse(client, goal.text, own.title, "goal_file", str(goal.path))
        except InvalidArgument as error:
            what = "; ".join(item.description for item in error.violations) or error.message
            problems.append(Problem(goal.place, f"goal_file {goal.path.name}: {what}"))
            continue
        _complete(own, parsed[key], goal.explicit)
    return problems


def _complete(own: pb.Intention, found: pb.Intention, explicit: frozenset[str]) -> None:
    own.title = own.title or found.title
    own.description = own.description or found.description
    for descriptor in own.DESCRIPTOR.fields:
        name = descriptor.name
        if name not in ("title", "description") and name not in explicit:
            getattr(own, name).extend(getattr(found, name))


@contextmanager
def options_named(names: Mapping[str, str] = _OPTIONS) -> Iterator[None]:
    """For the block, errors name the options that a person gave, not the fields of a request."""
    try:
        yield
    except InvalidArgument as error:
        if not error.violations:
            raise
        raise _renamed(error, names) from error


def _renamed(error: AutopackError, names: Mapping[str, str]) -> InvalidArgument:
    found = []
    for item in error.violations:
        name, bracket, index = item.field.partition("[")
        found.append(FieldViolation(names.get(name, name) + bracket + index, item.description))
    renamed = invalid_fields(found)
    return InvalidArgument(
        renamed.message,
        reason=error.reason,
        remedy="Correct what is named and try again.",
        metadata=renamed.metadata,
        violations=found,
    )


def read_text(file: Path, option: str) -> str:
    """A text file of at most 1 MiB, or standard input for ``-``.

    Raises:
        InvalidArgument: it is missing, no regular file, too large, or no UTF-8 text.
    """
    try:
        data = sys.stdin.buffer.read(MAX_GOAL_BYTES + 1) if str(file) == "-" else _bytes(file, option)
    except OSError as error:
        raise invalid_field(
            option, f"{file} cannot be read: {error.strerror or error}; name a readable file"
        ) from error
    if len(data) > MAX_GOAL_BYTES:
        raise invalid_field(option, f"{file} has more than {MAX_GOAL_BYTES:,} bytes: give the part that says the goal")
    if b"\0" in data:
        raise invalid_field(
            option, f"{file} is binary: give a Markdown or text file, or a batch file that ends in .yaml"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise invalid_field(option, f"{file} is not UTF-8 in line {line}: save it as UTF-8") from error


def _bytes(file: Path, option: str) -> bytes:
    # Not blocking: a named pipe without a writer would wait for ever.
    with open(os.open(file.expanduser(), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as opened:
        if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
            raise invalid_field(option, f"{file} is not a regular file: name one, or give - for standard input")
        return opened.read(MAX_GOAL_BYTES + 1)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN_NAMES])
    return shown + (f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else "")
