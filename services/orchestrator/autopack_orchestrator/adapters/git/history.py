"""What commits say: those an agent made, and the directories a commit has."""

from __future__ import annotations

import os

from .command import run_git
from .mirror import Mirror
from .records import Workspace
from .source import Source

__all__ = ["commit_message", "directories", "own_commits", "uncommitted"]

MAX_MESSAGE_BYTES = 4 << 10  # of which the first lines tell
MAX_COMMITS = 1000  # a run with more is not judged commit by commit


async def own_commits(workspace: Workspace, since: str) -> list[str]:
    """Commits on the run's branch after the commit ``since``, oldest first, along first parents; none after a tree."""
    mirror = workspace.mirror
    tip = await mirror.sha(f"refs/heads/{workspace.branch}")
    if tip is None or tip == since or await mirror.sha(since) is None:
        return []
    words = ("rev-list", "--first-parent", f"--max-count={MAX_COMMITS}", tip, f"^{since}")
    result = await run_git(*words, git_dir=mirror.path, check=False)
    return result.text.split()[::-1] if result.returncode == 0 else []


async def commit_message(mirror: Mirror, commit: str) -> str:
    """What a commit says about itself; empty for a tree. At most ``MAX_MESSAGE_BYTES``, without its trailing lines."""
    words = ("cat-file", "-p", "--end-of-options", commit)
    result = await run_git("cat-file", "-t", commit, git_dir=mirror.path)
    if result.text.strip() != "commit":
        return ""
    result = await run_git(*words, git_dir=mirror.path)
    return result.stdout.partition(b"\n\n")[2][:MAX_MESSAGE_BYTES].decode("utf-8", "replace").strip()


async def directories(mirror: Mirror, commit: str) -> frozenset[str]:
    """Every directory that a commit has, without the root."""
    words = ("ls-tree", "-r", "-d", "-z", "--name-only", commit)
    result = await run_git(*words, git_dir=mirror.path)
    return frozenset(os.fsdecode(name) for name in result.stdout.split(b"\0") if name)


async def uncommitted(source: Source) -> tuple[str, ...]:
    """A warning if a user's repository has changes that no run will see; nothing there is touched."""
    if source.bare:
        return ()
    words = ("status", "--porcelain=v1", "--untracked-files=normal", "--ignore-submodules=all")
    result = await run_git(*words, cwd=source.path, user_config=True, check=False)
    lines = [line for line in result.text.splitlines() if line]
    if result.returncode != 0 or not lines:
        return ()
    return (f"{source.path} has {len(lines)} uncommitted changes; runs start from the commit and do not see them.",)
