"""What is checked before anything runs: protected paths, the size of the scope, files to be created."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from pathspec import GitIgnoreSpec

from ..model import Evidence
from ..tree import FileTree
from .globs import of_file
from .knowledge import Knowledge, Protection
from .located import Located
from .model import Category, Part, Policy, Preflight, ProtectedPath, ScopeGlob, ScopeKind

__all__ = ["MAX_PROTECTED", "check", "protected_paths"]

MAX_FILES = 100
"""Files in the scope of a phase: with more of them the scope guards little."""

MAX_BYTES = 50 << 20
"""Bytes in the scope of a phase."""

MAX_SIZED = 2_000
"""Files whose size is asked for."""

MAX_PROTECTED = 50
"""Protected paths of one kind that are excluded and listed one by one; more of them are excluded by patterns."""


def protected_paths(paths: Sequence[str], known: Knowledge) -> list[str]:
    """The protected files of a tree: asked for once, whatever the phases are."""
    spec = _spec(tuple(glob for protection in known.protections for glob in protection.globs))
    return [path for path in paths if spec.match_file(path)]


def check(
    found: Located, tree: FileTree, protected: Sequence[str], category: Category | None, known: Knowledge
) -> Preflight:
    """Takes out of the scope what must not be changed unasked, and tells what else stands in the way.

    Args:
        found: the scope.
        tree: the repository.
        protected: what :func:`protected_paths` says of it.
        category: of the phase.
        known: the registry.
    """
    candidates = [path for path in protected if found.covers(path)]
    candidates += protected_paths([path for path in found.paths_in_scope() if path not in found.layout.files], known)
    told = list(_protected(found, list(dict.fromkeys(candidates)), category, known))
    for path in [path for path in found.new_files if not found.covers(path)]:
        del found.new_files[path]
    kept_out = {item.path for item in told if not item.allowed}
    files = [path for path in found.files() if path not in kept_out]
    stats = (tree.stat(path) for path in files[:MAX_SIZED])
    size = sum(stat.size for stat in stats if stat is not None)
    if len(files) > MAX_FILES:
        message = f"{len(files):,} files are in scope, over {MAX_FILES}: it guards little."
        found.warn("SCOPE_TOO_WIDE", f"{message} Name the files or directories that are meant.")
    if size > MAX_BYTES:
        message = f"The files in scope have {size:,} bytes, over {MAX_BYTES:,}; name the ones that are meant."
        found.warn("SCOPE_TOO_LARGE", message)
    return Preflight(tuple(sorted(found.new_files)), tuple(told[:MAX_PROTECTED]), len(files), size)


def _protected(
    found: Located, paths: Sequence[str], category: Category | None, known: Knowledge
) -> Iterator[ProtectedPath]:
    """Those of the paths that are protected; those that are not allowed leave the scope."""
    for protection in known.protections:
        mine = [path for path in paths if _matches(protection, path)]
        for path in mine:
            named = _named(found, path, protection)
            allowed = protection.policy is Policy.ASKED and (named is not None or category in protection.categories)
            if allowed and category not in protection.categories:
                message = f"{path} is in scope because the plan asks for it ({protection.reason})."
                found.warn("PROTECTED_PATH_IN_SCOPE", f"{message} Look at this change twice.", path)
            elif not allowed:
                _take_out(found, path, named, protection, by_pattern=len(mine) > MAX_PROTECTED)
            yield ProtectedPath(path, protection.policy, protection.reason, allowed)


def _take_out(found: Located, path: str, named: str | None, protection: Protection, *, by_pattern: bool) -> None:
    evidence = Evidence(path, 0, protection.reason.lower().replace("_", " "), 1.0)
    if named is not None:
        lines = ", ".join(str(item.line) for item in found.include[named].evidence)
        found.include.pop(named)
        message = f"Line {lines}: {path} is never changed by a run ({protection.reason}) and was left out."
        found.warn("PROTECTED_PATH", f"{message} Change it yourself.", path)
    kind = ScopeKind.PATTERN if by_pattern else ScopeKind.FILE
    for glob in protection.globs if by_pattern else (of_file(path),):
        found.exclude.setdefault(glob, ScopeGlob(glob, kind, 1.0, (evidence,)))
        found.decide(
            Part.PREFLIGHT, protection.reason if by_pattern else path, f"!{glob}", protection.reason, (evidence,)
        )


def _named(found: Located, path: str, protection: Protection) -> str | None:
    """The glob by which the text names exactly this path, or the protected directory that it lies in."""
    for glob in found.include:
        place = found.paths.get(glob)
        if place == path or (place is not None and path.startswith(f"{place}/") and _matches(protection, f"{place}/x")):
            return glob
    return None


def _matches(protection: Protection, path: str) -> bool:
    return _spec(protection.globs).match_file(path) and not _spec(protection.excepted).match_file(path)


@lru_cache(maxsize=32)
def _spec(globs: tuple[str, ...]) -> GitIgnoreSpec:
    return GitIgnoreSpec.from_lines(globs, backend="re2")
