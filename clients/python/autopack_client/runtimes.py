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
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from autopack_api.hardening.v1.hardening_pb2 import InstalledRuntime

__all__ = ["PROGRAMS", "installed_runtimes", "program_of"]

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
# What follows the number tells a version that its makers have not released: a compiler of tonight is nobody's fix.
_VERSION = re.compile(
    r"(\d{1,4}\.\d{1,6}(?:\.\d{1,6}){0,2}|(?<=version \")\d{1,4})"
    r"([-+.~]?(?:alpha|beta|a|b|c|rc|dev|nightly|canary|pre|preview|test|ea|internal)(?![a-z]))?",
    re.ASCII | re.IGNORECASE,
)
_SHIMS = re.compile(r"/shims$")
# Deadsnakes and Debian put several Pythons into one directory, told apart by their names.
_NUMBERED = re.compile(r"python3\.\d{1,2}", re.ASCII)

# Where each version manager keeps what it installed: the variable that says so, the default, and below it the
# directories of programs by runtime. From the documentation of each; "~" is the home.
_DATA = "${XDG_DATA_HOME:-~/.local/share}"
_MANAGERS: Sequence[tuple[str, tuple[str, ...], Mapping[str, tuple[str, ...]]]] = (
    ("PYENV_ROOT", ("~/.pyenv",), {"python": ("versions/*/bin",)}),
    ("UV_PYTHON_INSTALL_DIR", (f"{_DATA}/uv/python",), {"python": ("*/bin",)}),
    ("NVM_DIR", ("~/.nvm", "${XDG_CONFIG_HOME:-~/.config}/nvm"), {"node": ("versions/node/*/bin",)}),
    ("FNM_DIR", (f"{_DATA}/fnm", "~/.fnm"), {"node": ("node-versions/*/installation/bin",)}),
    ("VOLTA_HOME", ("~/.volta",), {"node": ("tools/image/node/*/bin",)}),
    ("N_PREFIX", ("/usr/local",), {"node": ("n/versions/node/*/bin",)}),
    ("NODENV_ROOT", ("~/.nodenv",), {"node": ("versions/*/bin",)}),
    ("PNPM_HOME", (f"{_DATA}/pnpm",), {"node": ("nodejs/*/bin",)}),
    ("SDKMAN_DIR", ("~/.sdkman",), {"java": ("candidates/java/*/bin",)}),
    ("RUSTUP_HOME", ("~/.rustup",), {"rust": ("toolchains/*/bin",)}),
    ("GOENV_ROOT", ("~/.goenv",), {"go": ("versions/*/bin",)}),
    ("GOPATH", ("~/go",), {"go": ("pkg/mod/golang.org/toolchain@*/bin",)}),
    ("RBENV_ROOT", ("~/.rbenv",), {"ruby": ("versions/*/bin",)}),
    (
        "MISE_DATA_DIR", (f"{_DATA}/mise",),
        {name: (f"installs/{name}/*/bin",) for name in ("python", "node", "java", "go", "ruby", "cmake", "php")},
    ),
    (
        "ASDF_DATA_DIR", ("~/.asdf",),
        {
            "python": ("installs/python/*/bin",), "node": ("installs/nodejs/*/bin",), "java": ("installs/java/*/bin",),
            "go": ("installs/golang/*/go/bin",), "rust": ("installs/rust/*/bin",), "ruby": ("installs/ruby/*/bin",),
            "cmake": ("installs/cmake/*/bin",), "php": ("installs/php/*/bin",),
        },
    ),
    (
        "RUNNER_TOOL_CACHE", ("/opt/hostedtoolcache",),
        {
            "python": ("Python/*/*/bin",), "node": ("node/*/*/bin",), "go": ("go/*/*/bin",),
            "java": ("Java_*/*/*/bin",), "ruby": ("Ruby/*/*/bin",),
        },
    ),
)  # fmt: skip
_PLACES: Mapping[str, tuple[str, ...]] = {
    "python": ("/opt/python/*/bin", f"{_DATA}/hatch/pythons/*/python/bin", f"{_DATA}/pdm/python/*/bin"),
    "java": ("~/.jdks/*/bin", "~/.gradle/jdks/*/bin", "/usr/lib/jvm/*/bin", "/opt/java/*/bin"),
    "go": ("~/sdk/go*/bin", "~/.gvm/gos/*/bin", "/usr/local/go/bin", "/usr/lib/go-*/bin"),
    "ruby": ("~/.rvm/rubies/*/bin", "~/.rubies/*/bin", "/opt/rubies/*/bin"),
}
"""Where distributions, installers and tools put theirs, which no variable moves."""


