"""The home directory in the sandbox: a private one, in which the real one appears read-only, without its secrets.

A read-only home breaks agents (they write their sessions) and package managers (they write caches); a writable one lets
a command plant what its user will later run outside: a hook of an agent, a line of a shell's profile, a package in a
cache. So each run has its own.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path, PurePosixPath

from autopack_orchestrator.adapters.trees import delete_tree

__all__ = ["HomeRules", "Mount", "clear_way", "discard", "home_rules", "prepare_home"]

MAX_ENTRIES = 2000  # each is one mount; of a home with more, only what begins with a dot is shown
MAX_COPY_BYTES = 1 << 20  # settings and logins; histories are larger and of no use to a run
MAX_COPIES = 100

Mount = tuple[str, str, str]
"""An option of bubblewrap, the path on the host, and the path in the sandbox."""


@dataclass(frozen=True, slots=True)
class HomeRules:
    """What happens to which paths, relative to the home directory; see ``data/sandbox.toml``."""

    hidden: frozenset[str] = frozenset()
    caches: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    state: tuple[str, ...] = ()
    credentials: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()

    def special(self) -> frozenset[str]:
        """Every path that is not simply shown."""
        return self.hidden.union(self.caches, self.state, self.writable)


@cache
def home_rules() -> HomeRules:
    """The rules that Autopack comes with."""
    text = (resources.files("autopack_orchestrator") / "data" / "sandbox.toml").read_text()
    rules = tomllib.loads(text)
    return HomeRules(
        frozenset(rules["hidden"]),
        *(tuple(rules[name]) for name in ("caches", "shown", "state", "credentials")),
    )


def prepare_home(home: Path, private: Path, caches: Path, rules: HomeRules) -> list[Mount]:
    """Make the private home directory ``private`` if there is none yet; returns how it is put together. Blocks.

    Args:
        home: the real one.
        private: of this run.
        caches: directory of the tenant's caches.
        rules: what happens to what.
    """
    first = not private.exists()
    private.mkdir(mode=0o700, parents=True, exist_ok=True)
    special = rules.special()
    above = frozenset(str(parent) for path in special for parent in PurePosixPath(path).parents)
    mounts: list[Mount] = [("--bind", str(private), str(home))]
    entries = _entries(home, "", special, above)
    if len(entries) > MAX_ENTRIES:
        entries = [name for name in entries if name.startswith(".")][:MAX_ENTRIES]
    for name in entries:
        if not (home / name).is_symlink():
            mounts.append(("--ro-bind-try", str(home / name), str(home / name)))
        elif first:
            (private / name).parent.mkdir(parents=True, exist_ok=True)
            (private / name).symlink_to(os.readlink(home / name))
    for name in rules.caches:
        if name not in rules.writable:
            (caches / name).mkdir(mode=0o700, parents=True, exist_ok=True)
            mounts.append(("--bind", str(caches / name), str(home / name)))
    with contextlib.suppress(FileNotFoundError):
        os.utime(caches)  # they are in use: what nobody has used for long is removed
    mounts += [("--ro-bind", str(home / name), str(home / name)) for name in rules.shown if (home / name).is_dir()]
    if first:
        for name in rules.state:
            _copy(home / name, private / name)
    real = [name for name in rules.credentials if (home / name).is_file()]
    real += [name for name in rules.writable if (home / name).exists()]
    mounts += [("--bind", str(home / name), str(home / name)) for name in real]
    for way in {PurePosixPath(place).relative_to(home) for *_, place in mounts}:
        clear_way(private, way)
        clear_way(caches, way)
    return mounts


def clear_way(directory: Path, name: PurePosixPath) -> None:
    """Delete a link at, or on the way to, a place below a run's ``directory`` where something will be mounted.

    An earlier command of the run may have made it; bubblewrap follows it while the whole host is still in its reach,
    and makes an empty file or directory where it leads.
    """
    for part in (*reversed(name.parents), name):
        if (directory / part).is_symlink():
            (directory / part).unlink(missing_ok=True)


def _entries(home: Path, prefix: str, special: frozenset[str], above: frozenset[str]) -> list[str]:
    """What is shown as it is: the directories above special paths are gone into."""
    found: list[str] = []
    try:
        names = sorted(os.listdir(home / prefix))
    except OSError:  # not readable for us, so not for the run
        return found
    for name in names:
        path = f"{prefix}/{name}" if prefix else name
        if path in special:
            continue
        try:
            mode = (home / path).lstat().st_mode
        except FileNotFoundError:  # programs of the user write there meanwhile
            continue
        if path in above and (home / path).is_dir():  # also one that is a link
            found += _entries(home, path, special, above)
        elif stat.S_ISDIR(mode) or stat.S_ISREG(mode) or stat.S_ISLNK(mode):  # no sockets, pipes and devices
            found.append(path)
    return found


def _copy(source: Path, target: Path) -> None:
    """A small file, or the small files directly in a directory."""
    found: Iterable[Path] = [source]
    if source.is_dir() and not source.is_symlink():
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            found = sorted(source.iterdir())[: 10 * MAX_COPIES]
        except PermissionError:  # not readable for us, so not for the run
            return
    copied = 0
    for path in found:
        to = target if path == source else target / path.name
        with contextlib.suppress(FileNotFoundError, PermissionError):  # gone meanwhile, or not for us to read
            if copied < MAX_COPIES and path.is_file() and path.stat().st_size <= MAX_COPY_BYTES:
                to.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                shutil.copy2(path, to)
                copied += 1


def discard(path: Path) -> None:
    """Remove a directory of a run. Blocks. Never fails: a rest is harmless."""
    with contextlib.suppress(OSError):
        delete_tree(path)
