"""Applying a patch that came from elsewhere."""

from __future__ import annotations

from pathlib import Path

from .command import GitError, run_git
from .records import Workspace

__all__ = ["apply_patch"]

APPLY_TIMEOUT_S = 600.0  # as for a capture: a patch of every file of a large repository, on a loaded disk


async def apply_patch(workspace: Workspace, patch: Path) -> None:
    """Apply ``patch`` to the work tree: whole or not at all.

    git itself refuses paths out of the work tree, into ``.git``, and through symbolic links. What it cannot read behind
    a part that it can, it only reports and leaves out (seen with 2.39): that is no patch that applies either.

    Raises:
        GitError: it does not apply.
    """
    words = ("apply", "--binary", "--whitespace=nowarn")
    git_dir, tree = workspace.mirror.trusted, workspace.path
    checked = await run_git(*words, "--check", str(patch), git_dir=git_dir, work_tree=tree, timeout_s=APPLY_TIMEOUT_S)
    if "error: " in checked.stderr:
        raise GitError(words, checked)
    await run_git(*words, str(patch), git_dir=git_dir, work_tree=tree, timeout_s=APPLY_TIMEOUT_S)
