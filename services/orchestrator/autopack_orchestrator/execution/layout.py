"""Where things are on disk: one directory per orchestrator, nothing outside it but the branches it delivers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from autopack_orchestrator.core.model import Run

__all__ = ["Layout"]


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths under the orchestrator's directory.

    ``mirrors/`` private bare mirrors, ``workspaces/`` worktrees of runs that are being worked on, ``runs/<batch>/<run>/
    attempt-<n>/`` log, patch, context and executions of each attempt.
    """

    root: Path

    @property
    def mirrors(self) -> Path:
        """Private bare mirrors, one per source repository."""
        return self.root / "mirrors"

    @property
    def workspaces(self) -> Path:
        """Worktrees; whatever is in here belongs to a run."""
        return self.root / "workspaces"

    @property
    def uploads(self) -> Path:
        """Uploaded bundles, until they expire."""
        return self.root / "uploads"

    @property
    def all_caches(self) -> Path:
        """What package managers have downloaded, in a directory per tenant."""
        return self.root / "caches"

    def caches(self, tenant: str) -> Path:
        """Caches that the runs of one tenant share; touched by each command that has them."""
        return self.all_caches / hashlib.sha256(tenant.encode()).hexdigest()[:16]

    def workspace_id(self, run: Run) -> str:
        """The name of the worktree of the run's attempt."""
        return f"{run.run_id}-{run.attempt}"

    def workspace(self, run: Run) -> Path:
        """The worktree of the run's attempt."""
        return self.workspaces / self.workspace_id(run)

    def attempt_of(self, batch_id: str, name: str, attempt: int) -> Path:
        """Directory of an attempt."""
        return self.root / "runs" / batch_id / name / f"attempt-{attempt}"

    def attempt(self, run: Run) -> Path:
        """Directory of the run's current attempt."""
        return self.attempt_of(run.batch_id, run.name, run.attempt)

    @property
    def all_results(self) -> Path:
        """Logs and patches, in a directory per batch."""
        return self.root / "runs"

    def results(self, batch_id: str) -> Path:
        """Logs and patches of a batch."""
        return self.all_results / batch_id

    def removed_mark(self, batch_id: str) -> Path:
        """Exists once logs and patches of the batch were removed to make room."""
        return self.results(batch_id) / ".removed"

    def log(self, batch_id: str, name: str, attempt: int) -> Path:
        """What the commands of an attempt printed, in order."""
        return self.attempt_of(batch_id, name, attempt) / "log"

    def patch(self, run: Run) -> Path:
        """The patch of the run's current attempt."""
        return self.attempt(run) / "patch"
