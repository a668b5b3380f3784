"""What this host offers to run commands with, and what of it commands must not see: found out once, at the start."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from autopack_orchestrator.adapters import cgroups
from autopack_orchestrator.adapters.cgroups import Cgroups
from autopack_orchestrator.adapters.sandbox import HomeRules, Sandbox, home_rules, probe
from autopack_orchestrator.core.isolation import SandboxMode

__all__ = ["Host", "look", "programs"]

#: Directories that are never hidden as a whole, whatever lies in them: nothing would run without them, or they are
#: replaced anyway.
_SHARED = frozenset(map(Path, ("/", "/etc", "/home", "/opt", "/root", "/run", "/tmp", "/usr", "/var")))  # noqa: S108


#: What the sandbox puts something else in the place of. Programs that lie there would be gone.
_REPLACED = tuple(map(Path, ("/tmp", "/var/tmp", "/run")))  # noqa: S108


@dataclass(frozen=True, slots=True)
class Host:
    """What was found out.

    Attributes:
        mode: what a batch gets that does not say.
        rules: of home directories.
        home: the user's home directory; None if there is none.
        hidden: what looks empty in the sandbox.
        shown: what of it may be seen: the directories of sockets that need a token, and programs.
    """

    sandbox: Sandbox
    cgroups: Cgroups
    mode: SandboxMode = SandboxMode.AUTO
    rules: HomeRules = field(default_factory=HomeRules)
    home: Path | None = None
    hidden: tuple[Path, ...] = ()
    shown: tuple[Path, ...] = ()


def programs(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Where the programs lie that commands call: on the ``PATH``, our own interpreter, and our own code."""
    ours = [
        Path(module.__file__).parents[1]
        for name, module in sorted(sys.modules.items())
        if name.startswith("autopack_") and "." not in name and module.__file__
    ]
    return (Path(sys.prefix), Path(sys.base_prefix), *map(Path, os.get_exec_path(environ)), *ours)


def look(
    *,
    mode: SandboxMode,
    home: str,
    secrets: tuple[Path, ...],
    sockets: tuple[Path, ...],
    programs: tuple[Path, ...] = (),
    hidden: tuple[str, ...] = (),
    writable: tuple[str, ...] = (),
) -> Host:
    """Find out what works here. Blocks, a second at most where all is well.

    Args:
        mode: what a batch gets that does not say.
        home: the user's home directory, as the environment names it.
        secrets: files and directories of ours.
        sockets: at which services answer without a token.
        programs: directories of programs that commands call, such as those of the ``PATH``.
        hidden: further paths that commands must not see, absolute or relative to the home directory.
        writable: paths of the home directory that commands may write for good.
    """
    place = Path(home).resolve() if home.startswith("/") else None
    if place is not None and (not place.is_dir() or place == Path("/")):
        place = None
    relative, absolute = _split(hidden, place)
    rules = home_rules()
    rules = replace(rules, hidden=rules.hidden - set(writable) | relative, writable=tuple(writable))
    covered = [path for path in secrets if not _needed(path.resolve(), place)] + absolute
    for path in sockets:
        directory = path.parent.resolve()
        covered.append(path if _needed(directory, place) else directory)
    if place is not None:
        covered += [place / name for name in sorted(rules.hidden) if _leads_elsewhere(place, name)]
    return Host(
        sandbox=probe(),
        cgroups=cgroups.probe(),
        mode=mode,
        rules=rules,
        home=place,
        hidden=_outermost(covered),
        shown=tuple(dict.fromkeys((*(path.parent / "runs" for path in sockets), *filter(_is_replaced, programs)))),
    )


def _is_replaced(directory: Path) -> bool:
    """Whether a directory is gone in the sandbox unless it is shown: one of its own below a replaced one."""
    place = directory.resolve()
    inside = any(place.is_relative_to(above) and place != above for above in _REPLACED)
    return inside and directory.is_absolute() and place.is_dir()  # an empty word of the PATH is no directory


def _needed(directory: Path, home: Path | None) -> bool:
    """Whether a directory holds so much else that it cannot be hidden as a whole."""
    return directory in _SHARED or (home is not None and home.is_relative_to(directory))


def _split(hidden: tuple[str, ...], home: Path | None) -> tuple[frozenset[str], list[Path]]:
    """Paths relative to the home directory, and those elsewhere."""
    relative, absolute = set[str](), list[Path]()
    for text in hidden:
        path = Path(text.removeprefix("~/"))
        if path.is_absolute() and (home is None or not path.is_relative_to(home)):
            absolute.append(path)
        elif home is not None:
            relative.add(str(path.relative_to(home)) if path.is_absolute() else str(path))
    return frozenset(relative), absolute


def _outermost(paths: list[Path]) -> tuple[Path, ...]:
    """Without what lies in another of them."""
    places = dict.fromkeys(path.resolve() for path in paths)
    return tuple(path for path in places if not any(other in places for other in path.parents))


def _leads_elsewhere(home: Path, name: str) -> bool:
    """A symbolic link, in it or on the way to it, to what could be seen at its own place."""
    path = home / name
    return path.exists() and path.resolve() != path
