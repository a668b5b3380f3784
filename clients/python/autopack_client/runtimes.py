"""Which runtimes are installed on this machine: a mitigation may switch to one of them, and downloads none.

    runtimes = installed_runtimes(os.environ, workspace)
    request = DiagnoseRequest(runtimes=runtimes, ...)

Looks on the search path and where the usual version managers keep theirs. What stands in the workspace is left out: an
agent may have put it there. Blocking (it starts programs to ask their version); from asyncio, call it in a thread.
"""

from __future__ import annotations

import functools
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from autopack_api.hardening.v1.hardening_pb2 import InstalledRuntime

__all__ = ["PROGRAMS", "installed_runtimes"]

PROGRAMS: Mapping[str, tuple[str, ...]] = {
    "python": ("python3", "python"),
    "node": ("node",),
    "java": ("java",),
    "go": ("go",),
    "rust": ("rustc",),
    "cmake": ("cmake",),
    "ruby": ("ruby",),
    "php": ("php",),
}
"""The programs of a runtime, of which its directory has one."""
MAX_RUNTIMES = 100
"""What Diagnose takes."""
VERSION_TIMEOUT_S = 10.0
"""Seconds for a program to say its version; a cold JVM on a busy machine takes two."""
MAX_VERSION_BYTES = 4096
AT_ONCE = 8

_ASK = {"go": ("version",), "java": ("-version",)}
_VERSION = re.compile(r"\d{1,4}\.\d{1,6}(?:\.\d{1,6}){0,2}|(?<=version \")\d{1,4}", re.ASCII)
_SHIMS = re.compile(r"/(shims|\.asdf/shims|mise/shims)$")
_HOMES: Mapping[str, tuple[str, ...]] = {
    "python": (
        "~/.pyenv/versions/*/bin", "~/.local/share/uv/python/*/bin", "~/.local/share/mise/installs/python/*/bin",
        "~/.asdf/installs/python/*/bin", "/opt/python/*/bin",
    ),
    "node": (
        "~/.nvm/versions/node/*/bin", "~/.local/share/mise/installs/node/*/bin", "~/.asdf/installs/nodejs/*/bin",
        "~/.volta/tools/image/node/*/bin", "~/.local/share/fnm/node-versions/*/installation/bin",
    ),
    "java": ("/usr/lib/jvm/*/bin", "~/.sdkman/candidates/java/*/bin", "/opt/java/*/bin", "~/.jdks/*/bin"),
    "go": ("/usr/local/go/bin", "~/sdk/go*/bin", "~/.local/share/mise/installs/go/*/bin"),
    "rust": ("~/.rustup/toolchains/*/bin",),
    "ruby": ("~/.rbenv/versions/*/bin", "~/.local/share/mise/installs/ruby/*/bin"),
}  # fmt: skip
"""Where version managers keep what they installed, as globs."""


def installed_runtimes(environment: Mapping[str, str], workspace: Path) -> list[InstalledRuntime]:
    """The runtimes that the owner of ``environment`` can start, each once; none that stands in ``workspace``."""
    home = environment.get("HOME", "")
    path = environment.get("PATH", "")
    found = dict.fromkeys(_candidates(home, path, os.path.realpath(workspace)))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        versions = list(pool.map(lambda one: _version(one[0], one[1], _stamp(one[1])), found))
    known: dict[tuple[str, str], InstalledRuntime] = {}
    for (name, program), version in zip(found, versions, strict=True):
        if version:
            known.setdefault(
                (name, version), InstalledRuntime(name=name, version=version, directory=os.path.dirname(program))
            )
    return list(known.values())[:MAX_RUNTIMES]


def _candidates(home: str, path: str, workspace: str) -> Iterator[tuple[str, str]]:
    """(runtime, program), those on the search path first."""
    on_path = [entry for entry in path.split(os.pathsep) if entry.startswith("/") and not _SHIMS.search(entry)]
    for name, programs in PROGRAMS.items():
        places = [*on_path, *_expanded(_HOMES.get(name, ()), home)]
        for directory in dict.fromkeys(places):
            if (
                os.path.realpath(directory).startswith((workspace + os.sep,))
                or os.path.realpath(directory) == workspace
            ):
                continue
            program = next((os.path.join(directory, one) for one in programs if _is_program(directory, one)), None)
            if program is not None:
                yield name, program


def _expanded(globs: tuple[str, ...], home: str) -> Iterator[str]:
    for glob in globs:
        if glob.startswith("~/") and not home.startswith("/"):
            continue
        pattern = home + glob[1:] if glob.startswith("~") else glob
        yield from sorted(map(str, Path("/").glob(pattern.lstrip("/"))))


def _is_program(directory: str, name: str) -> bool:
    return os.access(os.path.join(directory, name), os.X_OK) and os.path.isfile(os.path.join(directory, name))


def _stamp(program: str) -> int:
    """Changes with the program, so that its version is asked once."""
    try:
        return os.stat(program).st_mtime_ns
    except OSError:
        return 0


@functools.lru_cache(maxsize=500)
def _version(name: str, program: str, stamp: int) -> str:
    """What the program says its version is; empty if it does not. ``stamp`` is there for the cache."""
    try:
        done = subprocess.run(
            [program, *_ASK.get(name, ("--version",))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env={"PATH": f"{os.path.dirname(program)}:/usr/bin:/bin", "HOME": "/nonexistent", "LC_ALL": "C"},
            timeout=VERSION_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    text = done.stdout[:MAX_VERSION_BYTES].decode("utf-8", "replace")
    match = _VERSION.search(text) if done.returncode == 0 else None
    return match.group() if match else ""
