"""A path that a text names becomes part of the scope, or a warning that says why not."""

from __future__ import annotations

from difflib import get_close_matches

from ..model import Evidence
from .globs import of_directory
from .layout import Match, parent_of
from .located import Located
from .mentions import Mention
from .model import Part, ScopeGlob, ScopeKind

__all__ = ["NAMED", "refer", "take"]

NAMED = 0.95
"""The text names what exists."""

_SEVERAL = 0.75
"""It names something of which there are two or three."""

_CREATED = 0.9
_CREATED_SOMEWHERE = 0.5
"""It names a file to be created, in a directory that is there or not."""

_NEEDS_FILE = frozenset({"fix", "remove", "upgrade", "speed", "secure", "document", "change", "investigate"})
"""Actions on files that are there: a path that is missing is likely misspelt."""

_CREATES = frozenset({"create", "move", "restructure"})
"""Actions that may make a directory: one that is missing is no slip."""

MAX_HINTS = 10
"""Missing paths of a phase for which others are suggested: each compares thousands of names."""

MAX_SUGGESTIONS = 5
"""Candidates named in a warning."""

MAX_COMPARED = 2_000
"""Names that a misspelt one is compared with: milliseconds."""


def take(found: Located, mention: Mention, evidence: Evidence, *, action: str = "", sure: float = NAMED) -> float:
    """Takes a path into the scope.

    Args:
        found: where it goes.
        mention: the path.
        evidence: its place in the text.
        action: of the deliverable that names it.
        sure: how surely it is meant if it exists.

    Returns:
        How sure that is; 0 if it could not be taken, which is a warning.
    """
    resolution = mention.resolution
    match resolution.match:
        case Match.FILE | Match.DIRECTORY:
            several = len(resolution.paths) > 1
            confidence = min(sure, _SEVERAL) if several else sure
            for path in resolution.paths:
                found.add_path(
                    path, confidence, "SEVERAL_OF_THIS_NAME" if several else "PATH_EXISTS", mention.text, evidence
                )
            return confidence
        case Match.PATTERN:
            found.add(
                ScopeGlob(resolution.paths[0], ScopeKind.PATTERN, sure, (evidence,)), "PATTERN_MATCHES", mention.text
            )
            return sure
        case Match.NEW:
            return _create(found, mention, evidence, action)
        case Match.NEW_DIRECTORY:
            return _create_directory(found, mention, evidence, action)
        case _:
            _refuse(found, mention, evidence)
            return 0.0


def refer(found: Located, mention: Mention, evidence: Evidence, reason: str) -> None:
    """Takes a path into what is to be read."""
    if mention.resolution.match in (Match.FILE, Match.DIRECTORY):
        for path in mention.resolution.paths:
            found.read(path, reason, evidence)
            found.decide(Part.CONTEXT, mention.text, path, reason, (evidence,))


def _create(found: Located, mention: Mention, evidence: Evidence, action: str) -> float:
    path = mention.resolution.paths[0]
    known = mention.resolution.known_parent
    if "/" not in path:
        beside = {parent_of(place) for place in found.places() if place in found.layout.files}
        alike = found.layout.directories_of(path.rpartition(".")[2])
        beside = alike if len(alike) == 1 else beside
        if len(beside) == 1:
            directory = beside.pop()
            path, known = (path if directory == "." else f"{directory}/{path}"), True
    planned = found.layout.is_planned(path)
    known = known or any(path.startswith(f"{place}/") for place in found.paths_in_scope())
    if action in _NEEDS_FILE and not planned:
        _warn_missing(found, mention.text, path, evidence)
    if "/" not in path and not known:
        # Without a slash a glob matches in every directory.
        found.add(
            ScopeGlob(path, ScopeKind.NEW_FILE, _CREATED_SOMEWHERE, (evidence,)), "NEW_FILE_SOMEWHERE", mention.text
        )
        message = (
            f"Line {evidence.line}: {path} is to be created, and the text does not say where; write its path in full."
        )
        found.warn("NEW_FILE_SOMEWHERE", message, path)
        found.new_files[path] = False
        return _CREATED_SOMEWHERE
    confidence = _CREATED if known else _CREATED_SOMEWHERE
    found.add_path(path, confidence, "PLANNED_EARLIER" if planned else "NEW_FILE", mention.text, evidence)
    if path not in found.layout.planned:
        found.new_files[path] = known
    if not known:
        _warn_directory(found, path, evidence)
    return confidence


def _create_directory(found: Located, mention: Mention, evidence: Evidence, action: str) -> float:
    path = mention.resolution.paths[0]
    known = mention.resolution.known_parent or action in _CREATES
    confidence = _CREATED if known else _CREATED_SOMEWHERE
    glob = ScopeGlob(of_directory(path), ScopeKind.DIRECTORY, confidence, (evidence,))
    found.paths[glob.glob] = path
    found.add(glob, "PLANNED_EARLIER" if found.layout.is_planned(path) else "NEW_DIRECTORY", mention.text)
    if not known:
        _warn_directory(found, path, evidence)
    return confidence


def _warn_missing(found: Located, text: str, path: str, evidence: Evidence) -> None:
    name = path.rpartition("/")[2].lower()
    told = sum(reason == "PATH_NOT_FOUND" for reason, _ in found.warnings)
    names = found.layout.names_like(name)[:MAX_COMPARED] if told < MAX_HINTS else ()
    close = get_close_matches(name, names, n=2, cutoff=0.8)
    places = [other for hit in close for other in found.layout.files_named(hit)][:MAX_SUGGESTIONS]
    hint = f"Did you mean {', '.join(places)}?" if places else "Check the spelling."
    message = f"Line {evidence.line}: {text} is not there and is taken for a file to be created. {hint}"
    found.warn("PATH_NOT_FOUND", message, path)


def _warn_directory(found: Located, path: str, evidence: Evidence) -> None:
    message = f"Line {evidence.line}: {path} needs a directory that is not there."
    found.warn("NEW_DIRECTORY", f"{message} Check the spelling, or ignore this if it is new.", path)


def _refuse(found: Located, mention: Mention, evidence: Evidence) -> None:
    resolution = mention.resolution
    place = f"Line {evidence.line}: {mention.text}"
    paths = resolution.paths[:MAX_SUGGESTIONS]
    match resolution.match:
        case Match.AMBIGUOUS:
            message = f"{place} may be any of {len(resolution.paths)} ({', '.join(paths)}); write the path in full."
            found.warn("AMBIGUOUS_PATH", message, *paths)
        case Match.OUTSIDE:
            message = f"{place} lies outside of the repository and was left out; name a path inside."
            found.warn("PATH_OUTSIDE", message, mention.text)
        case _:
            message = f"{place} lies in a directory of installed or generated files and was left out."
            found.warn("PATH_IGNORED", f"{message} Name what it is made from.", mention.text)
    found.decide(Part.SCOPE, mention.text, "", resolution.match.name, (evidence,))
