"""Which runs of a batch may change the same files although they work at the same time.

Decided from their scopes alone, and in doubt for a warning: whether two globs can match one path is asked segment by
segment, and of a segment with wildcards only the plain text at its two ends counts. But a warning that is always there
is read by nobody, so two things are taken for what they mostly mean: a plain name (``docs/``) for the one in the root,
and a pattern with an ending (``*.py``) for files.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from autopack_orchestrator.core.model import RunSpec
from autopack_orchestrator.core.needs import before

__all__ = ["can_overlap", "overlap_warnings"]

MAX_WARNINGS = 10  # somebody who reads ten of them knows what is the matter
MAX_COMPARED = 20_000  # pairs of globs, under 100 ms; a batch of 1,000 runs with 200 globs each has 20 billion
_ANY = "**"
_WILD = re.compile(r"[*?\[\\]")


def overlap_warnings(runs: Sequence[RunSpec]) -> tuple[str, ...]:
    """A warning for each pair of parallel runs that both have a scope and may change the same path.

    A run without a scope may change everything, which is no news. A run that begins after another has ended does not
    work beside it.
    """
    scoped = [run for run in runs if run.intention.scope]
    if len(scoped) < 2:
        return ()
    ordered = before(runs)
    pairs: list[str] = []
    left = MAX_COMPARED
    for index, one in enumerate(scoped):
        for other in scoped[index + 1 :]:
            if one.name in ordered[other.name] or other.name in ordered[one.name]:
                continue
            left -= len(one.intention.scope) * len(other.intention.scope)
            if left < 0:
                return _told(pairs, complete=False)
            if glob := _common(one.intention.scope, other.intention.scope):
                pairs.append(
                    f"{one.name} ({glob[0][:80]}) and {other.name} ({glob[1][:80]}) may change the same files, and "
                    "their branches then conflict; let one need the other, or make their scopes disjoint"
                )
    return _told(pairs, complete=True)


def _told(pairs: Sequence[str], *, complete: bool) -> tuple[str, ...]:
    told = list(pairs[:MAX_WARNINGS])
    if len(pairs) > MAX_WARNINGS:
        told.append(f"{len(pairs) - MAX_WARNINGS} more pairs of runs may change the same files")
    if not complete:
        told.append("not all scopes were compared with each other: there are too many globs")
    return tuple(told)


def _common(ours: Sequence[str], theirs: Sequence[str]) -> tuple[str, str] | None:
    for own in ours:
        for other in theirs:
            if can_overlap(own, other):
                return own, other
    return None


@lru_cache(maxsize=4096)
def can_overlap(own: str, other: str) -> bool:
    """Whether some path may match both globs, each a line of ``.gitignore``; one that excludes matches nothing."""
    if own.startswith("!") or other.startswith("!"):
        return False
    return _meet(_segments(own), _segments(other))


def _segments(glob: str) -> tuple[str, ...]:
    """The glob as the segments of whole paths: what it matches may be a directory, and then all below it counts."""
    parts = [part for part in glob.strip("/").split("/") if part]
    anywhere = "/" not in glob.rstrip("/") and _WILD.search(glob) is not None
    ends = _ends(parts[-1]) if parts and not glob.endswith("/") else None
    files = ends is not None and "." in ends[1]
    return (*((_ANY,) if anywhere else ()), *parts, *(() if files else (_ANY,)))


def _meet(own: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether some sequence of names matches both sequences of segments."""
    # reachable[j]: what is consumed of `own` and the first j of `other` can be the same names
    reachable = _closed({0}, other)
    for segment in own:
        if segment == _ANY:
            reachable = set(range(min(reachable, default=len(other) + 1), len(other) + 1))
            continue
        stepped = set()
        for j in reachable:
            if j < len(other) and other[j] == _ANY:
                stepped.add(j)
            elif j < len(other) and _same_name(segment, other[j]):
                stepped.add(j + 1)
        reachable = _closed(stepped, other)
    return len(other) in reachable


def _closed(places: set[int], segments: tuple[str, ...]) -> set[int]:
    """With the places after every ``**`` that stands for no name at all."""
    found = set(places)
    for j, segment in enumerate(segments):
        if j in found and segment == _ANY:
            found.add(j + 1)
    return found


def _same_name(own: str, other: str) -> bool:
    """Whether one name may match both segments."""
    ends, other_ends = _ends(own), _ends(other)
    if ends is None and other_ends is None:
        return own == other
    first, last = ends or (own, own)
    other_first, other_last = other_ends or (other, other)
    return (first.startswith(other_first) or other_first.startswith(first)) and (
        last.endswith(other_last) or other_last.endswith(last)
    )


def _ends(segment: str) -> tuple[str, str] | None:
    """The plain text at both ends of a segment; None if it is all plain."""
    found = _WILD.search(segment)
    if found is None:
        return None
    last = re.split(r"[*?\]]", segment)[-1]
    return segment[: found.start()], "" if "\\" in last or "[" in last else last
