"""Which runs of a batch wait for which: what is wrong with it, and what follows from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from autopack_orchestrator.core.model import RunSpec

__all__ = ["MAX_NEEDS", "before", "problems_with_needs"]

MAX_NEEDS = 20  # each is a merge; a run that needs more is better written as one that needs a run which needs them
MAX_SHOWN = 10  # names of a cycle in a message


def problems_with_needs(runs: Sequence[RunSpec]) -> Iterator[tuple[str, str]]:
    """Every problem with its field: unknown names, the run itself, a name twice, too many, and one cycle."""
    positions = {run.name: index for index, run in enumerate(runs)}
    sound = True
    for index, run in enumerate(runs):
        if len(run.needs) > MAX_NEEDS:
            yield f"runs[{index}].needs", f"has {len(run.needs)} names; at most {MAX_NEEDS}"
            sound = False
            continue
        for number, name in enumerate(run.needs):
            if problem := _problem(run, number, name, positions):
                yield f"runs[{index}].needs[{number}]", problem
                sound = False
    if sound and (cycle := _cycle(runs)):
        shown = " -> ".join(cycle[:MAX_SHOWN]) + (" -> ..." if len(cycle) > MAX_SHOWN else "")
        yield f"runs[{positions[cycle[0]]}].needs", f"is a circle in which none can begin: {shown}"


def _problem(run: RunSpec, number: int, name: str, positions: Mapping[str, int]) -> str | None:
    if name == run.name:
        return "is the run itself"
    if name not in positions:
        return f"{name[:80]!r} is no run of this batch"
    if name in run.needs[:number]:
        return f"{name[:80]!r} is named twice"
    return None


def _cycle(runs: Sequence[RunSpec]) -> list[str]:
    """The names of one cycle, each needing the next, the first again at the end; empty if there is none."""
    try:
        TopologicalSorter({run.name: run.needs for run in runs}).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found[::-1]  # graphlib lists each before the one that needs it
    return []


def before(runs: Sequence[RunSpec]) -> dict[str, frozenset[str]]:
    """All runs that have ended when a run begins, directly needed or not. The runs have no problem with needs."""
    needs = {run.name: run.needs for run in runs}
    found: dict[str, frozenset[str]] = {}
    for name in TopologicalSorter(needs).static_order():
        found[name] = frozenset(needs[name]).union(*(found[needed] for needed in needs[name]))
    return found
