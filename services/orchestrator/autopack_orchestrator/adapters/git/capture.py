"""What a run changed: as a tree, a list, a patch and a commit. The agent's own index is neither read nor written.

Every command here that touches the work tree uses the mirror's trusted git directory (see :mod:`.mirror`) and an
index of our own, made at checkout: an agent can hide nothing behind index flags, and files that did not change are
not read again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import shutil
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from autopack_kit.errors import Aborted, FailedPrecondition, ResourceExhausted

from autopack_orchestrator.adapters.trees import delete_tree

from . import checkout
from .command import GitError, GitResult, run_git
from .mirror import Mirror
from .records import Workspace

__all__ = [
    "OURS",
    "Change",
    "ChangeKind",
    "Identity",
    "branch_tip",
    "changes",
    "commit",
    "commit_tree",
    "move_branch",
    "patch",
    "restore_paths",
    "worktree_tree",
]

CAPTURE_TIMEOUT_S = 600.0  # hashing tens of gigabytes
MAX_PATCH_BYTES = 1 << 30  # more belongs into an artefact store
ADD_ATTEMPTS = 20  # git stops at the first repository without a commit that it meets in the tree, and names it
VANISHED_ATTEMPTS = 3  # a file may vanish while it is being added
_NO_PROGRAMS = ("--no-ext-diff", "--no-textconv", "--no-color")
_RENAMES = ("--find-renames", "-l2000")  # exact renames are always found; the limit bounds the quadratic rest
_EMBEDDED = re.compile(r"^error: '([^'\n]{1,4096})/' does not have a commit checked out$", re.MULTILINE)


class ChangeKind(StrEnum):
    """Letters of ``git diff --name-status``."""

    ADDED = "A"
    MODIFIED = "M"
    DELETED = "D"
    RENAMED = "R"
    TYPE_CHANGED = "T"


@dataclass(frozen=True, slots=True)
class Change:
    """One changed path; bytes that are not UTF-8 are kept as surrogates (``os.fsencode`` gives them back)."""

    kind: ChangeKind
    path: str
    old_path: str | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path that this change touches."""
        return (self.path,) if self.old_path is None else (self.old_path, self.path)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a commit is by."""

    name: str
    email: str

    def env(self) -> dict[str, str]:
        """Variables that make git use it; also for an agent that commits by itself."""
        return {
            "GIT_AUTHOR_NAME": self.name,
            "GIT_AUTHOR_EMAIL": self.email,
            "GIT_COMMITTER_NAME": self.name,
            "GIT_COMMITTER_EMAIL": self.email,
        }


OURS = Identity("Autopack", "autopack@localhost")


async def worktree_tree(workspace: Workspace, exclude: Sequence[str] = ()) -> str:
    """Tree id of everything in the work tree now: tracked, untracked, deleted; without ignored files and ``exclude``.

    Args:
        exclude: pathspecs (``build/``, ``*.log``, from the top) left as they are in the last commit.

    Raises:
        FailedPrecondition: WORKSPACE_GONE. GitError: a file could not be read.
    """
    if not workspace.path.is_dir():
        raise FailedPrecondition(
            f"The worktree {workspace.path} is gone.",
            reason="WORKSPACE_GONE",
            remedy="Retry the run; something outside of it deleted its directory.",
            metadata={"path": str(workspace.path)},
        )
    head = await _head(workspace)
    omitted = [f":(top,exclude){pattern}" for pattern in exclude]
    async with _private_index(workspace) as index:
        await _on_tree(workspace, index, "read-tree", "--reset", head)
        if workspace.private:  # whatever the agent did with them, also in commits of its own
            omitted += [f":(top,exclude,literal){name}" for name in workspace.private]
            names = b"\0".join(map(os.fsencode, workspace.private)) + b"\0"
            await _on_tree(workspace, index, "update-index", "--force-remove", "-z", "--stdin", stdin=names)
        nested = await _nested(workspace, index, head)
        gone = [name for name in nested if _is_beyond_link(workspace.path, os.fsdecode(name))]
        if gone:  # a link took the place of a directory above it; git takes no path that leads through one
            nested = [name for name in nested if name not in gone]
            names = b"\0".join(gone) + b"\0"
            await _on_tree(workspace, index, "update-index", "--force-remove", "-z", "--stdin", stdin=names)
        omitted += [f":(top,exclude,literal){os.fsdecode(name)}" for name in nested]
        sparse = ("--sparse",) if workspace.checkout.sparse_paths else ()
        for attempt in range(1, ADD_ATTEMPTS + 1):
            try:
                # On stdin: what preparing has left can be more names than a command line holds.
                paths = b"\0".join(map(os.fsencode, (":/", *omitted)))
                words = ("add", "--all", *sparse, "--pathspec-from-file=-", "--pathspec-file-nul")
                await _on_tree(workspace, index, *words, stdin=paths)
                break
            except GitError as error:
                embedded = _EMBEDDED.findall(error.result.stderr)
                omitted += [f":(top,exclude,literal){name}" for name in embedded]
                if attempt == ADD_ATTEMPTS or (not embedded and attempt >= VANISHED_ATTEMPTS):
                    raise
        if nested:  # which commit each is at, and no more
            await _on_tree(
                workspace, index, "update-index", "--remove", "-z", "--stdin", stdin=b"\0".join(nested) + b"\0"
            )
        return (await _on_tree(workspace, index, "write-tree")).text


async def changes(mirror: Mirror, base: str, tree: str) -> list[Change]:
    """What differs between two commits or trees, renames found, in the order of paths."""
    words = ("diff-tree", "-r", "-z", "--name-status", *_RENAMES, *_NO_PROGRAMS, f"{base}^{{tree}}", f"{tree}^{{tree}}")
    fields = iter((await run_git(*words, git_dir=mirror.trusted, timeout_s=CAPTURE_TIMEOUT_S)).stdout.split(b"\0")[:-1])
    found = []
    for status in fields:
        kind = ChangeKind(chr(status[0]))
        first = os.fsdecode(next(fields))
        renamed = kind is ChangeKind.RENAMED
        found.append(Change(kind, os.fsdecode(next(fields)), first) if renamed else Change(kind, first))
    return found


async def patch(mirror: Mirror, base: str, tree: str, file: Path) -> int:
    """Write the difference to the new file ``file``, for ``git apply --binary`` on ``base``; returns its size in bytes.

    Raises:
        ResourceExhausted: PATCH_TOO_LARGE, the files that changed hold more than 1 GiB, before or after.
    """
    size = await _changed_bytes(mirror, base, tree)
    if size > MAX_PATCH_BYTES:
        raise _patch_too_large(f"The files that changed hold {size >> 20:,} MiB")
    options = ("-r", "-p", "--binary", "--full-index", *_RENAMES, *_NO_PROGRAMS, "--src-prefix=a/", "--dst-prefix=b/")
    words = ("diff-tree", *options, f"{base}^{{tree}}", f"{tree}^{{tree}}")
    try:
        await run_git(
            *words, git_dir=mirror.trusted, stdout=file, max_output=MAX_PATCH_BYTES, timeout_s=CAPTURE_TIMEOUT_S
        )
    except ResourceExhausted as error:
        file.unlink(missing_ok=True)
        raise _patch_too_large("The patch has more") from error
    return file.stat().st_size


async def _changed_bytes(mirror: Mirror, base: str, tree: str) -> int:
    """What the larger side of each changed file adds up to: git holds both in memory to compare them."""
    words = ("diff-tree", "-r", "-z", "--raw", "--no-abbrev", *_RENAMES, f"{base}^{{tree}}", f"{tree}^{{tree}}")
    fields = iter((await run_git(*words, git_dir=mirror.trusted, timeout_s=CAPTURE_TIMEOUT_S)).stdout.split(b"\0")[:-1])
    names = b""
    for entry in fields:
        _, _, before, after, status = entry.split()
        for _ in range(2 if status.startswith(b"R") else 1):
            next(fields)
        names += b"" if before == after else b"%s\n%s\n" % (before, after)
    listed = await run_git("cat-file", "--batch-check=%(objectsize)", git_dir=mirror.trusted, stdin=names)
    sizes = [int(line) if line.isdigit() else 0 for line in listed.stdout.splitlines()]  # no such side, or a submodule
    return sum(map(max, sizes[::2], sizes[1::2]))


def _patch_too_large(what: str) -> ResourceExhausted:
    return ResourceExhausted(
        f"{what}, and a patch is made of at most {MAX_PATCH_BYTES >> 20:,} MiB.",
        reason="PATCH_TOO_LARGE",
        remedy="Keep large generated files out of the repository, or let .gitignore name them.",
        metadata={"limit": str(MAX_PATCH_BYTES)},
    )


async def commit_tree(mirror: Mirror, tree: str, parents: Sequence[str], message: str, identity: Identity) -> str:
    """A commit object of ``tree``; no branch moves. Returns its id."""
    words = ["commit-tree", tree, "--no-gpg-sign", "-F", "-"]
    for parent in parents:
        words += ["-p", parent]
    result = await run_git(
        *words, git_dir=mirror.trusted, stdin=message.encode(errors="surrogateescape"), env=identity.env()
    )
    return result.text


async def move_branch(mirror: Mirror, branch: str, new: str, old: str | None) -> None:
    """Set ``branch`` to ``new`` if it still is at ``old`` (None = does not exist).

    Raises:
        Aborted: BRANCH_MOVED, somebody else changed it meanwhile.
    """
    words = ("update-ref", f"refs/heads/{branch}", new, old or "0" * len(new))
    result = await run_git(*words, git_dir=mirror.path, check=False)
    if result.returncode != 0:
        raise Aborted(
            f"The branch {branch} changed while the result was being committed: {result.error}",
            reason="BRANCH_MOVED",
            remedy="Capture again; make sure that no process of the run is alive.",
            metadata={"branch": branch},
        )


async def branch_tip(workspace: Workspace) -> str | None:
    """Where the run's branch stands now (the agent may have committed); None when it was deleted."""
    return await workspace.mirror.sha(f"refs/heads/{workspace.branch}")


