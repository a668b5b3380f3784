"""Which named tasks a command line calls, for each program that runs tasks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

__all__ = ["REFERENCES", "Reference"]


@dataclass(frozen=True, slots=True)
class Reference:
    """A call of a task.

    Attributes:
        tool: as in :class:`.tasks.Task`.
        name: of the task; empty = the tool's default.
        certain: it is a task or an error; otherwise the word may as well be a program.
    """

    tool: str
    name: str
    certain: bool = True


Reader = Callable[[Sequence[str], Sequence[str]], Iterator[Reference]]
"""From the words that are no options, and all arguments, to references."""

_NPM_NAMES = {"test": "test", "t": "test", "tst": "test", "start": "start", "stop": "stop", "restart": "restart"}
_OF_PYTHON = re.compile(r"-(?:pypy)?\d[\d.]*$")
_RUN = frozenset({"run", "run-script", "rum", "urn"})
_YARN_OWN = frozenset(
    {
        "install", "add", "remove", "up", "upgrade", "dlx", "exec", "node", "npm", "pack", "publish", "set",
        "config", "cache", "why", "info", "dedupe", "global", "link", "unlink", "audit", "init", "import",
        "plugin", "rebuild", "ci", "i", "patch", "store", "env", "licenses", "version", "versions", "list",
        "outdated", "create", "setup", "deploy", "fetch", "prune",
    }
)  # fmt: skip


def _make(words: Sequence[str], arguments: Sequence[str]) -> Iterator[Reference]:
    targets = [word for word in words if "=" not in word and not word.isdigit()]
    yield from (Reference("make", target) for target in targets or [""])


def _first(tool: str) -> Reader:
    """Tools whose first word is the task: just, poe, rake, invoke."""

    def read(words: Sequence[str], arguments: Sequence[str]) -> Iterator[Reference]:
        named = [word for word in words if "=" not in word][:1]
        yield from (Reference(tool, word.partition("[")[0]) for word in named or [""])

    return read


def _every(tool: str) -> Reader:
    """Tools that run all tasks that they are given: task, rake, invoke."""

    def read(words: Sequence[str], arguments: Sequence[str]) -> Iterator[Reference]:
        named = [word.partition("[")[0] for word in words if "=" not in word and not word.startswith("{")]
        yield from (Reference(tool, word) for word in named or [""])

    return read


def _mise(words: Sequence[str], arguments: Sequence[str]) -> Iterator[Reference]:
    if words[:1] in (["run"], ["r"]):
        yield from (Reference("mise", word) for word in words[1:] if word != ":::")
    elif words:
        yield Reference("mise", words[0], certain=False)


def _option_values(arguments: Sequence[str], names: frozenset[str]) -> Iterator[str]:
    held = False
    for word in arguments:
        name, equals, value = word.partition("=")
        if held:
            yield from word.split(",")
        elif name in names and equals:
            yield from value.split(",")
        elif word[:2] in names and len(word) > 2 and not word.startswith("--"):
            yield from word[2:].split(",")
        held = not held and word in names


def _tox(words: Sequence[str], arguments: Sequence[str]) -> Iterator[Reference]:
    if words[:1] and words[0] in {"list", "l", "config", "c", "devenv", "d", "exec", "e", "quickstart", "q", "schema"}:
        return
    named = list(_option_values(arguments, frozenset({"-e", "--env", "-f"})))  # -f: all environments with a factor
    yield from (Reference("tox", name) for name in named or [""])


def _nox(words: Sequence[str], arguments: Sequence[str]) -> Iterator[Reference]:
    if "-l" in arguments or "--list" in arguments:
        return
    named = list(_option_values(arguments, frozenset({"-s", "-e", "--session", "--sessions"})))
    named += [word for word in words if word not in named and named]
    # A session of several Pythons is called with the version behind its name.
    yield from (Reference("nox", _OF_PYTHON.sub("", name)) for name in named or [""])


def _npm(words: Sequence[str], arguments: Sequence[str]) -> Iterator[Reference]:
    if words and words[0] in _RUN and len(words) > 1:
        yield Reference("npm-script", words[1])
    elif words and words[0] in _NPM_NAMES:
        yield Reference("npm-script", _NPM_NAMES[words[0]])


def _yarn(words: Sequence[str], arguments: Sequence[str]) -> Iterator[Reference]:
    """yarn, pnpm and bun run a script by its bare name, and a program where there is no such script."""
    rest = list(words)
    if rest[:1] == ["workspaces"] or rest[:1] == ["workspace"]:
        rest = [word for word in rest[2 if rest[0] == "workspace" else 1 :] if word not in {"foreach"}]
    if rest and rest[0] in _RUN and len(rest) > 1:
        yield Reference("npm-script", rest[1])
    elif rest and rest[0] in {"test", "t", "tst", "start"}:
        yield Reference("npm-script", _NPM_NAMES[rest[0]])
    elif rest and rest[0] not in _YARN_OWN:
        yield Reference("npm-script", rest[0], certain=False)


def _bun(words: Sequence[str], arguments: Sequence[str]) -> Iterator[Reference]:
    if words[:1] == ["run"] and len(words) > 1:
        yield Reference("npm-script", words[1], certain=not words[1].endswith((".ts", ".js", ".tsx")))
    elif words and words[0] not in {"test", "install", "build", "x", "i", "ci", "add"}:
        yield Reference("npm-script", words[0], certain=False)


def _workspace_runner(words: Sequence[str], arguments: Sequence[str]) -> Iterator[Reference]:
    """nx, turbo and lerna run a package script of many packages: the name is what they are given."""
    targets = list(_option_values(arguments, frozenset({"-t", "--target", "--targets"})))
    rest = [word for word in words if word not in {"run", "run-many", "affected", "exec"}]
    # project:target, as nx writes it; the colon in test:ci is part of the name
    rest = [word.rpartition(":")[2] if word.count(":") == 1 and not word.startswith("test") else word for word in rest]
    named = targets or rest
    yield from (Reference("workspace-script", name) for name in named[:4])


def _composer(words: Sequence[str], arguments: Sequence[str]) -> Iterator[Reference]:
    if words and words[0] in {"run", "run-script", "exec"} and len(words) > 1:
        yield Reference("composer", words[1], certain=words[0] != "exec")
    elif words:
        yield Reference("composer", words[0], certain=words[0] in {"test", "tests", "lint"})


def _deno(words: Sequence[str], arguments: Sequence[str]) -> Iterator[Reference]:
    if words[:1] == ["task"] and len(words) > 1:
        yield Reference("deno", words[1])


def _maybe(tool: str) -> Reader:
    """The first word may be a task of the project's own, and else is the program's own: mix aliases, cargo aliases."""

    def read(words: Sequence[str], arguments: Sequence[str]) -> Iterator[Reference]:
        yield from (Reference(tool, word, certain=False) for word in words[:1])

    return read


def _hatch(words: Sequence[str], arguments: Sequence[str]) -> Iterator[Reference]:
    if words[:1] == ["run"] and len(words) > 1:
        yield Reference("hatch", words[1], certain=":" in words[1])
    elif words:
        yield Reference("hatch", words[0], certain=False)


def _run_script(tool: str) -> Reader:
    """``pdm run NAME``, ``pixi run NAME``: a task, or a program of the environment."""

    def read(words: Sequence[str], arguments: Sequence[str]) -> Iterator[Reference]:
        if words[:1] == ["run"] and len(words) > 1:
            yield Reference(tool, words[1], certain=False)
        elif words:
            yield Reference(tool, words[0], certain=False)

    return read


def _npm_run_all(words: Sequence[str], arguments: Sequence[str]) -> Iterator[Reference]:
    """run-s, run-p, npm-run-all and concurrently: names of scripts, with or without ``npm:``."""
    yield from (Reference("npm-script", word.removeprefix("npm:"), certain=False) for word in words)


REFERENCES: dict[str, Reader] = {
    "make": _make,
    "gmake": _make,
    "just": _first("just"),
    "task": _every("task"),
    "go-task": _every("task"),
    "mise": _mise,
    "poe": _first("poe"),
    "poethepoet": _first("poe"),
    "tox": _tox,
    "nox": _nox,
    "hatch": _hatch,
    "pdm": _run_script("pdm-script"),
    "pixi": _run_script("pixi"),
    "npm": _npm,
    "pnpm": _yarn,
    "yarn": _yarn,
    "yarnpkg": _yarn,
    "bun": _bun,
    "run-s": _npm_run_all,
    "run-p": _npm_run_all,
    "npm-run-all": _npm_run_all,
    "npm-run-all2": _npm_run_all,
    "concurrently": _npm_run_all,
    "nx": _workspace_runner,
    "turbo": _workspace_runner,
    "lerna": _workspace_runner,
    "composer": _composer,
    "deno": _deno,
    "rake": _every("rake"),
    "mix": _maybe("mix"),
    "cargo": _maybe("cargo-alias"),
    "invoke": _first("invoke"),
    "inv": _first("invoke"),
    "mage": _every("mage"),
}
