"""What we know about each worktree, kept outside of any worktree: written before git is asked, deleted after all is
gone.

So after a crash at any point, what is left is exactly what a record names.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path

import structlog
from autopack_kit.errors import invalid_field

from autopack_orchestrator.core.sources import WHOLE, Checkout

from .mirror import Mirror
from .names import worktree_name_problem

__all__ = ["Workspace", "discard_torn", "forget", "list_workspaces", "save"]

MARKER = "autopack:"  # how the reason of a worktree's lock begins
TORN = ".torn"  # behind the name of a record that says nothing any more

_log = structlog.get_logger("autopack.orchestrator")


@dataclass(frozen=True, slots=True)
class Workspace:
    """A run's own worktree.

    Attributes:
        base: commit it began with.
        branch: without ``refs/heads/``.
        run_id: unique per worktree (a second attempt has its own).
        git_dir: its administrative directory below the mirror; None until git made it.
        ready: the checkout is complete; before that no agent has ever been in it.
        checkout: what of the commit was checked out.
        private: paths from the top that are never part of a result: untracked files of the user's that were copied.
    """

    mirror: Mirror
    run_id: str
    branch: str
    base: str
    path: Path
    git_dir: Path | None = None
    ready: bool = False
    checkout: Checkout = WHOLE
    private: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if problem := worktree_name_problem(self.run_id):
            raise invalid_field("run_id", f"{self.run_id[:80]!r} {problem}", reason="INVALID_NAME")

    @property
    def record(self) -> Path:
        return self.mirror.records / f"{self.run_id}.json"

    @property
    def index(self) -> Path:
        """Our own index of this worktree, which no agent writes."""
        return self.mirror.records / f"{self.run_id}.index"

    @property
    def view(self) -> Path:
        """A git directory of our own for this worktree alone: objects and configuration of the trusted one, and its own
        HEAD, index and sparse patterns."""
        return self.mirror.records / f"{self.run_id}.git"

    @property
    def reason(self) -> str:
        """The reason with which git's worktree lock is held: our marker."""
        return f"{MARKER}{self.run_id}"

    @property
    def age_s(self) -> float:
        """Seconds since the record was last written."""
        with contextlib.suppress(FileNotFoundError):
            return time.time() - self.record.stat().st_mtime
        return 0.0


def save(workspace: Workspace, **changes: Path | bool | tuple[str, ...]) -> Workspace:
    """Write the record atomically, with ``changes`` applied; returns the changed workspace.

    Not forced to disk, which would hold the event loop: a record that a power failure tore is set aside with a warning.
    Not in a thread either: the collector relies on no record appearing while it lists them.
    """
    workspace = replace(workspace, **changes)  # type: ignore[arg-type]  # callers name fields with their types
    content = {
        "branch": workspace.branch,
        "base": workspace.base,
        "path": str(workspace.path),
        "git_dir": str(workspace.git_dir) if workspace.git_dir else None,
        "ready": workspace.ready,
        "sparse_paths": workspace.checkout.sparse_paths,
        "lfs": workspace.checkout.lfs,
        "private": workspace.private,
    }
    temporary = workspace.record.with_suffix(f".tmp{os.getpid()}")
    temporary.write_text(json.dumps(content))
    temporary.rename(workspace.record)
    return workspace


def forget(workspace: Workspace) -> None:
    """Delete the record and our index; the last step of a removal."""
    for path in workspace.mirror.records.glob(f"{workspace.run_id}.index*"):
        path.unlink(missing_ok=True)
    shutil.rmtree(workspace.view, ignore_errors=True)
    workspace.record.unlink(missing_ok=True)


def discard_torn(mirror: Mirror, min_age_s: float) -> None:
    """Delete what a process that was killed while it wrote a record left of it."""
    for path in mirror.records.glob("*.tmp*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime >= min_age_s:
                path.unlink()


def list_workspaces(mirror: Mirror) -> list[Workspace]:
    """All worktrees of ``mirror`` that exist or began to.

    A torn record (a disk that lost what it had confirmed) is set aside with a warning, so that it does not keep
    everything else from working. Its worktree and branch are not touched: only a person can say what they are worth.
    """
    found = []
    for record in sorted(mirror.records.glob("*.json")):
        with contextlib.suppress(FileNotFoundError):  # removed meanwhile
            try:
                found.append(_read(mirror, record))
            except (ValueError, TypeError, KeyError) as error:
                _set_aside(record, error)
    return found


def _read(mirror: Mirror, record: Path) -> Workspace:
    content = json.loads(record.read_bytes())
    git_dir = Path(content["git_dir"]) if content["git_dir"] else None
    path = Path(content["path"])
    checkout = Checkout(tuple(content.get("sparse_paths", ())), lfs=content.get("lfs", False))
    return Workspace(
        *(mirror, record.stem, content["branch"], content["base"], path, git_dir, content["ready"]),
        checkout=checkout,
        private=tuple(content.get("private", ())),
    )


def _set_aside(record: Path, error: Exception) -> None:
    aside = record.with_name(record.name + TORN)
    record.rename(aside)
    _log.warning(
        "worktree_record_torn",
        record=str(aside),
        error=str(error),
        remedy=f"Save what you need of the worktree {record.stem!r} in the directory workspaces, then delete it and "
        "this file.",
    )
