"""What facts and the applier ask git: what stood at the base commit, what has changed, and bringing files back.

Every command is an argument vector with a deadline, reads no more than it may, takes no optional lock, runs no hook and
no file system monitor, and asks nobody for a password. Blocking: from asyncio, call it in a thread.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from pathlib import Path

from autopack_kit.errors import FailedPrecondition, Unavailable

__all__ = ["Git", "inside", "read_inside"]

GIT_TIMEOUT_S = 60.0
"""Seconds for one command; status of a tree of 100,000 files takes a few."""
MAX_STATUS_BYTES = 32 << 20
"""Bytes of a listing: 50,000 paths with room to spare."""

MAX_NAMED = 200
"""Paths in one command line."""
MAX_CONFIG_BYTES = 1 << 20
"""Bytes of the names of filters; a repository has a handful."""

_FILTERS = r"^filter\..*\.(clean|smudge|process|required)$"
_NO_FILTERS = frozenset({"rev-parse", "cat-file"})
"""Commands that run no filter. All others may: whoever writes an index reads again the files it is not sure of."""
_SAFE = (
    "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "submodule.recurse=false",
    "-c", "core.alternateRefsCommand=true", "--no-optional-locks", "--literal-pathspecs",
)  # fmt: skip
_NOT_INTO = "--ignore-submodules=dirty"
"""To say whether a nested repository is dirty, git starts another git in it, and that one runs what its configuration
names, whatever is said here. Which commit it is at, git reads by itself."""
_SETTINGS = (".yml", ".yaml", ".toml", ".cfg", ".ini", ".txt", ".in", ".json", ".sh", ".bash", ".mk", ".lock")
_GITLINK = b"160000 "


class Git:
    """Git in one work tree.

    Attributes:
        workspace: a directory in a work tree, its root or below.
    """

    def __init__(self, workspace: Path, *, trusted: bool = False, git_dir: Path | None = None) -> None:
        """Args:
        workspace: a directory in a work tree, its root or below; with ``git_dir`` its root.
        git_dir: a git directory that no agent writes, with ``HEAD`` and index of this work tree, to use instead of what
            the ``.git`` in it names.
        trusted: the repository's own configuration is the user's. Else an agent may have written it, and the filter
            programs that it names (``filter.<name>.clean``) never run; those of the user's own configuration do.
        """
        self.workspace = workspace
        self._trusted = trusted
        self._place: dict[str, str] = {}
        if git_dir is not None:
            self._place = {"GIT_DIR": os.fspath(git_dir), "GIT_WORK_TREE": os.fspath(workspace)}

    def is_work_tree(self) -> bool:
        """Whether the workspace is in a work tree, and git is there to say so."""
        if shutil.which("git") is None:
            return False
        result = self._run(["rev-parse", "--is-inside-work-tree"], 100)
        return result is not None and result.strip() == b"true"

    def commit(self, ref: str) -> str | None:
        """The full id of the commit that ``ref`` names; None if there is none, or no git."""
        if not self.is_work_tree():
            return None
        result = self._run(["rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}"], 200)
        return result.decode().strip() if result else None

    def read(self, commit: str, path: str, limit: int) -> bytes | None:
        """The file at ``path`` (from the workspace) in ``commit``; None if it is absent or over ``limit`` bytes."""
        return self._run(["cat-file", "blob", f"{commit}:./{path}"], limit)

    def listed(self, commit: str, paths: Sequence[str]) -> dict[str, str]:
        """Those of ``paths`` (relative to the workspace) that are files of ``commit``, each with its blob's id."""
        if not paths:
            return {}
        found = {}
        for field in self._must(["ls-tree", "-r", "-z", commit, "--", *paths]).split(b"\0"):
            about, _, path = field.partition(b"\t")
            if about:
                found[os.fsdecode(path)] = about.split(b" ")[2].decode()
        return found

    def mentions(self, commit: str, word: str) -> bool:
        """Whether a file of ``commit`` that can hold commands or settings has the word, on its own between blanks,
        quotes or brackets; code and prose do not count."""
        arguments = ["grep", "--name-only", "-z", "-I", "--fixed-strings", "--no-textconv", "-w", "-e", word, commit]
        listed = self._run(arguments, MAX_STATUS_BYTES) or b""
        names = (os.path.basename(os.fsdecode(field).partition(":")[2]) for field in listed.split(b"\0") if field)
        return any(name.endswith(_SETTINGS) or "." not in name for name in names)

    def changed(self) -> dict[str, str]:
        """Path (relative to the workspace) to two letters of ``git status``, for all that differs from HEAD.

        An untracked directory is one path ending in ``/``. Both ends of a rename are listed.
        """
        fields = self._must(
            ["status", "--porcelain=v1", "-z", "--untracked-files=normal", "--no-renames", _NOT_INTO, "--", "."]
        )
        prefix = self._must(["rev-parse", "--show-prefix"]).decode().strip()
        found = {}
        for field in fields.split(b"\0"):
            if field:
                found[os.fsdecode(field[3:]).removeprefix(prefix)] = field[:2].decode()
        return found

    def files(self, *, untracked: bool = False) -> list[str]:
        """Tracked files, or those that git neither tracks nor ignores, relative to the workspace; none if they are too
        many to be listed."""
        chosen = ["--others", "--exclude-standard"] if untracked else ["--cached"]
        listed = self._run(["ls-files", "-z", *chosen], MAX_STATUS_BYTES) or b""
        return [os.fsdecode(field) for field in listed.split(b"\0") if field]

    def created(self, before: Set[str]) -> list[str]:
        """What git neither tracks nor ignores and was not ``before``: paths as :meth:`changed` and :meth:`files` give
        them, sorted."""
        found = {path for path, letters in self.changed().items() if letters == "??"} - before
        known = tuple(path for path in before if path.endswith("/"))
        if known:  # of a directory that it did not know before, git names the new files only if they are asked for
            found.update(path for path in self.files(untracked=True) if path not in before and path.startswith(known))
        return sorted(found)

    def snapshot(self, untracked: Sequence[str] = ()) -> str:
        """The id of a tree that holds every tracked file as it is now, and the ``untracked`` ones.

        Made in a temporary index: the index, HEAD and every file stay as they are.
        """
        with self._own_index() as index:
            # Which commit each nested repository is at, and then no more of them: `add` would ask a git in each.
            self._mark_nested(index, "--remove")
            self._mark_nested(index, "--assume-unchanged")
            self._must(["add", "--update", "--", "."], index)
            if untracked:
                self._must(["add", "--force", "--", *untracked], index)
            return self._must(["write-tree"], index).decode().strip()

    def _mark_nested(self, index: Path, option: str) -> None:
        """Updates, in ``index``, the repositories that are links in it, but for those above which a link was put."""
        fields = self._must(["ls-files", "--stage", "-z"], index).split(b"\0")
        names = [os.fsdecode(field.partition(b"\t")[2]) for field in fields if field.startswith(_GITLINK)]
        nested = [
            name for name in names if not any((self.workspace / one).is_symlink() for one in Path(name).parents[:-1])
        ]
        for number in range(0, len(nested), MAX_NAMED):
            self._must(["update-index", option, "--", *nested[number : number + MAX_NAMED]], index)

    def changed_since(self, tree: str) -> list[str]:
        """Tracked files that differ from a :meth:`snapshot`, relative to the workspace, sorted."""
        arguments = [
            "diff",
            "--name-only",
            "-z",
            "--no-renames",
            "--no-ext-diff",
            _NOT_INTO,
            "--relative",
            tree,
            "--",
            ".",
        ]
        with self._own_index() as index:
            self._mark_nested(index, "--remove")  # else one at another commit than the index has always differs
            return sorted(os.fsdecode(field) for field in self._must(arguments, index).split(b"\0") if field)

    def restore(self, paths: Sequence[str], tree: str) -> None:
        """Writes ``paths`` to the work tree as they stand in ``tree`` (or a commit); the index stays as it is."""
        if paths:
            with self._own_index() as index:
                self._must(["restore", "--worktree", "--source", tree, "--", *paths], index)

    def diff(self, tree: str, paths: Sequence[str], limit: int) -> bytes:
        """The difference from ``tree`` to the work tree in ``paths``, cut to ``limit`` bytes."""
        if not paths:
            return b""
        arguments = [
            "diff",
            "--no-ext-diff",
            "--no-textconv",
            "--no-color",
            "--no-renames",
            _NOT_INTO,
            tree,
            "--",
            *paths,
        ]
        return self._run(arguments, limit, cut=True) or b""

    @contextmanager
    def _own_index(self) -> Iterator[Path]:
        """A copy of the index, so that nothing here takes the lock of the real one or changes it."""
        with tempfile.TemporaryDirectory(prefix="autopack-index-") as directory:
            copy = Path(directory) / "index"
            real = self._must(["rev-parse", "--path-format=absolute", "--git-path", "index"]).decode().rstrip("\n")
            if Path(real).exists():
                # With its times: git knows by them which entries it must not trust (files written while the index was).
                shutil.copy2(real, copy)
            yield copy

    def _must(self, arguments: Sequence[str], index: Path | None = None) -> bytes:
        result = self._run(arguments, MAX_STATUS_BYTES, index=index)
        if result is None:
            raise FailedPrecondition(
                f"git {arguments[0]} failed in {self.workspace}.",
                reason="GIT_FAILED",
                remedy="Run it there by hand to see why; nothing was changed since.",
                metadata={"command": arguments[0]},
            )
        return result

    def _run(
        self, arguments: Sequence[str], limit: int, *, cut: bool = False, index: Path | None = None
    ) -> bytes | None:
        """Output of a command that succeeded within ``limit`` bytes (or its beginning, if ``cut``); else None."""
        variables = {} if self._trusted or arguments[0] in _NO_FILTERS else self._without_filters()
        if index is not None:
            variables["GIT_INDEX_FILE"] = os.fspath(index)
        return _bounded(self.workspace, arguments, limit, variables | self._place, cut=cut)

    def _without_filters(self) -> dict[str, str]:
        """Variables that take the program from every filter that the repository's own configuration defines."""
        asked = ["config", "--show-scope", "-z", "--name-only", "--get-regexp", _FILTERS]
        listed = _bounded(self.workspace, asked, MAX_CONFIG_BYTES, self._place, cut=True) or b""
        if len(listed) >= MAX_CONFIG_BYTES:
            raise FailedPrecondition(
                f"The configuration of the repository at {self.workspace} defines more filters than are read.",
                reason="GIT_FILTERS_TOO_MANY",
                remedy="Remove them: git config --get-regexp '^filter' lists them.",
                metadata={"path": str(self.workspace)},
            )
        fields = os.fsdecode(listed).split("\0")
        own = [name for scope, name in zip(fields[::2], fields[1::2], strict=False) if scope in ("local", "worktree")]
        values = [(name, "false" if name.endswith(".required") else "") for name in dict.fromkeys(own)]
        environment = {"GIT_CONFIG_COUNT": str(len(values))}
        for index, (name, value) in enumerate(values):
            environment |= {f"GIT_CONFIG_KEY_{index}": name, f"GIT_CONFIG_VALUE_{index}": value}
        return environment


