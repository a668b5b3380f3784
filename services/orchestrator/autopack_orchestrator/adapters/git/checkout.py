"""Writing a work tree: all of a commit or some directories of it, with or without the content of Git LFS."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path

from autopack_kit.errors import FailedPrecondition

from .command import GitError, run_git
from .mirror import Mirror
from .origin import Origin
from .records import Workspace

__all__ = ["config", "git_dir", "lfs_config", "lfs_url", "open_view", "prepare", "sparse_patterns", "write"]

CHECKOUT_TIMEOUT_S = 1800.0  # 100,000 files on a slow and busy disk
_SPARSE = ("core.sparseCheckout=true", "core.sparseCheckoutCone=true")


def git_dir(workspace: Workspace) -> Path:
    """The git directory for commands on the work tree: this worktree's own view, which no agent writes.

    A worktree of an earlier version has none, and nothing that needs one.
    """
    return workspace.view if workspace.view.is_dir() else workspace.mirror.trusted


def config(workspace: Workspace) -> tuple[str, ...]:
    """Configuration for commands on the work tree."""
    sparse = _SPARSE if workspace.checkout.sparse_paths else ()
    return (*sparse, *lfs_config(workspace.mirror)) if workspace.checkout.lfs else sparse


def lfs_config(mirror: Mirror) -> tuple[str, ...]:
    """The filter of Git LFS, with its objects beside the mirror: nothing of it comes from a file of the repository."""
    return (
        "filter.lfs.process=git-lfs filter-process",
        "filter.lfs.smudge=git-lfs smudge -- %f",
        "filter.lfs.clean=git-lfs clean -- %f",
        "filter.lfs.required=true",
        f"lfs.storage={mirror.path / 'lfs'}",
    )


async def prepare(workspace: Workspace, lock: int) -> None:
    """Our view of the worktree, and for a sparse one git's own record of that. Under the lock of the mirror."""
    await asyncio.to_thread(_make_view, workspace)
    if not workspace.checkout.sparse_paths:
        return
    assert workspace.git_dir is not None
    await _allow_worktree_config(workspace.mirror, lock)
    own = "[core]\n\tsparseCheckout = true\n\tsparseCheckoutCone = true\n"
    (workspace.git_dir / "config.worktree").write_text(own)
    for directory in (workspace.git_dir, workspace.view):
        (directory / "info").mkdir(exist_ok=True)
        (directory / "info" / "sparse-checkout").write_text(sparse_patterns(workspace.checkout.sparse_paths))


async def write(workspace: Workspace, lfs: Origin | None) -> None:
    """Write the files of the base commit.

    Args:
        workspace: prepared.
        lfs: where files in Git LFS come from.

    Raises:
        FailedPrecondition: LFS_FAILED.
    """
    assert workspace.git_dir is not None
    index = workspace.git_dir / "index"
    env, further = {"GIT_INDEX_FILE": str(index)}, config(workspace)
    if workspace.checkout.lfs and lfs is not None:
        env |= {**lfs.env, "GIT_LFS_SKIP_SMUDGE": "0"}
        further += (*lfs.config, *lfs_url(lfs))
        if not lfs.remote:
            env["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = str(Path(lfs.location) / "objects")
    try:
        await run_git(
            *("read-tree", "-m", "-u", workspace.base),
            git_dir=workspace.view,
            work_tree=workspace.path,
            env=env,
            config=further,
            timeout_s=CHECKOUT_TIMEOUT_S,
        )
    except GitError as error:
        if not workspace.checkout.lfs:
            raise
        raise FailedPrecondition(
            f"The files in Git LFS could not be fetched: {error.result.error}",
            reason="LFS_FAILED",
            remedy="Check that git-lfs is installed where runs are carried out, and that the source has the files"
            " (git lfs fetch); or leave `checkout.lfs` out.",
            metadata={"commit": workspace.base},
        ) from error
    await asyncio.to_thread(shutil.copy2, index, workspace.index)


async def open_view(workspace: Workspace, head: str) -> Path:
    """A git directory in which ``HEAD`` is the commit ``head`` and the index its tree, for others who ask git about the
    work tree: the ``.git`` in it is the agent's to write."""
    (workspace.view / "HEAD").write_text(f"{head}\n")
    index = workspace.view / "index"
    if workspace.index.exists():
        await asyncio.to_thread(shutil.copy2, workspace.index, index)
    await run_git(
        *("read-tree", "--reset", head),
        git_dir=workspace.view,
        work_tree=workspace.path,
        env={"GIT_INDEX_FILE": str(index)},
        config=config(workspace),
    )
    return workspace.view


def sparse_patterns(directories: Sequence[str]) -> str:
    """The file ``info/sparse-checkout`` in cone mode: files at the top and in every directory above one of
    ``directories``, and all below those.

    >>> print(sparse_patterns(["a/b"]), end="")
    /*
    !/*/
    /a/
    !/a/*/
    /a/b/
    """
    leaves = {path.strip("/") for path in directories}
    leaves = {path for path in leaves if not any(str(parent) in leaves for parent in Path(path).parents)}
    parents = {str(parent) for path in leaves for parent in Path(path).parents} - {"."}
    lines = ["/*", "!/*/"]
    for path in sorted(leaves | parents):
        lines += [f"/{path}/"] if path in leaves else [f"/{path}/", f"!/{path}/*/"]
    return "\n".join(lines) + "\n"


def _make_view(workspace: Workspace) -> None:
    view = workspace.view
    shutil.rmtree(view, ignore_errors=True)  # of a worktree of this name whose making was killed
    view.mkdir(mode=0o700)
    (view / "HEAD").write_text(f"{workspace.base}\n")
    (view / "commondir").write_text("../..\n")


async def _allow_worktree_config(mirror: Mirror, lock: int) -> None:
    """Let each worktree have configuration of its own, once; then ``core.bare`` must be the bare repository's alone.

    At once by a rename: other worktrees read the file meanwhile.
    """
    file = mirror.path / "config"
    asked = await run_git("config", "--file", str(file), "extensions.worktreeConfig", check=False)
    if asked.text == "true":
        return
    (mirror.path / "config.worktree").write_text("[core]\n\tbare = true\n")
    draft = file.with_name(f"config.{secrets.token_hex(4)}")
    await asyncio.to_thread(shutil.copyfile, file, draft)
    for words in (("extensions.worktreeConfig", "true"), ("--unset-all", "core.bare")):
        await run_git("config", "--file", str(draft), *words, check=False, pass_fd=lock)
    os.replace(draft, file)


def lfs_url(origin: Origin) -> tuple[str, ...]:
    """Said on the command line, it beats a ``.lfsconfig`` of the repository, which could name any host."""
    if not origin.remote:
        return ("lfs.url=https://127.0.0.1:9/nowhere",)  # what its own store lacks is not fetched from anywhere
    url = origin.location.removesuffix(".git")
    return (f"lfs.url={url}.git/info/lfs",)
