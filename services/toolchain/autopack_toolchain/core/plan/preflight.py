"""What is checked before anything runs: protected paths, the size of the scope, files to be created."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from pathspec import GitIgnoreSpec

from ..model import Evidence
from ..tree import FileTree
from .globs import of_file
from .knowledge import Knowledge, Protection
from .located import Located
from .model import Category, Part, Policy, Preflight, ProtectedPath, ScopeGlob, ScopeKind

__all__ = ["check"]

MAX_FILES = 100
"""Files in the scope of a phase: with more of them the scope guards little."""

MAX_BYTES = 50 << 20
"""Bytes in the scope of a phase."""

MAX_SIZED = 2_000
"""Files whose size is asked for."""

MAX_PROTECTED = 50
"""Protected paths that are listed."""


def check(found: Located, tree: FileTree, category: Category | None, known: Knowledge) -> Preflight:
    """Takes out of the scope what must not be changed unasked, and tells what else stands in the way."""
    protected = list(_protected(found, category, known))
    for path in [path for path in found.new_files if not found.covers(path)]:
        del found.new_files[path]
    files = [path for path in found.files() if not any(item.path == path and not item.allowed for item in protected)]
    stats = (tree.stat(path) for path in files[:MAX_SIZED])
    size = sum(stat.size for stat in stats if stat is not None)
    if len(files) > MAX_FILES:
        message = f"{len(files):,} files are in scope, over {MAX_FILES}: it guards little."
        found.warn("SCOPE_TOO_WIDE", f"{message} Name the files or directories that are meant.")
    if size > MAX_BYTES:
        found.warn(
            "SCOPE_TOO_LARGE",
            f"The files in scope have {size:,} bytes, over {MAX_BYTES:,}; name the ones that are meant.",
        )
    return Preflight(tuple(sorted(found.new_files)), tuple(protected), len(files), size)


def _protected(found: Located, category: Category | None, known: Knowledge) -> Iterable[ProtectedPath]:
    """The protected paths of the scope, each once; those that are not allowed leave it."""
    paths = sorted({*found.files(), *found.new_files, *(path for path in found.paths_in_scope())})
    hits = [path for path in paths if _all_protected(known).match_file(path)]
    for path in hits[:MAX_PROTECTED]:
        protection = next((p for p in known.protections if _matches(p, path)), None)
        if protection is None:
            continue
        named = _named(found, path, protection)
        allowed = protection.policy is Policy.ASKED and (named is not None or category in protection.categories)
        if allowed and category not in protection.categories:
            message = (
                f"{path} is in scope because the plan asks for it ({protection.reason}); look at this change twice."
            )
            found.warn("PROTECTED_PATH_IN_SCOPE", message, path)
        elif not allowed:
            _take_out(found, path, named, protection)
        yield ProtectedPath(path, protection.policy, protection.reason, allowed)


def _take_out(found: Located, path: str, named: str | None, protection: Protection) -> None:
    evidence = Evidence(path, 0, protection.reason.lower().replace("_", " "), 1.0)
    if named is not None:
        lines = ", ".join(str(item.line) for item in found.include[named].evidence)
        found.include.pop(named)
        message = f"Line {lines}: {path} is never changed by a run ({protection.reason}) and was left out."
        found.warn("PROTECTED_PATH", f"{message} Change it yourself.", path)
    found.exclude.setdefault(of_file(path), ScopeGlob(of_file(path), ScopeKind.FILE, 1.0, (evidence,)))
    found.decide(Part.PREFLIGHT, path, f"!{of_file(path)}", protection.reason, (evidence,))


def _named(found: Located, path: str, protection: Protection) -> str | None:
    """The glob by which the text names exactly this path, or the protected directory that it lies in."""
    for glob in found.include:
        place = found.paths.get(glob)
        if place == path or (place is not None and path.startswith(f"{place}/") and _matches(protection, f"{place}/x")):
            return glob
    return None


def _matches(protection: Protection, path: str) -> bool:
    return _spec(protection.globs).match_file(path) and not _spec(protection.excepted).match_file(path)


def _all_protected(known: Knowledge) -> GitIgnoreSpec:
    return _spec(tuple(glob for protection in known.protections for glob in protection.globs))


@lru_cache(maxsize=32)
def _spec(globs: tuple[str, ...]) -> GitIgnoreSpec:
    return GitIgnoreSpec.from_lines(globs, backend="re2")
