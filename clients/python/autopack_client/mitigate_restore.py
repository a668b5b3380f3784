"""restore_out_of_scope: brings files back to the base commit. Used by the applier alone."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Sequence
from pathlib import Path

from autopack_api.hardening.v1.hardening_pb2 import RestoreOutOfScope
from autopack_kit.globs import out_of_scope

from autopack_client.mitigate_git import Git, inside

__all__ = ["Reverter"]


class Reverter:
    """Checks, in one workspace, what may be reverted, and reverts it. Blocking."""

    def __init__(
        self, workspace: Path, git: Git, base_commit: str | None, scope: Sequence[str], *, interactive: bool
    ) -> None:
        self._workspace = workspace
        self._git = git
        self._base = base_commit
        self._scope = scope
        self._interactive = interactive

    def check(self, restore: RestoreOutOfScope) -> Iterator[str]:
        """Why the paths are not reverted."""
        if self._interactive:
            yield "in a person's own checkout nothing is reverted"
        if not self._git.is_work_tree() or not self._base or self._git.commit(self._base) is None:
            yield "without git and a base commit nothing can be restored"
            return
        outside = out_of_scope(restore.paths, self._scope)
        for path in restore.paths:
            place = inside(self._workspace, path)
            if place is None or posixpath.normpath(path).partition("/")[0] == ".git":
                yield f"{path!r} leads out of the workspace"
            elif path not in outside:
                yield f"{path} is inside the scope"
            elif place.is_dir() and not place.is_symlink():
                yield f"{path} is a directory; files are restored one by one"

    def restore(self, restore: RestoreOutOfScope) -> tuple[str, ...]:
        """Brings the paths back to the base; those that it does not have are removed, and returned."""
        base = self._git.commit(self._base or "")
        assert base is not None  # checked
        at_base = self._git.listed(base, restore.paths)
        added = [path for path in restore.paths if path not in at_base and os.path.lexists(self._workspace / path)]
        self._git.restore([path for path in restore.paths if path in at_base], base)
        for path in added:
            (self._workspace / path).unlink()
        return tuple(added)
