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

from autopack_client.mitigate_git import inside
from autopack_client.runtimes import PROGRAMS

__all__ = ["SWITCHED", "RuntimeSwitch", "carried"]

SWITCHED = ("PATH", "VIRTUAL_ENV", "UV_PYTHON", "JAVA_HOME")
"""The variables by which a command finds its runtime."""

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
        elif self._program(switch) is None:
            yield f"{words} is not in {switch.directory} any more"
        if not _VERSION.fullmatch(switch.version):
            yield f"{switch.version!r} is no version"
        if switch.name == "python":
            place = inside(self._workspace, _environment(switch))
            if place is None or place.is_symlink() or (os.path.lexists(place) and not place.is_dir()):
                yield f"{_environment(switch)} is there and no virtual environment"

    def prepare(self, switch: SwitchRuntime) -> Command | None:
        """What must run first: Python gets a virtual environment of its own, so that nothing is installed into the
        machine's; None = nothing."""
        place = self._workspace / _environment(switch)
        if switch.name != "python" or (place / "bin" / "python").exists():
            return None
        return Command.of(str(self._program(switch)), "-m", "venv", _environment(switch))

    def hide(self, switch: SwitchRuntime) -> None:
        """Keeps the new environment out of every commit."""
        place = self._workspace / _environment(switch)
        if switch.name == "python" and place.is_dir():
            (place / ".gitignore").write_text("*\n")

    def switched(self, switch: SwitchRuntime, command: Command) -> Command:
        """``command`` with the variables by which it finds the runtime."""
        first, more = switch.directory, dict[str, str]()
        if switch.name == "python":
            own = self._workspace / _environment(switch)
            first = str(own / "bin")
            more = {"VIRTUAL_ENV": str(own), "UV_PYTHON": str(own / "bin" / "python")}
        elif switch.name == "java":
            more = {"JAVA_HOME": str(Path(switch.directory).parent)}
        rest = command.env.get("PATH", self._search_path)
        env = {**command.env, **more, "PATH": f"{first}{os.pathsep}{rest}" if rest else first}
        return replace(command, env=MappingProxyType(env))

    def _program(self, switch: SwitchRuntime) -> Path | None:
        programs = (Path(switch.directory) / name for name in PROGRAMS.get(switch.name, ()))
        return next((program for program in programs if os.access(program, os.X_OK)), None)


def carried(failed: Command, command: Command) -> Command:
    """``command`` with the runtime that ``failed`` has been switched to: what it installs is then found there."""
    switched = {name: failed.env[name] for name in SWITCHED if name in failed.env}
    if not switched:
        return command
    return replace(command, env=MappingProxyType({**switched, **command.env}))


def _environment(switch: SwitchRuntime) -> str:
    return f".autopack-python-{switch.version}"
