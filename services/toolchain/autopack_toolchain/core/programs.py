"""What programs are for: ``data/programs.toml`` as typed values."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from .model import StepKind

__all__ = ["Action", "Program", "Programs", "Rule", "Wrapper", "default_programs"]

CLEAR = 0.9
"""Weight of a rule that does not name one."""


@dataclass(frozen=True, slots=True)
class Rule:
    """When a use of a program serves a purpose; see the comments in ``data/programs.toml``."""

    kind: StepKind
    words: tuple[str, ...]
    any: frozenset[str]
    none: frozenset[str]
    weight: float


@dataclass(frozen=True, slots=True)
class Program:
    """One program: its ecosystem ("" = any), the name of its uses, options that take a value, and rules in order.

    ``directory``: options whose value is where the program works, a directory or a manifest in it.
    """

    name: str
    ecosystem: str
    runner: str
    values: frozenset[str]
    directory: frozenset[str]
    words_any: bool
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Wrapper:
    """Words before another command.

    Attributes:
        words: the wrapper's own, the program first.
        ecosystem: of the command inside, where the wrapper tells it.
        values: options with a value.
        directory: options whose value is the directory of the command inside.
        module: options whose value is the program inside.
        needs_module: it wraps only with such an option.
        assignments: ``NAME=value`` words stand before the command.
        skip: positional words before the command.
        until: the word behind which the command starts; empty = the first word that is no option.
    """

    words: tuple[str, ...]
    ecosystem: str
    values: frozenset[str]
    directory: frozenset[str]
    module: frozenset[str]
    needs_module: bool
    assignments: bool
    skip: int
    until: str


@dataclass(frozen=True, slots=True)
class Action:
    """A CI step that runs an action: the words of the command it stands for, and inputs that are appended to them."""

    words: tuple[str, ...]
    inputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Programs:
    """Everything that is known about programs.

    ``actions`` is by the lower-case name of the action. ``names`` maps the words of a task's name to the purpose they
    speak for; ``side`` words mark a special kind of it, ``about`` words something that is done around it, and
    ``generic`` words do not narrow it.
    """

    programs: Mapping[str, Program]
    wrappers: Mapping[str, tuple[Wrapper, ...]]
    names: Mapping[str, StepKind]
    side: frozenset[str]
    about: frozenset[str]
    generic: frozenset[str]
    actions: Mapping[str, Action]


def parse_programs(text: str) -> Programs:
    """The table from its TOML text."""
    data = tomllib.loads(text)
    programs: dict[str, Program] = {}
    for name, table in data["program"].items():
        program = Program(
            name=name,
            ecosystem=table["ecosystem"],
            runner=table.get("runner", name),
            values=frozenset(table.get("values", ())),
            directory=frozenset(table.get("directory", ())),
            words_any=table.get("words_any", False),
            rules=tuple(_rule(rule) for rule in table["rules"]),
        )
        for known in (name, *table.get("aliases", ())):
            programs[known] = program
    wrappers: dict[str, list[Wrapper]] = {}
    for table in data["wrapper"]:
        wrapper = _wrapper(table)
        wrappers.setdefault(wrapper.words[0], []).append(wrapper)
    names = {word: kind for kind in StepKind for word in data["names"].get(kind.value, ())}
    actions = {
        table["uses"].lower(): Action(tuple(table.get("words", ())), tuple(table.get("input", ())))
        for table in data["action"]
    }
    side, about, generic = (frozenset(data["names"][key]) for key in ("side", "about", "generic"))
    return Programs(programs, {k: tuple(v) for k, v in wrappers.items()}, names, side, about, generic, actions)


def _rule(table: Mapping[str, Any]) -> Rule:
    return Rule(
        StepKind(table["kind"]),
        tuple(table.get("words", ())),
        frozenset(table.get("any", ())),
        frozenset(table.get("none", ())),
        float(table.get("weight", CLEAR)),
    )


def _wrapper(table: Mapping[str, Any]) -> Wrapper:
    return Wrapper(
        tuple(table["words"]),
        table.get("ecosystem", ""),
        frozenset(table.get("values", ())),
        frozenset(table.get("directory", ())),
        frozenset(table.get("module", ())),
        table.get("needs_module", False),
        table.get("assignments", False),
        table.get("skip", 0),
        table.get("until", ""),
    )


@cache
def default_programs() -> Programs:
    """The table that ships with the package."""
    return parse_programs(files("autopack_toolchain").joinpath("data/programs.toml").read_text("utf-8"))