def installed_runtimes(environment: Mapping[str, str], workspace: Path) -> list[InstalledRuntime]:
    """The released runtimes that the owner of ``environment`` can start, each once; none that stands in ``workspace``.

    Those on the search path come first, in its order.
    """
    found = dict.fromkeys(_candidates(environment, os.path.realpath(workspace)))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        versions = list(pool.map(lambda one: _version(one[0], one[1], _stamp(one[1])), found))
    known: dict[tuple[str, str], InstalledRuntime] = {}
    for (name, program), version in zip(found, versions, strict=True):
        if version and not (name == "python" and version.startswith("2.")):  # it makes no virtual environments
            known.setdefault(
                (name, version), InstalledRuntime(name=name, version=version, directory=os.path.dirname(program))
            )
    return list(known.values())[:MAX_RUNTIMES]


def program_of(name: str, version: str, directory: str) -> str | None:
    """The program of a runtime in its directory: ``python3.12`` where that is there; None if there is none."""
    numbered = ["python" + ".".join(version.split(".")[:2])] if name == "python" else []
    names = (*numbered, *PROGRAMS.get(name, ()))
    return next((os.path.join(directory, one) for one in names if _is_program(directory, one)), None)


def _candidates(environment: Mapping[str, str], workspace: str) -> Iterator[tuple[str, str]]:
    """(runtime, program), those on the search path first."""
    path = environment.get("PATH", "").split(os.pathsep)
    on_path = [entry for entry in path if entry.startswith("/") and not _SHIMS.search(entry)]
    for name in PROGRAMS:
        places = [*on_path, *map(os.path.realpath, _installed(name, environment))]
        for directory in dict.fromkeys(places):
            for program in _programs(name, directory):
                if not _is_below(program, workspace):
                    yield name, program


def _programs(name: str, directory: str) -> Iterator[str]:
    program = next((os.path.join(directory, one) for one in PROGRAMS[name] if _is_program(directory, one)), None)
    if program is not None and name == "java":
        # It finds its own home so; /usr/bin on the search path is one link, and no home.
        program = os.path.realpath(program)
    if program is not None:
        yield program
    if name == "python":
        with suppress(OSError):
            numbered = [one.name for one in os.scandir(directory) if _NUMBERED.fullmatch(one.name)]
            yield from (os.path.join(directory, one) for one in sorted(numbered) if _is_program(directory, one))


def _is_below(program: str, workspace: str) -> bool:
    """Whether the program or what it leads to stands in the workspace, where anybody may have put it."""
    places = (os.path.join(os.path.realpath(os.path.dirname(program)), ""), os.path.realpath(program))
    return any(place.startswith(os.path.join(workspace, "")) for place in places)


def _installed(name: str, environment: Mapping[str, str]) -> Iterator[str]:
    """The directories of a runtime's programs that version managers and distributions have made."""
    for variable, defaults, directories in _MANAGERS:
        roots = (environment[variable],) if environment.get(variable) else defaults
        for root in roots:
            for glob in directories.get(name, ()):
                yield from _expanded(f"{root}/{glob}", environment)
    for glob in _PLACES.get(name, ()):
        yield from _expanded(glob, environment)


def _expanded(glob: str, environment: Mapping[str, str]) -> Iterator[str]:
    """The directories that fit, sorted; a default behind a variable stands as a shell would write it."""
    match = re.match(r"\$\{(\w+):-([^}]*)\}", glob)
    if match is not None:
        glob = (environment.get(match[1]) or match[2]) + glob[match.end() :]
    if glob.startswith("~/"):
        glob = environment.get("HOME", "") + glob[1:]
    if glob.startswith("/"):
        with suppress(OSError, ValueError):
            yield from sorted(map(str, Path("/").glob(glob.lstrip("/"))))


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
    return match[1] if match and not match[2] else ""