async def commit(workspace: Workspace, tree: str, message: str, identity: Identity) -> str:
    """Commit ``tree`` on the run's branch and return the new tip.

    The agent's own commits stay as history as long as they grow from the base commit; a history that it rewrote, or in
    which it committed a private file, is replaced by one commit on the base. A tip that already has this tree is left
    as it is.

    Raises:
        Aborted: BRANCH_MOVED.
    """
    mirror, tip = workspace.mirror, await branch_tip(workspace)
    parent = workspace.base
    if tip is not None:
        words = ("merge-base", "--is-ancestor", workspace.base, tip)
        grown = (await run_git(*words, git_dir=mirror.path, check=False)).returncode == 0
        if grown and not await _touched(workspace, tip):
            parent = tip
    if parent == tip and (await run_git("rev-parse", f"{tip}^{{tree}}", git_dir=mirror.trusted)).text == tree:
        return parent
    sha = await commit_tree(mirror, tree, [parent], message, identity)
    await move_branch(mirror, workspace.branch, sha, tip)
    return sha


async def _touched(workspace: Workspace, tip: str) -> bool:
    """Whether a commit since the base has a private file."""
    if not workspace.private:
        return False
    literal = [f":(top,literal){name}" for name in workspace.private]
    words = ("rev-list", "--max-count=1", "--full-history", tip, f"^{workspace.base}", "--", *literal)
    return bool((await run_git(*words, git_dir=workspace.mirror.path)).text)


