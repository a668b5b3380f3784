"""What a command in the sandbox sees, as words for bubblewrap. Later mounts cover earlier ones, so the order counts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .home import Mount
from .probe import Sandbox

__all__ = ["GitView", "View", "words"]

#: Below /run live the sockets of everything that serves this machine: containers, the bus, databases, keys of the user.
#: What is needed of it are names and addresses.
RUN_SHOWN = (
    "/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager/resolv.conf", "/run/connman", "/run/nscd",
    "/run/current-system", "/run/wrappers", "/run/opengl-driver", "/run/host",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class GitView:
    """The git data of one worktree: enough to commit on its branch, not enough to change what git runs for others.

    Attributes:
        repository: the mirror, read-only but for new objects and the branches of the batch.
        git_dir: of the worktree.
        branch: of the worktree, without ``refs/heads/``.
    """

    repository: Path
    git_dir: Path
    branch: str

    def mounts(self) -> Iterator[Mount]:
        """Blocks for a moment: looks at what exists."""
        heads = [(self.repository / above / "refs/heads" / self.branch).parent for above in (".", "logs")]
        for path in heads:
            path.mkdir(parents=True, exist_ok=True)  # nothing is there once git has packed its references
        yield _shown(self.repository)
        yield _bound(self.repository / "objects")
        # Packs are hard links to those of the user's repository, and what lies in info could name other repositories.
        for name in ("pack", "info"):
            if (self.repository / "objects" / name).is_dir():
                yield _shown(self.repository / "objects" / name)
        yield from map(_bound, heads)
        yield _bound(self.git_dir)
        for name in ("commondir", "gitdir", "locked"):
            if (self.git_dir / name).exists():
                yield _shown(self.git_dir / name)


@dataclass(frozen=True, slots=True)
class View:
    """What a command sees.

    Attributes:
        workspace: its worktree, writable.
        temporary: directory on disk that stands for ``/tmp``.
        home: how its home directory is put together; see :mod:`.home`.
        hidden: directories and files of the host that look empty.
        readable: files and directories below hidden ones that it may read.
        git: the git data of the worktree.
        network: whether it reaches the network.
    """

    workspace: Path
    temporary: Path
    home: tuple[Mount, ...]
    hidden: tuple[Path, ...]
    readable: tuple[Path, ...]
    git: GitView | None
    network: bool = True


def words(sandbox: Sandbox, view: View, cwd: Path) -> tuple[str, ...]:
    """The command line of bubblewrap up to its ``--``. Blocks for a moment: looks at what exists."""
    found = [sandbox.program, *sandbox.options]
    if not view.network:
        found.append("--unshare-net")
    found += ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    if os.path.isdir("/run"):
        found += ["--tmpfs", "/run"]
        for path in RUN_SHOWN:
            found += ["--ro-bind-try", path, path]
    found += ["--bind", str(view.temporary.resolve()), "/tmp"]  # noqa: S108  # where it is mounted
    if os.path.isdir("/var/tmp"):  # noqa: S108
        found += ["--tmpfs", "/var/tmp"]  # noqa: S108
    for mount in (*view.home, *_mounts(view)):
        found += mount
    return (*found, "--chdir", str(cwd))


def _mounts(view: View) -> Iterator[tuple[str, ...]]:
    for path in view.hidden:
        yield from _hide(path)
    if view.git is not None:
        yield from view.git.mounts()
    yield _bound(view.workspace)
    for path in view.readable:
        if path.exists():
            yield _shown(path)


def _hide(path: Path) -> Iterator[tuple[str, ...]]:
    """Cover what a path leads to: bubblewrap cannot mount on a symbolic link."""
    place = path.resolve()
    if place.is_dir():
        yield ("--tmpfs", str(place))
    elif place.exists():
        yield ("--ro-bind", "/dev/null", str(place))


def _shown(path: Path) -> Mount:
    place = str(path.resolve())
    return ("--ro-bind", place, place)


def _bound(path: Path) -> Mount:
    place = str(path.resolve())
    return ("--bind", place, place)
