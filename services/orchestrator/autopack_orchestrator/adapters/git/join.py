"""Several commits as one, for a run that needs several others; no work tree and no branch is touched."""

from __future__ import annotations

import os
from collections.abc import Sequence

from autopack_kit.errors import FailedPrecondition

from .capture import Identity, commit_tree
from .command import GitError, run_git
from .mirror import Mirror

__all__ = ["join_commits"]

MERGE_TIMEOUT_S = 300.0  # 100,000 files with renames
MAX_SHOWN = 10
_CONFLICT = 1  # exit code of merge-tree


async def join_commits(mirror: Mirror, commits: Sequence[str], message: str, identity: Identity) -> str:
    """The commit itself if it is one; else all merged, one after the other, if that is possible without a conflict.

    In the trusted directory: what an agent writes into the mirror's configuration can name programs that merge.

    Raises:
        FailedPrecondition: DEPENDENCY_CONFLICT, with the files.
    """
    joined, *others = commits
    for commit in others:
        words = ("merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", joined, commit)
        result = await run_git(*words, git_dir=mirror.trusted, check=False, timeout_s=MERGE_TIMEOUT_S)
        if result.returncode not in (0, _CONFLICT):
            raise GitError(words, result)
        tree, *files = [os.fsdecode(name) for name in result.stdout.split(b"\0") if name]
        if result.returncode == _CONFLICT:
            raise _conflict(files)
        joined = await commit_tree(mirror, tree, (joined, commit), message, identity)
    return joined


def _conflict(files: Sequence[str]) -> FailedPrecondition:
    shown = ", ".join(repr(name) for name in files[:MAX_SHOWN]) + (" and more" if len(files) > MAX_SHOWN else "")
    return FailedPrecondition(
        f"The runs that it needs cannot be merged: they changed {shown} differently.",
        reason="DEPENDENCY_CONFLICT",
        remedy="Let one of them need the other, or give them scopes that do not overlap.",
        metadata={"files": str(len(files))},
    )
