"""What a command in the sandbox sees, as words for bubblewrap. Later mounts cover earlier ones, so the order counts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .home import Mount, clear_way
from .probe import Sandbox

__all__ = ["GitView", "View", "words"]

#: Below /run live the sockets of everything that serves this machine: containers, the bus, databases, keys of the user.
#: What is needed of it are names and addresses.
RUN_SHOWN = (
    "/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager/resolv.conf", "/run/connman", "/run/nscd",
    "/run/current-system", "/run/wrappers", "/run/opengl-driver", "/run/host",
)  # fmt: skip

READ_REFS = ("remotes", "tags", "autopack")
LINKS = ("commondir", "gitdir", "locked")  # of a worktree: where git looks for the rest, also outside of the sandbox
MAX_COPY_BYTES = 64 << 20  # packed references of a repository with a million of them


@dataclass(frozen=True, slots=True)
class GitView:
    """The git data of one worktree: enough to commit on its branch, not enough to change what git does for others.

    What the mirror holds beside objects and references (its configuration above all) is a copy for the run: a branch, a
    stash or a setting that a command makes is there for the run alone, and gone with it.

    Attributes:
        repository: the mirror.
        git_dir: of the worktree.
        branch: of the worktree, without ``refs/heads/``.
        private: where the run's copy is.
    """

    repository: Path
    git_dir: Path
    branch: str
    private: Path

    def mounts(self) -> Iterator[Mount]:
        """Makes the copy if there is none yet. Blocks."""
        if not self.private.exists():
            self._copy()
        place = self.repository.resolve()
        heads = (place / "refs" / "heads" / self.branch).parent
        for path in (place / "objects", heads, self.git_dir.resolve(), *(place / "refs" / name for name in READ_REFS)):
            clear_way(self.private, PurePosixPath(path.relative_to(place)))
        yield ("--bind", str(self.private.resolve()), str(place))
        yield _bound(place / "objects")
        # Packs are hard links to those of the user's repository, and what lies in info could name other repositories.
        yield from (_shown(path) for name in ("pack", "info") if (path := place / "objects" / name).is_dir())
        yield from (_shown(path) for name in READ_REFS if (path := place / "refs" / name).is_dir())
        heads.mkdir(parents=True, exist_ok=True)  # nothing is there once git has packed its references
        yield _bound(heads)
        yield _bound(self.git_dir)
        yield from (_shown(path) for name in LINKS if (path := self.git_dir / name).exists())

    def _copy(self) -> None:
        new = self.private.with_name(f"{self.private.name}.new")
        for name in ("refs/heads", "refs/tags", "objects", "info"):
            (new / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        files = [path for path in self.repository.iterdir() if path.is_file()]
        for path in (*files, self.repository / "info" / "exclude"):
            if path.is_file() and path.stat().st_size <= MAX_COPY_BYTES:
                shutil.copy2(path, new / path.relative_to(self.repository))
        new.rename(self.private)


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