def _bounded(
    workspace: Path,
    arguments: Sequence[str],
    limit: int,
    variables: Mapping[str, str] | None = None,
    *,
    cut: bool = False,
) -> bytes | None:
    """Output of a command that succeeded within ``limit`` bytes (or its beginning, if ``cut``); else None."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "LC_ALL": "C", **(variables or {})}
    process = subprocess.Popen(
        ["git", *_SAFE, *arguments],
        cwd=workspace,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    late = threading.Event()

    def end() -> None:
        late.set()
        process.kill()

    # Reading is what would wait for ever, so the clock runs beside it.
    clock = threading.Timer(GIT_TIMEOUT_S, end)
    clock.start()
    try:
        with process:
            assert process.stdout is not None
            output = process.stdout.read(limit + 1)
            if len(output) > limit:
                process.kill()
                return output[:limit] if cut else None
        if late.is_set():
            raise Unavailable(
                f"git {arguments[0]} took longer than {GIT_TIMEOUT_S:.0f} s.",
                reason="GIT_TIMEOUT",
                remedy="Check the disk under the workspace, and try again.",
            )
        return output if process.returncode == 0 else None
    finally:
        clock.cancel()


def inside(workspace: Path, path: str) -> Path | None:
    """``path`` in ``workspace`` (resolved), if no ``..`` and no symbolic link on the way leads out of it; else None.

    The last component may itself be a link or absent; whoever opens it must not follow it.
    """
    if not path or path.startswith("/") or "\0" in path or ".." in path.split("/"):
        return None
    if os.path.normpath(path) == ".":
        return workspace
    candidate = workspace / path
    try:
        parent = candidate.parent.resolve(strict=False)
        target = candidate.resolve(strict=False)
    except (OSError, RuntimeError):
        return None
    root = workspace.resolve()
    return candidate if parent.is_relative_to(root) and target.is_relative_to(root) else None


def read_inside(workspace: Path, path: str, limit: int) -> bytes | None:
    """The regular file at ``path``; None if it is absent, outside, something else, or over ``limit`` bytes."""
    candidate = inside(workspace, path)
    if candidate is None:
        return None
    try:
        # Without O_NONBLOCK a FIFO of that name would block for ever.
        descriptor = os.open(candidate, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > limit:
            return None
        with os.fdopen(os.dup(descriptor), "rb") as file:
            content = file.read(limit + 1)
    finally:
        os.close(descriptor)
    return content if len(content) <= limit else None
