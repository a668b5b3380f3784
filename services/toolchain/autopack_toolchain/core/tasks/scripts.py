"""Scripts that a repository keeps for its own people, in ``scripts/`` and its like and at the root."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..workspace import Workspace, join
from .model import Task, script
from .text import is_shell

__all__ = ["SCRIPT_DIRECTORIES", "read_scripts", "script_task"]

SCRIPT_DIRECTORIES = ("script", "scripts", "bin", "ci", ".ci", ".github/scripts", "tools", "dev", "hack")
"""Where such scripts stand, relative to a project."""

MAX_SCRIPTS = 100
"""Scripts at most of one directory; the fullest one surveyed has 54."""

_SHELL = (".sh", ".bash")
_RUNNERS = {".py": "python", ".js": "node", ".mjs": "node", ".cjs": "node", ".rb": "ruby", ".php": "php", ".pl": "perl"}

_PURPOSES = frozenset(
    {"test", "tests", "lint", "check", "checks", "ci", "cibuild", "build", "bootstrap", "setup", "install", "deps"}
    | {"format", "fmt", "typecheck", "types", "coverage", "unit", "runtests", "runtest", "validate", "verify", "all"}
)
"""First words of the names of scripts that say what they are for."""

_ROOT = _PURPOSES - {"setup", "install", "all", "types", "deps"} | {"run"}
"""The same at the root, where ``setup.py`` and ``install`` are the package's own."""

_WORDS = re.compile(r"[A-Za-z0-9]+")
_TEST_FILE = re.compile(r"^test_\w+\.py$|^\w+_test\.py$|^tests?\.py$|[.-]test\.\w+$")


def read_scripts(workspace: Workspace, directory: str) -> Iterator[Task]:
    """One task per script; those in other languages than shell only where their name tells a purpose."""
    for below in SCRIPT_DIRECTORIES:
        names = workspace.names(join(directory, below))
        chosen = [name for name in sorted(names) if _is_script(name, _PURPOSES)]
        for name in chosen[:MAX_SCRIPTS]:
            yield from _task(workspace, directory, f"{below}/{name}")
    root = [name for name in sorted(workspace.names(directory)) if _is_root_script(name)]
    for name in root[:MAX_SCRIPTS]:
        yield from _task(workspace, directory, name)


def script_task(workspace: Workspace, path: str) -> Task | None:
    """The shell script at a path, as it is called from the root; None if there is none whose text is at hand."""
    # A snapshot carries the text of some files only, and gives the same answer as the directory itself.
    known = workspace.has(".", path) and workspace.registry.wants_content(path)
    return (
        next(_task(workspace, ".", path), None) if known and _suffix(path.rpartition("/")[2]) in {"", *_SHELL} else None
    )


def _suffix(name: str) -> str:
    return "." + name.rpartition(".")[2] if "." in name[1:] else ""


def _is_script(name: str, purposes: frozenset[str]) -> bool:
    suffix = _suffix(name)
    if suffix in _SHELL or (not suffix and not name.startswith(".")):
        return True
    words = _WORDS.findall(name.lower())
    return suffix in _RUNNERS and bool(words) and words[0] in purposes | {"run"} and not _TEST_FILE.search(name)


def _is_root_script(name: str) -> bool:
    suffix = _suffix(name)
    if suffix and suffix not in _SHELL and suffix not in _RUNNERS:
        return False
    words = _WORDS.findall(name.lower())
    if not words or words[0] not in _ROOT or _TEST_FILE.search(name):
        return False
    return suffix in _SHELL or bool({"tests", "test", "runtests", "runtest"} & set(words)) or not suffix


def _task(workspace: Workspace, directory: str, inner: str) -> Iterator[Task]:
    path = join(directory, inner)
    name = inner.rpartition("/")[2]
    suffix = _suffix(name)
    readable = suffix in _SHELL or (not suffix and workspace.registry.wants_content(path))
    first = next(iter(workspace.lines(path)), "") if readable else ""
    executable = workspace.executable(path)
    if not suffix and not (executable or first.startswith("#!")):
        return  # neither a program nor a script: data without an ending
    shell = is_shell(first) or (suffix in _SHELL and not first.startswith("#!"))
    called = inner if "/" in inner else f"./{inner}"
    argv: tuple[str, ...] = (called,)
    if not executable and suffix:
        argv = ("bash" if suffix in _SHELL else _RUNNERS[suffix], inner)
    yield Task("script", inner, path, 0, directory, argv, script(workspace.text(path)) if shell else ())
