"""What the caller says about the files of the workspace, indexed for the questions of the rules."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from functools import cached_property

__all__ = ["Workspace", "is_inside", "join", "relative_to"]

# Directories whose content is installed, generated or somebody else's: nobody means them by a relative path.
_FOREIGN = frozenset(
    [
        ".git", ".hg", ".svn", ".venv", "venv", ".tox", ".nox", "node_modules", "site-packages", "__pycache__",
        "vendor", "third_party", ".mypy_cache", ".pytest_cache", ".ruff_cache", "dist", "build", "target",
    ]
)  # fmt: skip


class Workspace:
    """Paths relative to the workspace; directories are those listed and every parent of what is listed."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = tuple(paths)

    @property
    def known(self) -> bool:
        """Whether the caller sent any path: an absent file is only known to be absent if so."""
        return bool(self._paths)

    @cached_property
    def files(self) -> frozenset[str]:
        """Every file that lies in no foreign directory."""
        return frozenset(path for path in self._paths if not path.endswith("/") and not _is_foreign(path))

    @cached_property
    def directories(self) -> frozenset[str]:
        """Every directory that lies in no foreign one, the root as ``"."``."""
        found = {"."}
        for path in self._paths:
            parent = path.rstrip("/") if path.endswith("/") else posixpath.dirname(path)
            while parent and parent not in found and not _is_foreign(parent):
                found.add(parent)
                parent = posixpath.dirname(parent)
        return frozenset(found)

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        """Files and directories by their last component: rules ask for some dozens of some ten thousand."""
        found: dict[str, list[str]] = {}
        for path in (*self.files, *self.directories):
            found.setdefault(posixpath.basename(path), []).append(path)
        return found

    def has(self, path: str) -> bool:
        """Whether ``path`` itself is known, in a foreign directory too: for what a tool names as its own."""
        path = posixpath.normpath(path)
        return not {path, f"{path}/"}.isdisjoint(self._paths) or self.exists(path)

    def exists(self, path: str) -> bool:
        """Whether a file or directory is known at ``path``, which lies in no foreign directory."""
        path = posixpath.normpath(path)
        return path in self.files or path in self.directories

    def directories_with(self, target: str) -> list[str]:
        """Directories in which the relative path ``target`` exists, sorted."""
        target = posixpath.normpath(target)
        suffix = "/" + target
        named = self._by_name.get(posixpath.basename(target), ())
        found = {path[: -len(suffix)] for path in named if path.endswith(suffix)}
        return sorted(found | {"."} if self.exists(target) else found)


def join(directory: str, path: str) -> str:
    """``path`` in ``directory``, both relative to the workspace, normalised."""
    return posixpath.normpath(posixpath.join(directory, path))


def relative_to(path: str, directory: str) -> str:
    """``path`` as seen from ``directory``, both relative to the workspace."""
    return posixpath.relpath(posixpath.join("/", path), posixpath.join("/", directory))


def is_inside(path: str, directory: str) -> bool:
    """Whether ``path`` is ``directory`` or below it, both relative to the workspace."""
    path, directory = posixpath.normpath(path), posixpath.normpath(directory)
    return directory == "." or path == directory or path.startswith(directory + "/")


def _is_foreign(path: str) -> bool:
    return not _FOREIGN.isdisjoint(path.split("/"))
