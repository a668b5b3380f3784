"""Environments of tox: tox.ini, setup.cfg, tox.toml and pyproject.toml."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, product
from typing import Any

from ..parsing import ManifestError, parse_ini
from ..workspace import Workspace, join, listing, strings, table
from .model import MAX_BODY, MAX_TASKS, Task, bodies, first_line, header_lines, unique, within
from .text import command_line

__all__ = ["TOX_FILES", "read_tox"]

TOX_FILES = ("tox.ini", "setup.cfg", "pyproject.toml", "tox.toml")
"""The order in which tox looks for its configuration; the first one that has any holds."""

MAX_SUBSTITUTIONS = 2_000
"""Lines with substitutions at most in one file; the largest file surveyed has some 300."""

MAX_DEPTH = 10
"""Settings within settings that are followed: those that name each other in a circle end here."""

_GROUP = re.compile(r"\{([^{}\[\]:]*)\}")
_FIELD = re.compile(r"\{([^{}]*)\}")
_CONDITION = re.compile(r"^([!\w.,{}-]+)[ \t]*:[ \t]+(.*)$")
_FACTORS = re.compile(r"[\s,]+")
_REFERENCE = re.compile(r"^\[([^\]]*)\](\w+)$")
_PYTHON = re.compile(r"^(?:py|pypy|cpython)\d*(?:\.\d+)?$")

_ENVIRONMENT = {
    "toxinidir": ".",
    "tox_root": ".",
    "envpython": "python",
    "envbindir": "",
    "env_bin_dir": "",
    "posargs": "",
    "package_root": ".",
    "/": "/",
    ":": ":",
}


_Sections = Mapping[str, Mapping[str, str]]


@dataclass(slots=True)
class _Budget:
    """What is left of :data:`MAX_SUBSTITUTIONS` for one file."""

    left: int = MAX_SUBSTITUTIONS


@dataclass(frozen=True, slots=True)
class _Source:
    """Where the configuration stands, and what tox reads there: sections of options, in the form of an INI file."""

    path: str
    core: Mapping[str, str]
    sections: _Sections
    start: str


def read_tox(workspace: Workspace, directory: str) -> Iterator[Task]:
    """One task per environment that is listed or has a section, and one for ``tox`` alone."""
    names = workspace.names(directory)
    for name in TOX_FILES:
        if name in names:
            reader = _native if name.endswith(".toml") else _ini
            found = list(islice(reader(workspace, directory, join(directory, name)), MAX_TASKS))
            if found:
                yield from found
                return


# INI


def _ini(workspace: Workspace, directory: str, path: str) -> Iterator[Task]:
    sections = workspace.ini(path)
    core = "tox" if path.endswith("tox.ini") else "tox:tox"
    if core in sections or (core == "tox" and any(name.startswith("testenv") for name in sections)):
        source = _Source(path, sections.get(core, {}), sections, f"[{core}]")
        yield from _environments(workspace, directory, source)


def _environments(workspace: Workspace, directory: str, source: _Source) -> Iterator[Task]:
    listed = _expanded_names(source.core.get("envlist") or source.core.get("env_list") or "")
    own: dict[str, str] = {}
    for section in source.sections:
        if section.startswith("testenv:"):
            own |= dict.fromkeys(_expanded_names(section.removeprefix("testenv:")), section)
    names = dict.fromkeys([*listed, *own])
    if not any(_PYTHON.match(name) for name in names) and "testenv" in source.sections:
        names["py"] = None  # always there, and what CI calls when nothing is listed
    headers = header_lines(workspace, source.path)
    inside = headers.get(source.start, 0)
    if listed or "testenv" in source.sections:
        yield Task("tox", "", source.path, inside, directory, ("tox",), needs=unique(listed or ["py"]))
    budget = _Budget()
    for name in islice(names, MAX_TASKS):
        section = own.get(name, "testenv")
        line = headers.get(f"[{section}]", 0)
        settings = _Settings(source.sections, name, section, budget)
        commands = [line for key in ("commands_pre", "commands", "commands_post") for line in settings.lines(key)]
        inner = settings.value("changedir") or settings.value("change_dir")
        yield Task(
            "tox",
            name,
            source.path,
            line or inside,
            directory,
            ("tox", "-e", name),
            bodies(within(inner.strip(), (line.lstrip("-!@ ") for line in commands))),
            description=first_line(settings.value("description")),
        )


def _expanded_names(text: str) -> list[str]:
    """``py{310,311}-{a,b}`` written out, and lists separated by commas and white space."""
    found: list[str] = []
    for part in _FACTORS.split(_GROUP.sub(lambda m: "{" + m[1].replace(",", "|").replace(" ", "") + "}", text)):
        pieces = re.split(r"\{([^{}]*)\}", part)
        choices = [piece.split("|") if at % 2 else [piece] for at, piece in enumerate(pieces)]
        found += ["".join(chosen) for chosen in islice(product(*choices), MAX_TASKS - len(found))] if part else []
    return [name for name in dict.fromkeys(found) if name]


class _Settings:
    """The settings of one environment: its section, then the sections it builds on."""

    def __init__(self, sections: _Sections, name: str, section: str, budget: _Budget) -> None:
        self._sections = sections
        self._factors = {*name.split("-"), name}
        base = [part.strip() for part in sections.get(section, {}).get("base", "").split(",") if part.strip()]
        self._chain = [section, *(b if b.startswith("testenv") else f"testenv:{b}" for b in base), "testenv"]
        self._name = name
        self._budget = budget
        self._depth = 0

    def value(self, key: str) -> str:
        """The value of a setting with its substitutions made; empty where it is not set."""
        return "\n".join(self.lines(key))

    def lines(self, key: str) -> list[str]:
        """The lines of a setting that hold for this environment; continued ones are joined."""
        raw = next((s[key] for s in (self._sections.get(name, {}) for name in self._chain) if key in s), "")
        return self._chosen(raw)

    def _chosen(self, raw: str) -> list[str]:
        found = []
        for line in " ".join(part.strip(" \t") for part in raw.split("\\\n")).split("\n"):
            line = line.strip()
            match = _CONDITION.match(line)
            if match and not self._holds(match[1]):
                continue
            line = match[2] if match else line
            found += [part.strip() for part in self._substituted(line).split("\n") if part.strip()]
        return found

    def _holds(self, condition: str) -> bool:
        """Whether one of the alternatives ``a-!b,c`` holds: all its factors are there, the negated ones are not."""
        return any(
            option in self._factors
            or all((factor.lstrip("!") in self._factors) != factor.startswith("!") for factor in option.split("-"))
            for option in _expanded_names(condition)
        )

    def _substituted(self, text: str) -> str:
        """Fields replaced from the inside out."""
        text = text[:MAX_BODY].replace("{envbindir}/", "")
        for _ in range(MAX_DEPTH):
            if "{" not in text or self._budget.left <= 0:
                break
            self._budget.left -= 1
            text = _FIELD.sub(self._field, text)[:MAX_BODY]
        return text.replace("\x00", "${").replace("\x01", "}")

    def _field(self, match: re.Match[str]) -> str:
        inner = match[1].strip()
        if reference := _REFERENCE.match(inner):
            raw = self._sections.get(reference[1], {}).get(reference[2], "")
            self._depth += 1
            lines = self._chosen(raw) if self._depth < MAX_DEPTH and self._budget.left > 0 else []
            self._depth -= 1
            return "\n".join(lines)
        name, colon, rest = inner.partition(":")
        if name == "posargs":
            return rest if colon else ""
        if name == "env":
            variable, colon, default = rest.partition(":")
            return default if colon else f"\x00{variable}\x01"
        if name == "tty":
            return ""
        if inner in {"envname", "env_name"}:
            return self._name
        return _ENVIRONMENT.get(inner, "\x00_\x01")


# TOML


def _native(workspace: Workspace, directory: str, path: str) -> Iterator[Task]:
    data = workspace.toml(path)
    pyproject = path.endswith("pyproject.toml")
    config = table(data, "tool", "tox") if pyproject else data
    if pyproject and isinstance(text := config.get("legacy_tox_ini"), str):
        try:
            sections = parse_ini("\n".join(line.strip() if "[" in line[:2] else line for line in text.split("\n")))
        except ManifestError as error:
            workspace.warn("BROKEN_MANIFEST", f"{path}: legacy_tox_ini: {error.message}. Fix it there.", path)
            return
        source = _Source(path, sections.get("tox", {}), sections, "[tool.tox]")
        yield from _environments(workspace, directory, source)
        return
    base, own = table(config, "env_run_base"), table(config, "env")
    listed = _native_list(config.get("env_list"))
    if not (listed or base or own):
        return
    prefix = "tool.tox." if pyproject else ""
    yield Task("tox", "", path, workspace.line(path, "env_list"), directory, ("tox",), needs=unique(listed or ["py"]))
    for name in islice(dict.fromkeys([*listed, *own, *([] if listed else ["py"])]), MAX_TASKS):
        options = {**base, **table(own, name)}
        keys = ("commands_pre", "commands", "commands_post")
        commands = [_native_command(config, line) for key in keys for line in listing(options.get(key))]
        inner = str(options.get("change_dir", ""))
        section = f"[{prefix}env.{name}]" if name in own else f"[{prefix}env_run_base]"
        yield Task(
            "tox",
            name,
            path,
            header_lines(workspace, path).get(section, 0),
            directory,
            ("tox", "-e", name),
            bodies(within(inner.replace("{tox_root}/", ""), commands)),
            description=first_line(options.get("description")),
        )


def _native_list(value: object) -> list[str]:
    """Names, and products of prefixes and factors (tox 4.25)."""
    found: list[str] = []
    for item in listing(value):
        if isinstance(item, str):
            found += _expanded_names(item)
        elif isinstance(item, dict):
            groups = [strings(group) for group in listing(item.get("product"))]
            found += ["-".join(chosen) for chosen in islice(product(*groups), MAX_TASKS)] if groups else []
    return found


def _native_command(config: dict[str, Any], words: object) -> str:
    found: list[str] = []
    for word in listing(words):
        if isinstance(word, str):
            plain = word.replace("{tox_root}", ".").replace("{env_python}", "python").replace("{posargs}", "")
            found += [_FIELD.sub("${_}", plain)] if plain else []
        elif isinstance(word, dict):
            found += strings(word.get("default")) if word.get("replace") in {"posargs", "env"} else ["${_}"]
    return command_line(found)