async def restore_paths(workspace: Workspace, paths: Iterable[str], to: str = "") -> None:
    """Put ``paths`` (of :class:`Change`, never from a user) back to the tree or commit ``to``, by default the base
    commit; everything else stays as it is.

    What it does not have is deleted; what it has is written anew: content, mode, type.
    """
    wanted = sorted(set(paths))
    async with _private_index(workspace, keep=False) as index:
        await _on_tree(workspace, index, "read-tree", "--reset", to or workspace.base)
        listed = await _on_tree(workspace, index, "ls-files", "-z")
        known = set(listed.stdout.split(b"\0"))
        gone = [path for path in wanted if os.fsencode(path) not in known]
        await asyncio.to_thread(_delete, workspace.path, gone)
        back = [os.fsencode(path) for path in wanted if os.fsencode(path) in known]
        if back:
            also = ("--ignore-skip-worktree-bits",) if workspace.checkout.sparse_paths else ()
            words = ("checkout-index", "--force", *also, "-z", "--stdin")
            await _on_tree(workspace, index, *words, stdin=b"\0".join(back) + b"\0")


def _delete(root: Path, paths: Iterable[str]) -> None:
    """Delete files and the directories they leave empty; never through a symbolic link out of the work tree."""
    for name in paths:
        path = root / name
        if path.parent.resolve() != root.resolve() / Path(name).parent:
            continue  # a parent became a link: the path as such no longer exists
        if path.is_dir() and not path.is_symlink():
            delete_tree(path)  # an embedded repository, listed as one path
        else:
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # not empty: the rest of the directory stays
            for parent in path.parents:
                if parent == root:
                    break
                parent.rmdir()


