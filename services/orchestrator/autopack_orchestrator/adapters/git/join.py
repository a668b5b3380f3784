"""Several commits as one, for a run that needs several others; no work tree and no branch is touched."""

from __future__ import annotations

from collections.abc import Sequence

from autopack_kit.errors import FailedPrecondition

from .capture import Identity, commit_tree
from .merging import merge_pair
from .mirror import Mirror

__all__ = ["join_commits"]

MAX_SHOWN = 10


async def join_commits(mirror: Mirror, commits: Sequence[str], message: str, identity: Identity) -> str:
    """The commit itself if it is one; else all merged, one after the other, if that is possible without a conflict.

    Raises:
        FailedPrecondition: DEPENDENCY_CONFLICT, with the files.
    """
    joined, *others = commits
    for commit in others:
        pair = await merge_pair(mirror, joined, commit)
        if not pair.clean:
            raise _conflict(pair.files)
        joined = await commit_tree(mirror, pair.tree, (joined, commit), message, identity)
    return joined


def _conflict(files: Sequence[str]) -> FailedPrecondition:
    shown = ", ".join(repr(name) for name in files[:MAX_SHOWN]) + (" and more" if len(files) > MAX_SHOWN else "")
    return FailedPrecondition(
        f"The runs that it needs cannot be merged: they changed {shown or 'directories'} differently.",
        reason="DEPENDENCY_CONFLICT",
        remedy="Let one of them need the other, or give them scopes that do not overlap.",
        metadata={"files": str(len(files))},
    )
