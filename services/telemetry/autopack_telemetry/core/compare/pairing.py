"""From runs to pairs: by the recorded task, or as the caller says, with everything that is left out and why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from autopack_kit.errors import FailedPrecondition, invalid_field

from autopack_telemetry.core.compare.model import Design, Excluded, Exclusion, Pair, PairSpec, RunMeasures, RunProperty
from autopack_telemetry.core.plural import counted

__all__ = ["check_runs_once", "match"]

NAMED = 3
"""Values that a sentence names."""


def check_runs_once(design: Design) -> None:
    """Every run stands once: a run beside itself shows nothing, and one that counts twice pretends to be two.

    Raises:
        InvalidArgument: naming the field of the second place.
    """
    seen: dict[str, str] = {}
    for place, run_id in _places(design):
        if run_id in seen:
            raise invalid_field(
                place, f"run {run_id!r} stands in {seen[run_id]} already; a run counts once, on one side of one pair"
            )
        seen[run_id] = place
    tasks: dict[str, int] = {}
    for index, pair in enumerate(design.pairs):
        for name, runs in (("control_run_ids", pair.control), ("treatment_run_ids", pair.treatment)):
            if not runs:
                raise invalid_field(f"pairs[{index}].{name}", "is required: a pair has a run on either side")
        if pair.task and pair.task in tasks:
            raise invalid_field(
                f"pairs[{index}].task",
                f"{pair.task!r} is that of pairs[{tasks[pair.task]}]; give all runs of a task in one pair, as repeats",
            )
        tasks[pair.task] = index


def match(design: Design, runs: Mapping[str, RunMeasures]) -> tuple[list[Pair], list[Excluded]]:
    """The pairs in the order of time (else of the request), and what is left out.

    Args:
        runs: what was measured, by run id; all of the design's.

    Raises:
        FailedPrecondition: ``NO_PAIRS``: no task has runs on both sides.
    """
    excluded: list[Excluded] = []
    if design.pairs:
        specs = _named(design, runs)
    else:
        specs, excluded = _by_task(design, runs)
    if not specs:
        raise FailedPrecondition(
            f"No task has runs in both arms: {counted(len(design.control), 'control run')} and "
            f"{counted(len(design.treatment), 'treatment run')}, no pair.",
            reason="NO_PAIRS",
            remedy="Record the task of each run with RecordRuns, or say which runs belong together with pairs.",
            metadata={"control": str(len(design.control)), "treatment": str(len(design.treatment))},
        )
    pairs = []
    for spec in specs:
        pair = Pair(spec.task, tuple(runs[run] for run in spec.control), tuple(runs[run] for run in spec.treatment))
        found = _no_pair(pair, design.intended)
        if found is None:
            pairs.append(pair)
        else:
            excluded.append(Excluded(spec.task, spec.control, spec.treatment, found[0], found[1]))
    if all(pair.started_at is not None for pair in pairs):
        pairs.sort(key=lambda pair: pair.started_at or 0)
    return pairs, excluded


def _places(design: Design) -> Iterable[tuple[str, str]]:
    for name, runs in (("control_run_ids", design.control), ("treatment_run_ids", design.treatment)):
        yield from ((f"{name}[{index}]", run) for index, run in enumerate(runs))
    for number, pair in enumerate(design.pairs):
        for name, runs in (("control_run_ids", pair.control), ("treatment_run_ids", pair.treatment)):
            yield from ((f"pairs[{number}].{name}[{index}]", run) for index, run in enumerate(runs))


def _by_task(design: Design, runs: Mapping[str, RunMeasures]) -> tuple[list[PairSpec], list[Excluded]]:
    arms: tuple[dict[str, list[str]], dict[str, list[str]]] = (defaultdict(list), defaultdict(list))
    excluded = []
    for side, (arm, run_ids) in enumerate(zip(arms, (design.control, design.treatment), strict=True)):
        for run_id in run_ids:
            task = runs[run_id].record.task
            if task:
                arm[task].append(run_id)
            else:
                excluded.append(_alone("", side, [run_id], Exclusion.NO_TASK, "no task was recorded for the run"))
    control, treatment = arms
    for side, (own, other) in enumerate(((control, treatment), (treatment, control))):
        excluded += [
            _alone(task, side, found, Exclusion.NO_PARTNER, "the other arm has no run of this task")
            for task, found in own.items()
            if task not in other
        ]
    specs = [
        PairSpec(task, tuple(found), tuple(treatment[task])) for task, found in control.items() if task in treatment
    ]
    return specs, excluded


def _alone(task: str, side: int, runs: Sequence[str], reason: Exclusion, detail: str) -> Excluded:
    control, treatment = (tuple(runs), ()) if side == 0 else ((), tuple(runs))
    return Excluded(task, control, treatment, reason, detail)


def _named(design: Design, runs: Mapping[str, RunMeasures]) -> list[PairSpec]:
    """Pairs with a task each: the one that was given, else the one that was recorded and no other pair has."""
    taken = {pair.task for pair in design.pairs}
    specs = []
    for number, pair in enumerate(design.pairs, start=1):
        task = pair.task
        if not task:
            recorded = {runs[run].record.task for run in (*pair.control, *pair.treatment)}
            task = recorded.pop() if len(recorded) == 1 else ""
            if not task or task in taken:
                task = f"pair {number}"
            taken.add(task)
        specs.append(PairSpec(task, pair.control, pair.treatment))
    return specs


def _no_pair(pair: Pair, intended: frozenset[RunProperty]) -> tuple[Exclusion, str] | None:
    """Why these runs did not do the same task, as far as it is recorded."""
    if RunProperty.COMMIT not in intended:
        commits = {run.record.base_commit for run in pair.runs} - {""}
        if len(commits) > 1:
            return Exclusion.COMMITS_DIFFER, f"the runs started from {_list(commits)}"
    if RunProperty.SPEC not in intended:
        specs = {run.record.spec_hash for run in pair.runs} - {""}
        if len(specs) > 1:
            return Exclusion.SPECS_DIFFER, f"the runs' specifications have the hashes {_list(specs)}"
    return None


def _list(values: Iterable[str]) -> str:
    ordered = sorted(value[:12] for value in values)
    return ", ".join(ordered[:NAMED]) + (f" and {len(ordered) - NAMED} more" if len(ordered) > NAMED else "")
