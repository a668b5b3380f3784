"""Applying a patch that came from elsewhere."""

from __future__ import annotations

from pathlib import Path

from .command import run_git
from .records import Workspace

__all__ = ["apply_patch"]

APPLY_TIMEOUT_S = 600.0  # as for a capture: a patch of every file of a large repository, on a loaded disk


async def apply_patch(workspace: Workspace, patch: Path) -> None:
    """Apply ``patch`` to the work tree: whole or not at all.

    git itself refuses paths out of the work tree, into ``.git``, and through symbolic links.

    Raises:
        GitError: it does not apply.
    """
    words = ("apply", "--binary", "--whitespace=nowarn", str(patch))
    await run_git(*words, git_dir=workspace.mirror.trusted, work_tree=workspace.path, timeout_s=APPLY_TIMEOUT_S)
