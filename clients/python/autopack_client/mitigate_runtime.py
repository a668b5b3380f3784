"""Switching to another runtime that is installed already. Used by the applier alone."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from autopack_api.hardening.v1.hardening_pb2 import InstalledRuntime, SwitchRuntime
from autopack_kit.commands import Command

from autopack_client.mitigate_git import inside, read_inside
from autopack_client.runtimes import program_of

__all__ = ["SWITCHED", "RuntimeSwitch", "carried", "environment_of"]

SWITCHED = ("PATH", "VIRTUAL_ENV", "UV_PYTHON", "JAVA_HOME")
"""The variables by which a command finds its runtime."""

_HIDDEN = "# Made by Autopack for another Python; it may be removed.\n*\n"
_VERSION = re.compile(r"\d{1,4}(\.\d{1,6}){0,3}", re.ASCII)


class RuntimeSwitch:
    """Checks, in one workspace, which runtimes may be used, and says how a command is made to use one."""

    def __init__(self, workspace: Path, runtimes: Sequence[InstalledRuntime], search_path: str) -> None:
        self._workspace = workspace
        self._known = {(one.name, one.version, one.directory) for one in runtimes}
        self._search_path = search_path

    def check(self, switch: SwitchRuntime) -> Iterator[str]:
        """Why the switch is refused."""
        words = f"{switch.name} {switch.version}"
        if (switch.name, switch.version, switch.directory) not in self._known:
            yield f"{words} in {switch.directory!r} is not one of the runtimes that are known to be installed here"
            return
        directory = Path(switch.directory)
        if not directory.is_absolute() or ":" in switch.directory:
            yield f"{switch.directory!r} is no absolute directory"
        elif directory.resolve().is_relative_to(self._workspace.resolve()):
            yield f"{switch.directory} is in the workspace, where anybody may have put it"
        elif program_of(switch.name, switch.version, switch.directory) is None:
            yield f"{words} is not in {switch.directory} any more"
        if not _VERSION.fullmatch(switch.version):
            yield f"{switch.version!r} is no version"
        if switch.name == "python" and not self._is_usable(switch):
            yield f"{environment_of(switch)} is there, and is no virtual environment that was made for this"

    def prepare(self, switch: SwitchRuntime) -> Command | None:
        """What must run first: Python gets a virtual environment of its own, so that nothing is installed into the
        machine's; None = nothing."""
        if switch.name != "python" or (self._workspace / environment_of(switch)).exists():
            return None
        program = program_of(switch.name, switch.version, switch.directory)
        assert program is not None  # checked
        return Command.of(program, "-m", "venv", environment_of(switch))

    def hide(self, switch: SwitchRuntime) -> None:
        """Keeps the environment that :meth:`prepare` has made out of every commit, and marks it as complete."""
        ignored = self._workspace / environment_of(switch) / ".gitignore"
        # A new file in place of what is there (Python 3.13 writes one): nothing is written through a link.
        ignored.unlink(missing_ok=True)
        with open(os.open(ignored, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644), "w") as file:
            file.write(_HIDDEN)

    def switched(self, switch: SwitchRuntime, command: Command) -> Command:
        """``command`` with the variables by which it finds the runtime."""
        first, more = switch.directory, dict[str, str]()
        if switch.name == "python":
            own = self._workspace / environment_of(switch)
            first = str(own / "bin")
            more = {"VIRTUAL_ENV": str(own), "UV_PYTHON": str(own / "bin" / "python")}
        elif switch.name == "java":
            more = {"JAVA_HOME": str(Path(switch.directory).parent)}
        path = _before_its_like(first, switch.name, command.env.get("PATH", self._search_path))
        return replace(command, env=MappingProxyType({**command.env, **more, "PATH": path}))

    def _is_usable(self, switch: SwitchRuntime) -> bool:
        """Whether the environment is absent, or was made by :meth:`prepare` to its end."""
        place = inside(self._workspace, environment_of(switch))
        if place is None or not os.path.lexists(place):
            return place is not None
        parts = [place, place / "bin", place / "pyvenv.cfg", place / ".gitignore"]
        if any(part.is_symlink() for part in parts):
            return False
        marked = read_inside(self._workspace, f"{environment_of(switch)}/.gitignore", len(_HIDDEN)) == _HIDDEN.encode()
        return marked and (place / "pyvenv.cfg").is_file() and (place / "bin/python").is_file()


def _before_its_like(directory: str, name: str, path: str) -> str:
    """``path`` with ``directory`` just before the first that has such a program: what stands before it stays first.

    ``/usr/bin`` has a Node, and also a Python that must not stand in for the project's own.
    """
    entries = [entry for entry in path.split(os.pathsep) if entry]
    like = (number for number, one in enumerate(entries) if program_of(name, "", one) is not None)
    # Python's own environment comes first: no other directory's pip may install into another one's.
    at = 0 if name == "python" else next(like, 0)
    return os.pathsep.join([*entries[:at], directory, *entries[at:]])


def carried(failed: Command, command: Command) -> Command:
    """``command`` with the runtime that ``failed`` has been switched to: what it installs is then found there."""
    switched = {name: failed.env[name] for name in SWITCHED if name in failed.env}
    if not switched:
        return command
    return replace(command, env=MappingProxyType({**switched, **command.env}))


def environment_of(switch: SwitchRuntime) -> str:
    """The virtual environment of a Python that is switched to, relative to the workspace."""
    return f".autopack-python-{switch.version}"
