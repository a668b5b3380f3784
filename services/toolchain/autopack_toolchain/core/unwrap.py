"""The command inside ``uv run``, ``npx``, ``timeout 60`` and the like, and the words of a command."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from posixpath import basename, normpath

from .programs import Program, Programs, Wrapper
from .workspace import join

__all__ = ["Inner", "bare", "plain_words", "program_name", "shifted", "unwrapped"]

MAX_WRAPPERS = 6
"""Wrappers around one command: ``xvfb-run -a poetry run coverage run -m pytest`` has three."""

_NEUTRAL = frozenset({"sudo", "timeout", "time", "nice", "stdbuf", "command", "exec", "arch", "catchsegv", "retry"})
_REPORTERS = frozenset({"c8", "nyc"})
_VERSIONED = re.compile(r"^(python|pip|ruby|php|pypy)(?:\d[\d.]*)$")
_ASSIGNMENT = re.compile(r"^[A-Za-z_]\w*=")
_FILE = re.compile(r"(?:^|/)[^/]+\.(?:xml|toml|gradle|kts|sln|csproj)$")


@dataclass(frozen=True, slots=True)
class Inner:
    """A command without its wrappers."""

    argv: tuple[str, ...]
    wrapper: tuple[str, ...]
    ecosystem: str
    directory: str


def unwrapped(programs: Programs, argv: tuple[str, ...], directory: str) -> Inner:
    """The command without its wrappers, and where it works."""
    ecosystem = ""
    outer: list[str] = []
    for _ in range(MAX_WRAPPERS):
        known = programs.wrappers.get(program_name(argv[0]), ()) if argv else ()
        found = next((inside for wrapper in known if (inside := _strip(wrapper, argv))), None)
        if found is None:
            break
        outer += argv[: len(argv) - len(found[0])]
        argv, below, told = found
        ecosystem = told or ecosystem
        directory = shifted(directory, below)
    return Inner(argv, tuple(outer), ecosystem, directory)


@lru_cache(maxsize=1024)
def program_name(word: str) -> str:
    """The program that the first word of a command names, without its directory, version and extension."""
    name = basename(word.replace("\\", "/")).removesuffix(".exe").removesuffix(".bat").removesuffix(".cmd")
    match = _VERSIONED.match(name)
    if name in {"py", "pypy"}:
        return "python"
    return match[1].replace("pypy", "python") if match else name


def bare(programs: Programs, argv: tuple[str, ...]) -> tuple[str, ...]:
    """The command without what nobody types at home: ``sudo``, ``timeout 60``, and the report of ``yarn c8 jest``."""
    while argv and argv[0] in _NEUTRAL:
        inside = next((found for w in programs.wrappers.get(argv[0], ()) if (found := _strip(w, argv))), None)
        if inside is None:
            return argv
        argv = inside[0]
    for place, word in enumerate(argv):
        for wrapper in programs.wrappers.get(word, ()) if word in _REPORTERS else ():
            if inside := _strip(wrapper, argv[place:]):
                return (*argv[:place], *inside[0])
    return argv


def _strip(wrapper: Wrapper, argv: tuple[str, ...]) -> tuple[tuple[str, ...], str, str] | None:
    """The command inside a wrapper, the shift of its directory and its ecosystem; None if this is not that wrapper."""
    position = 1
    for word in wrapper.words[1:]:
        while position < len(argv) and argv[position] != word and argv[position].startswith("-"):
            position += 1
        if position >= len(argv) or argv[position] != word:
            return None
        position += 1
    if wrapper.until:
        if wrapper.until not in argv[position:]:
            return None
        return argv[argv.index(wrapper.until, position) + 1 :], "", wrapper.ecosystem
    shift, skip = "", wrapper.skip
    while position < len(argv):
        word = argv[position]
        name, equals, value = word.partition("=")
        if name in wrapper.module and not equals and position + 1 < len(argv):
            return argv[position + 1 :], shift, wrapper.ecosystem
        if name in wrapper.directory:
            shift = value if equals else argv[position + 1] if position + 1 < len(argv) else ""
            position += 1 if equals else 2
        elif name in wrapper.values:
            position += 1 if equals else 2
        elif word == "--":
            position += 1
            break
        elif word.startswith("-") or (wrapper.assignments and _ASSIGNMENT.match(word)):
            position += 1
        elif skip:
            skip -= 1
            position += 1
        else:
            break
    if wrapper.needs_module or position >= len(argv):
        return None
    return argv[position:], shift, wrapper.ecosystem


def plain_words(program: Program, arguments: tuple[str, ...]) -> tuple[list[str], str]:
    """The words that are no options nor values of options, and the directory that an option names."""
    words: list[str] = []
    shift, held = "", ""
    for word in arguments:
        if held:
            shift = word if held == "directory" else shift
            held = ""
            continue
        name, equals, value = word.partition("=")
        if name in program.directory:
            shift, held = (value, "") if equals else (shift, "directory")
        elif name in program.values:
            held = "" if equals else "value"
        elif not word.startswith(("-", "+")) or word.startswith("+t"):
            words.append(word)
    if _FILE.search(shift):
        shift = shift.rpartition("/")[0]
    return words, shift


def shifted(directory: str, below: str) -> str:
    """``below`` seen from ``directory``; ``"?"`` where it is not known or leads out of the repository."""
    if directory == "?" or below.startswith(("/", "~", "$")) or "$" in below:
        return "?"
    path = normpath(join(directory, below)) if below else directory
    return "?" if path.startswith("..") else path
