"""The repository that a user names: is it one, may we read it, and which commit is meant.

Bare repositories are fine as a source: nothing of a work tree is ever needed. A subdirectory of a repository, or its
``.git`` directory, is refused with the path to give instead, because the allowed roots are checked for the whole
repository.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autopack_kit.errors import AutopackError, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied

from .command import GitError, GitResult, run_git
from .names import check_ref

__all__ = ["Source", "open_source", "resolve"]


@dataclass(frozen=True, slots=True)
class Source:
    """A repository of the user.

    Attributes:
        path: top of its work tree, or the repository itself when bare; symbolic links resolved.
        git_dir: the git directory shared by all its worktrees; its identity.
        bare: it has no work tree.
    """

    path: Path
    git_dir: Path
    bare: bool


async def open_source(path: Path, roots: Sequence[Path]) -> Source:
    """The repository at ``path``, which must lie (with its git directory) under one of ``roots``.

    Raises:
        PermissionDenied: SOURCE_OUTSIDE_ROOTS, SOURCE_FOREIGN_OWNER. NotFound: SOURCE_MISSING. InvalidArgument:
        NOT_A_REPOSITORY.
    """
    # Of os.path, because those of Path raise for a loop of links and for a name that is too long.
    real = Path(await asyncio.to_thread(os.path.realpath, path))
    _check_root(real, path, roots)
    if not await asyncio.to_thread(os.path.isdir, real):
        what = "is not a directory" if os.path.exists(real) else "does not exist"
        raise _source_error(NotFound, path, f"The repository {path} {what}.", "SOURCE_MISSING", "Check the path.")
    answer = await _ask(real, path, "--git-common-dir", "--is-bare-repository", "--is-inside-work-tree")
    common, bare, inside = answer.text.rsplit("\n", 2)
    git_dir = Path(common).resolve()
    _check_root(git_dir, path, roots)
    if bare == "true" or inside == "false":
        top = real if real == git_dir and bare == "true" else None
    else:
        top = Path((await _ask(real, path, "--show-toplevel")).text).resolve()
    if top != real:
        where = f"lies inside the repository {top}" if top else "is part of a git directory"
        remedy = f"Give {top}." if top else "Give the top directory of the repository."
        raise _source_error(InvalidArgument, path, f"{path} {where}.", "NOT_A_REPOSITORY", remedy)
    return Source(real, git_dir, bare == "true")


async def resolve(source: Source, ref: str = "") -> str:
    """The commit id that ``ref`` (a branch, tag or commit; empty = HEAD) means in ``source`` now.

    Raises:
        InvalidArgument: INVALID_REF. NotFound: REF_NOT_FOUND. FailedPrecondition: EMPTY_REPOSITORY.
    """
    check_ref(ref)
    result = await _rev_parse(source, ref or "HEAD")
    if result.returncode == 0:
        return result.text
    if (await _rev_parse(source, "HEAD")).returncode != 0 and not await _has_commits(source):
        raise FailedPrecondition(
            f"The repository {source.path} has no commit yet.",
            reason="EMPTY_REPOSITORY",
            remedy="Make a first commit (git commit --allow-empty -m start).",
            metadata={"path": str(source.path)},
        )
    raise NotFound(
        f"{ref or 'HEAD'!r} is not a branch, tag or commit of {source.path}.",
        reason="REF_NOT_FOUND",
        remedy="See git branch --all and git tag; fetch first if it exists only on a remote.",
        metadata={"path": str(source.path), "ref": ref},
    )


async def _rev_parse(source: Source, ref: str) -> GitResult:
    """In the work tree the user named: HEAD is that worktree's own."""
    words = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    return await run_git(*words, cwd=source.path, user_config=True, check=False)


async def _has_commits(source: Source) -> bool:
    found = await run_git("for-each-ref", "--count=1", git_dir=source.git_dir, user_config=True)
    return bool(found.stdout)


async def _ask(real: Path, path: Path, *questions: str) -> GitResult:
    words = ("rev-parse", "--path-format=absolute", *questions)
    result = await run_git(*words, cwd=real, user_config=True, check=False)
    if result.returncode == 0:
        return result
    if "dubious ownership" in result.stderr:
        raise _source_error(
            PermissionDenied,
            path,
            f"The repository {path} belongs to another user, and git refuses to work in it.",
            "SOURCE_FOREIGN_OWNER",
            f"If you trust it: git config --global --add safe.directory {real}",
        )
    if "not a git repository" in result.stderr:
        remedy = "Give the top directory of a repository, or make one: git init."
        raise _source_error(InvalidArgument, path, f"{path} is not a git repository.", "NOT_A_REPOSITORY", remedy)
    raise GitError(words, result)


def _check_root(real: Path, path: Path, roots: Sequence[Path]) -> None:
    if any(real.is_relative_to(root.resolve()) for root in roots):
        return
    allowed = ", ".join(str(root) for root in roots) or "none"
    raise _source_error(
        PermissionDenied,
        path,
        f"The repository {path} lies outside the allowed directories ({allowed}).",
        "SOURCE_OUTSIDE_ROOTS",
        "Start the server with `autopack serve --allow-root DIR` or AUTOPACK_ORCHESTRATOR_ALLOWED_ROOTS, or move it.",
    )


def _source_error(kind: type[AutopackError], path: Path, message: str, reason: str, remedy: str) -> AutopackError:
    return kind(message, reason=reason, remedy=remedy, metadata={"path": str(path)})