async def _head(workspace: Workspace) -> str:
    """The commit the work tree stands on:

    What is tracked. Falls back to our own branch and base if the agent broke HEAD.
    """
    words = ("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    result = await run_git(*words, git_dir=workspace.git_dir, check=False)
    return result.text if result.returncode == 0 else (await branch_tip(workspace) or workspace.base)


@contextlib.asynccontextmanager
async def _private_index(workspace: Workspace, keep: bool = True) -> AsyncIterator[Path]:
    """A copy of our index of this worktree; kept as the next one's start (it spares reading unchanged files)."""
    index = workspace.index.with_name(f"{workspace.index.name}.{secrets.token_hex(4)}")
    if workspace.index.exists():
        await asyncio.to_thread(
            shutil.copy2, workspace.index, index
        )  # with its time: git compares files' times with it
    try:
        yield index
        if keep:
            index.rename(workspace.index)
    finally:
        for leftover in (index, index.with_name(index.name + ".lock")):
            leftover.unlink(missing_ok=True)


async def _nested(workspace: Workspace, index: Path, head: str) -> list[bytes]:
    """The repositories that the last commit has as links in its tree.

    To tell whether one is dirty, ``git add`` starts another git in it, outside of any sandbox, and that one runs what
    its own configuration names, which an agent can write.
    """
    listed = await _on_tree(workspace, index, "ls-tree", "-r", "-d", "-z", "--full-tree", head)
    found = [field.partition(b"\t")[2] for field in listed.stdout.split(b"\0") if field.startswith(b"160000 ")]
    return [name for name in found if os.fsdecode(name) not in workspace.private]


def _is_beyond_link(top: Path, name: str) -> bool:
    return any((top / parent).is_symlink() for parent in Path(name).parents[:-1])


async def _on_tree(workspace: Workspace, index: Path, *words: str, stdin: bytes = b"") -> GitResult:
    return await run_git(
        *words,
        git_dir=checkout.git_dir(workspace),
        work_tree=workspace.path,
        env={"GIT_INDEX_FILE": str(index)},
        config=checkout.config(workspace),
        stdin=stdin,
        timeout_s=CAPTURE_TIMEOUT_S,
    )
