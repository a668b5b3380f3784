"""Submodules as plain files: filled without a repository of their own, so that nothing in them can steer git."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from autopack_kit.errors import FailedPrecondition

from .command import run_git
from .mirror import Mirror

__all__ = ["Submodule", "fill_submodules"]

MAX_SUBMODULES = 100
MAX_DEPTH = 5  # a submodule that has itself as a submodule would have no end
MAX_GITMODULES = 1 << 20
FILL_TIMEOUT_S = 1800.0


@dataclass(frozen=True, slots=True)
class Submodule:
    """An entry of ``.gitmodules``, with the commit that the tree names for it."""

    name: str
    path: str
    url: str
    commit: str


#: The mirror of a submodule with its commit in it; raises what a caller should be told.
Fetch = Callable[[Submodule], Awaitable[tuple[Mirror, "Fetch"]]]


async def fill_submodules(mirror: Mirror, commit: str, directory: Path, fetch: Fetch, depth: int = 1) -> int:
    """Write the files of every submodule of ``commit`` that has a directory below ``directory``; returns their number.

    Raises:
        FailedPrecondition: TOO_MANY_SUBMODULES. Whatever ``fetch`` raises. GitError.
    """
    found = [module for module in await _list(mirror, commit) if _is_own_directory(directory, module.path)]
    if found and (depth > MAX_DEPTH or len(found) > MAX_SUBMODULES):
        raise FailedPrecondition(
            f"The submodules are nested deeper than {MAX_DEPTH}, or are more than {MAX_SUBMODULES}.",
            reason="TOO_MANY_SUBMODULES",
            remedy="Leave `checkout.submodules` out, and fetch those that are needed in an install step.",
        )
    count = len(found)
    for module in found:
        own, next_fetch = await fetch(module)
        target = directory / module.path
        index = own.records / f"fill-{os.getpid()}-{id(module):x}.index"
        try:
            await run_git(
                *("read-tree", "-m", "-u", module.commit),
                git_dir=own.trusted,
                work_tree=target,
                env={"GIT_INDEX_FILE": str(index)},
                timeout_s=FILL_TIMEOUT_S,
            )
        finally:
            index.unlink(missing_ok=True)
        count += await fill_submodules(own, module.commit, target, next_fetch, depth + 1)
    return count


async def _list(mirror: Mirror, commit: str) -> list[Submodule]:
    words = ("config", "--blob", f"{commit}:.gitmodules", "-z", "--list")
    listed = await run_git(*words, git_dir=mirror.trusted, check=False, max_output=MAX_GITMODULES)
    if listed.returncode != 0:
        return []  # there is no such file, or none that git can read
    values: dict[str, dict[str, str]] = {}
    for entry in os.fsdecode(listed.stdout).split("\0"):
        key, _, value = entry.partition("\n")
        name, _, variable = key.removeprefix("submodule.").rpartition(".")
        if key.startswith("submodule.") and name:
            values.setdefault(name, {})[variable] = value
    found = []
    for name, entries in values.items():
        path, url = entries.get("path", ""), entries.get("url", "")
        if path and url and (commit_id := await _gitlink(mirror, commit, path)):
            found.append(Submodule(name, path, url, commit_id))
    return found


async def _gitlink(mirror: Mirror, commit: str, path: str) -> str:
    """The commit that the tree has at ``path``; empty if something else is there."""
    listed = await run_git("ls-tree", "-z", commit, "--", path, git_dir=mirror.trusted, check=False)
    words = listed.stdout.partition(b"\t")[0].split()
    return words[2].decode() if len(words) == 3 and words[0] == b"160000" else ""


def _is_own_directory(root: Path, path: str) -> bool:
    """Whether checking out made a directory there: not left out, not behind a symbolic link."""
    target = root / path
    return target.is_dir() and not target.is_symlink() and target.resolve() == root.resolve() / path
