"""Merging commits without a work tree: `git merge-tree`, in the private mirror.

In the trusted directory: what an agent writes into the mirror's configuration can name programs that merge.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from autopack_kit.errors import FailedPrecondition, invalid_field

from autopack_orchestrator.core.merging import Branch, Conflict, Merged, Step

from .capture import Identity, commit_tree
from .command import GitError, run_git
from .mirror import Mirror

__all__ = ["Pair", "check_branch_name", "merge_all", "merge_pair"]

MERGE_TIMEOUT_S = 300.0  # 100,000 files with renames
MAX_CONFLICTS = 100  # paths that are told of one branch; whoever has more of them looks at the branches
MAX_SUSPECTS = 20  # branches that one that conflicts is compared with, each a merge of its own
NO_FILE = "it conflicts in no single file: one side may have renamed a directory in which the other added a file"
_CONFLICT = 1  # exit code of merge-tree
_USAGE = 129  # exit code of a git that does not know an option


@dataclass(frozen=True, slots=True)
class Pair:
    """Two commits merged. One that is not clean may conflict without a file: for example on where a directory went."""

    tree: str
    clean: bool
    files: tuple[str, ...]


async def merge_pair(mirror: Mirror, ours: str, theirs: str) -> Pair:
    """Merge two commits into a tree.

    Raises:
        FailedPrecondition: GIT_TOO_OLD; UNRELATED_HISTORIES. GitError.
    """
    words = ("merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", ours, theirs)
    result = await run_git(*words, git_dir=mirror.trusted, check=False, timeout_s=MERGE_TIMEOUT_S)
    if result.returncode == _USAGE:
        raise FailedPrecondition(
            "git on this server cannot merge without a work tree: that needs version 2.38.",
            reason="GIT_TOO_OLD",
            remedy="Install a newer git on the server, or merge the branches by hand.",
        )
    if "unrelated histories" in result.stderr:
        raise FailedPrecondition(
            f"{ours[:12]} and {theirs[:12]} have no commit in common.",
            reason="UNRELATED_HISTORIES",
            remedy="Merge into a branch that has the batch's base commit in its history.",
        )
    if result.returncode not in (0, _CONFLICT):
        raise GitError(words, result)
    tree, *files = [os.fsdecode(name) for name in result.stdout.split(b"\0") if name]
    return Pair(tree, result.returncode == 0, tuple(files))


async def merge_all(mirror: Mirror, into: str, branches: Sequence[Branch], identity: Identity) -> Merged:
    """Merge the branches into a commit, one after the other in their order; one that conflicts is left out.

    Each merge is a commit that no branch points to; a branch that is contained already makes none.

    Raises:
        As :func:`merge_pair`.
    """
    commit, tree = into, await _tree(mirror, into)
    merged: list[Step] = []
    failed: list[Step] = []
    for branch in branches:
        if await mirror.sha(branch.commit) is None:
            failed.append(Step(branch, False, problem="its commit is not there any more"))
            continue
        pair = await merge_pair(mirror, commit, branch.commit)
        if not pair.clean:
            earlier = [step.branch for step in merged]
            conflicts = await _blame(mirror, into, branch, earlier, pair.files)
            failed.append(Step(branch, False, conflicts, "" if conflicts else NO_FILE))
            continue
        if pair.tree != tree or not await _contains(mirror, commit, branch.commit):
            message = f"Merge branch '{branch.name}'\n"
            commit = await commit_tree(mirror, pair.tree, (commit, branch.commit), message, identity)
            tree = pair.tree
        merged.append(Step(branch, True))
    return Merged(into, (*merged, *failed), commit, tree)


async def check_branch_name(name: str) -> None:
    """Raise :class:`InvalidArgument` for a name that git does not take for a branch."""
    if (await run_git("check-ref-format", f"refs/heads/{name}", check=False)).returncode != 0:
        raise invalid_field("branch", f"{name[:200]!r} is not a valid branch name", reason="INVALID_NAME")


async def _blame(
    mirror: Mirror, into: str, branch: Branch, earlier: Sequence[Branch], files: Sequence[str]
) -> tuple[Conflict, ...]:
    """With whom the files conflict: each that changed one of them is merged with the branch alone."""
    suspects = [other for other in earlier if other.paths.intersection(files)][:MAX_SUSPECTS]
    found = {other.run_id: set((await merge_pair(mirror, other.commit, branch.commit)).files) for other in suspects}
    alone = set((await merge_pair(mirror, into, branch.commit)).files)
    return tuple(
        Conflict(path, tuple(run_id for run_id, paths in found.items() if path in paths), path in alone)
        for path in files[:MAX_CONFLICTS]
    )


async def _tree(mirror: Mirror, commit: str) -> str:
    return (await run_git("rev-parse", "--verify", f"{commit}^{{tree}}", git_dir=mirror.trusted)).text


async def _contains(mirror: Mirror, commit: str, ancestor: str) -> bool:
    words = ("merge-base", "--is-ancestor", ancestor, commit)
    result = await run_git(*words, git_dir=mirror.trusted, check=False)
    if result.returncode not in (0, 1):
        raise GitError(words, result)
    return result.returncode == 0
