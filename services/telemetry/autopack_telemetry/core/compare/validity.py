"""What could make a comparison worth less, from what was recorded: each check passes, warns or fails."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autopack_telemetry.core.compare.binary import binomial_p
from autopack_telemetry.core.compare.metrics import observe
from autopack_telemetry.core.compare.model import (
    Arm,
    ArmRuns,
    Check,
    Design,
    Excluded,
    Exclusion,
    Metric,
    Pair,
    RunMeasures,
    RunProperty,
    Scale,
    Status,
)
from autopack_telemetry.core.model import PhaseOutcome
from autopack_telemetry.core.plural import counted, of_count

__all__ = ["Evidence", "arm_runs", "validity"]

NAMED = 20
"""Values of a kind that an arm names, and tasks that a check names."""
FAR_APART = 24 * 3600 * 1_000_000
"""Microseconds between the runs of a pair: in a day models, prices and networks change."""
FEW_PAIRED = 0.5
"""Share of tasks with a partner below which the pairs are a choice of their own."""
MUCH_MISSING = 0.2
SOME_UNATTRIBUTED, MUCH_UNATTRIBUTED = 0.01, 0.2
"""Shares of tokens, of those in the time of the runs, that belong to no run."""
FAR_OUT = 5.0
"""Robust standard deviations (1.4826 times the median distance from the median) from which a pair is named."""
UNLIKELY = 0.05


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the checks look at.

    Attributes:
        runs: of either arm, those that were left out included.
        unattributed_tokens: of calls in the time of the runs that belong to no run.
    """

    design: Design
    pairs: Sequence[Pair]
    excluded: Sequence[Excluded]
    control: Sequence[RunMeasures]
    treatment: Sequence[RunMeasures]
    unattributed_tokens: int

    @property
    def paired(self) -> list[RunMeasures]:
        """The runs of all pairs."""
        return [run for pair in self.pairs for run in pair.runs]

    def count(self, reason: Exclusion) -> int:
        """Pairs that were left out for a reason."""
        return sum(item.reason is reason for item in self.excluded)


def validity(evidence: Evidence) -> list[Check]:
    """All checks, in the order in which a report shows them."""
    return [
        _pairing(evidence),
        _attrition(evidence),
        _same_task(evidence, "commit", RunProperty.COMMIT, Exclusion.COMMITS_DIFFER),
        _same_task(evidence, "spec", RunProperty.SPEC, Exclusion.SPECS_DIFFER),
        *_properties(evidence),
        _time_drift(evidence),
        _order(evidence),
        _missing_telemetry(evidence),
        _unattributed(evidence),
        _signals(evidence),
        _prices(evidence),
        _outcomes(evidence),
        _cut_short(evidence),
        _outliers(evidence),
    ]


def arm_runs(label: str, runs: Sequence[RunMeasures]) -> ArmRuns:
    """What occurs among the runs of one arm."""
    records = [run.record for run in runs]
    starts = [record.started_at for record in records if record.started_at is not None]
    settings = {
        (record.agent, record.agent_version, _text(record.models), record.token_limit, record.time_limit)
        for record in records
    }
    text = json.dumps(sorted(settings, key=repr))
    return ArmRuns(
        label,
        len(runs),
        _some({record.base_commit for record in records}),
        _some({f"{record.agent} {record.agent_version}".strip() for record in records}),
        _some({f"{role}={model}" for run in runs for role, model in run.models.items()}),
        hashlib.sha256(text.encode()).hexdigest(),
        min(starts, default=None),
        max(starts, default=None),
    )


def _pairing(evidence: Evidence) -> Check:
    alone = evidence.count(Exclusion.NO_PARTNER) + evidence.count(Exclusion.NO_TASK)
    pairs = len(evidence.pairs)
    repeats = sum(max(len(pair.control), len(pair.treatment)) > 1 for pair in evidence.pairs)
    data = {"pairs": str(pairs), "without_partner": str(alone), "with_repeats": str(repeats)}
    message = f"{counted(pairs, 'pair')}; {counted(alone, 'task or run', 'tasks or runs')} without a partner"
    if repeats:
        message += f"; {counted(repeats, 'pair has', 'pairs have')} repeats, which are averaged"
    if alone == 0:
        return Check("pairing", Status.PASS, message, data)
    few = pairs / (pairs + alone) < FEW_PAIRED
    return Check("pairing", Status.FAIL if few else Status.WARN, message, data)


def _attrition(evidence: Evidence) -> Check:
    """Whether one arm loses more runs than the other, more than chance would have it."""
    lost = dict.fromkeys(Arm, 0)
    kept = {id(run) for run in evidence.paired}
    for arm, runs in ((Arm.CONTROL, evidence.control), (Arm.TREATMENT, evidence.treatment)):
        lost[arm] = sum(id(run) not in kept or not run.total_tokens for run in runs)
    both, control = sum(lost.values()), lost[Arm.CONTROL]
    share = len(evidence.control) / max(1, len(evidence.control) + len(evidence.treatment))
    p = binomial_p(control, both, share)
    data = {"control_lost": str(control), "treatment_lost": str(both - control), "p": f"{p:.4f}"}
    message = f"{_arms(control, both - control)} have no partner or no tokens"
    if p < UNLIKELY:
        return Check("attrition", Status.WARN, f"{message}: more on one side than by chance (p = {p:.3f})", data)
    return Check("attrition", Status.PASS, message, data)


def _same_task(evidence: Evidence, name: str, which: RunProperty, reason: Exclusion) -> Check:
    excluded = evidence.count(reason)
    unknown = sum(not _property(run, which) for run in evidence.paired)
    data = {"pairs_left_out": str(excluded), "runs_not_known": str(unknown)}
    words = {"commit": "commit", "spec": "specification (goal, scope, validation, limits)"}[name]
    if which in evidence.design.intended:
        return Check(name, Status.PASS, f"the arms are meant to differ in {words}", data)
    if excluded and not evidence.pairs:
        return Check(name, Status.FAIL, f"no pair has the same {words} on both sides", data)
    if excluded:
        left_out = counted(excluded, "pair was", "pairs were")
        return Check(name, Status.WARN, f"{left_out} left out, as the {words} differs between the sides", data)
    if unknown:
        return Check(name, Status.WARN, f"of {counted(unknown, 'run')} the {words} is not recorded", data)
    return Check(name, Status.PASS, f"the same {words} on both sides of every pair", data)


def _properties(evidence: Evidence) -> Iterator[Check]:
    """Models, agent, version and limits: within every pair the same on both sides, unless they are the change."""
    for name, which in (
        ("models", RunProperty.MODELS),
        ("agent", RunProperty.AGENT),
        ("agent_version", RunProperty.AGENT_VERSION),
        ("limits", RunProperty.LIMITS),
    ):
        words = name.replace("_", " ")
        many = words.endswith("s")
        unknown = sum(not _property(run, which) for run in evidence.paired)
        differ = [pair.task for pair in evidence.pairs if _differ(pair.runs, which)]
        data = {"pairs_that_differ": str(len(differ)), "runs_not_known": str(unknown)}
        if which in evidence.design.intended:
            mixed = [arm.value for arm in Arm if _differ(_arm(evidence.pairs, arm), which)]
            if mixed:
                which_arms = f"{' and '.join(mixed)} {of_count(len(mixed), 'arm is', 'arms are')}"
                message = f"the arms are meant to differ in {words}, but the {which_arms} mixed in it"
                yield Check(name, Status.WARN, message, data)
            else:
                yield Check(name, Status.PASS, f"the arms are meant to differ in {words}", data)
        elif differ:
            message = f"the {words} {'differ' if many else 'differs'} in {counted(len(differ), 'pair')}"
            message += f" ({_tasks(differ)}), so the effect may be due to that"
            yield Check(name, Status.FAIL, message + "; if that is the change, say so", data)
        elif unknown:
            are = "are" if many else "is"
            yield Check(name, Status.WARN, f"of {counted(unknown, 'run')} the {words} {are} not recorded", data)
        else:
            yield Check(name, Status.PASS, f"the same {words} on both sides of every pair", data)


def _time_drift(evidence: Evidence) -> Check:
    apart = []
    for pair in evidence.pairs:
        starts = [run.record.started_at for run in pair.runs if run.record.started_at is not None]
        apart += [max(starts) - min(starts)] if len(starts) == len(pair.runs) else []
    unknown = len(evidence.pairs) - len(apart)
    far = sum(gap > FAR_APART for gap in apart)
    hours = max(apart, default=0) / 3.6e9
    data = {"far_apart": str(far), "largest_hours": f"{hours:.2f}", "pairs_not_known": str(unknown)}
    if far:
        where = counted(far, "pair")
        return Check("time_drift", Status.WARN, f"in {where} the runs started more than 24 hours apart", data)
    if unknown:
        return Check("time_drift", Status.WARN, f"of {counted(unknown, 'pair')} a start is not recorded", data)
    return Check("time_drift", Status.PASS, f"the runs of every pair started within {hours:.1f} hours", data)


def _order(evidence: Evidence) -> Check:
    """Whether either arm went first about as often: what runs second meets warm caches and other models."""
    first = []
    for pair in evidence.pairs:
        sides = [[run.record.started_at for run in runs] for runs in (pair.control, pair.treatment)]
        starts = [[start for start in side if start is not None] for side in sides]
        if all(starts) and min(starts[0]) != min(starts[1]):
            first.append(min(starts[0]) < min(starts[1]))
    p = binomial_p(sum(first), len(first), 0.5)
    data = {"control_first": str(sum(first)), "of": str(len(first)), "p": f"{p:.4f}"}
    message = f"control started first in {sum(first)} of {counted(len(first), 'pair')}"
    if p < UNLIKELY:
        return Check("order", Status.WARN, f"{message}: the order was not random, so time may be what differs", data)
    return Check("order", Status.PASS, message, data)


def _missing_telemetry(evidence: Evidence) -> Check:
    runs = [*evidence.control, *evidence.treatment]
    silent = [run.record.run_id for run in runs if not run.usage_records]
    zero = [run.record.run_id for run in runs if run.usage_records and not run.total_tokens]
    data = {"without_usage": str(len(silent)), "zero_tokens": str(len(zero)), "runs": str(len(runs))}
    if not silent and not zero:
        return Check("missing_telemetry", Status.PASS, "every run told its tokens", data)
    told = [f"{counted(len(silent), 'run has', 'runs have')} no usage"] if silent else []
    told += [f"{counted(len(zero), 'run has', 'runs have')} zero tokens"] if zero else []
    message = f"{' and '.join(told)} ({_tasks(silent + zero)})"
    missing = (len(silent) + len(zero)) / len(runs)
    # Of no matter to how long runs take, or how often they are tried again.
    matters = evidence.design.primary not in (Metric.WALL_TIME, Metric.RETRIES)
    status = Status.FAIL if matters and missing > MUCH_MISSING else Status.WARN
    return Check("missing_telemetry", status, message, data)


def _unattributed(evidence: Evidence) -> Check:
    of_runs = sum(run.total_tokens for run in (*evidence.control, *evidence.treatment))
    tokens = evidence.unattributed_tokens
    share = tokens / (of_runs + tokens) if tokens else 0.0
    data = {"tokens": str(tokens), "share": f"{share:.4f}"}
    message = f"{share:.1%} of the tokens in the time of the runs belong to no run"
    if share <= SOME_UNATTRIBUTED:
        return Check("unattributed", Status.PASS, message, data)
    return Check("unattributed", Status.FAIL if share > MUCH_UNATTRIBUTED else Status.WARN, message, data)


def _signals(evidence: Evidence) -> Check:
    wrong = [run.record.run_id for run in evidence.paired if run.mismatched_sessions]
    data = {"runs": str(len(wrong))}
    if wrong:
        message = f"in {counted(len(wrong), 'run')} the signals of a session tell different totals ({_tasks(wrong)})"
        return Check("signals", Status.WARN, message, data)
    return Check("signals", Status.PASS, "no session's signals disagree", data)


def _prices(evidence: Evidence) -> Check:
    runs = [run for run in evidence.paired if run.usage_records]
    calls, unpriced = sum(run.usage_records for run in runs), sum(run.unpriced_records for run in runs)
    data = {"calls": str(calls), "without_cost": str(unpriced)}
    if unpriced:
        some = sum(run.unpriced_records > 0 for run in runs)
        message = f"the cost of {unpriced} of {counted(calls, 'call')} is not known; "
        message += f"{counted(some, 'run is', 'runs are')} left out of the cost"
        return Check("prices", Status.WARN, message, data)
    return Check("prices", Status.PASS, "the cost of every call is known" if calls else "there are no calls", data)


def _outcomes(evidence: Evidence) -> Check:
    unknown = [run.record.run_id for run in evidence.paired if run.succeeded is None]
    data = {"runs": str(len(unknown))}
    if unknown:
        still = of_count(len(unknown), "it still runs", "they still run")
        message = f"of {counted(len(unknown), 'run')} the outcome is not known, perhaps because {still}"
        message += f" ({_tasks(unknown)})"
        return Check("outcomes", Status.WARN, message, data)
    return Check("outcomes", Status.PASS, "the outcome of every run is known", data)


def _cut_short(evidence: Evidence) -> Check:
    cut = (PhaseOutcome.TIMED_OUT, PhaseOutcome.CANCELLED)
    counts = {arm: sum(run.outcome in cut for run in _arm(evidence.pairs, arm)) for arm in Arm}
    data = {arm.value: str(count) for arm, count in counts.items()}
    if any(counts.values()):
        message = (
            f"{_arms(counts[Arm.CONTROL], counts[Arm.TREATMENT])} were cut short; they would have used more, so look "
            "at the pairs in which all succeeded too"
        )
        return Check("cut_short", Status.WARN, message, data)
    return Check("cut_short", Status.PASS, "no run was cut short", data)


def _outliers(evidence: Evidence) -> Check:
    metric = evidence.design.primary
    observed = observe(evidence.pairs, metric)
    effects = np.array([item.effect for item in observed])
    spread = 1.4826 * float(np.median(np.abs(effects - np.median(effects)))) if len(effects) else 0.0
    if spread == 0:
        return Check("outliers", Status.PASS, "no pair lies far out", {"pairs": "0"})
    is_far = np.abs(effects - np.median(effects)) > FAR_OUT * spread
    far = [item.pair.task for item, out in zip(observed, is_far, strict=True) if out]
    data = {"pairs": str(len(far))}
    if not far:
        return Check("outliers", Status.PASS, "no pair lies far out", data)
    rest = float(effects[~is_far].mean())
    effect = float(np.exp(rest)) if metric.scale is Scale.RATIO else rest
    data["effect_without_them"] = f"{effect:.4g}"
    message = f"{counted(len(far), 'pair lies', 'pairs lie')} far out ({_tasks(far)}); "
    message += of_count(len(far), "it counts, and without it", "they count, and without them")
    message += f" the effect is {effect:.3g}"
    return Check("outliers", Status.WARN, message, data)


def _arms(control: int, treatment: int) -> str:
    return f"{counted(control, 'control run')} and {counted(treatment, 'treatment run')}"


def _arm(pairs: Sequence[Pair], arm: Arm) -> list[RunMeasures]:
    return [run for pair in pairs for run in (pair.control if arm is Arm.CONTROL else pair.treatment)]


def _property(run: RunMeasures, which: RunProperty) -> str:
    """What was recorded, as a text to compare; empty if nothing was."""
    return _PROPERTIES[which](run)


def _differ(runs: Sequence[RunMeasures], which: RunProperty) -> bool:
    """Whether something known differs among runs; what is not known is told apart.

    Models are compared role by role: a run that needed no doctor has no model of one.
    """
    if which is not RunProperty.MODELS:
        return len({_property(run, which) for run in runs} - {""}) > 1
    roles = {role for run in runs for role in run.models}
    return any(len({run.models[role] for run in runs if role in run.models}) > 1 for role in roles)


def _models(run: RunMeasures) -> str:
    return _text(run.models)


def _text(models: Mapping[str, str]) -> str:
    return json.dumps(dict(sorted(models.items()))) if models else ""


def _limits(run: RunMeasures) -> str:
    limits = run.record.token_limit, run.record.time_limit
    return "" if limits == (None, None) else repr(limits)


def _some(texts: set[str]) -> tuple[str, ...]:
    return tuple(sorted(texts - {""})[:NAMED])


def _tasks(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


_PROPERTIES: dict[RunProperty, Callable[[RunMeasures], str]] = {
    RunProperty.COMMIT: lambda run: run.record.base_commit,
    RunProperty.SPEC: lambda run: run.record.spec_hash,
    RunProperty.MODELS: _models,
    RunProperty.AGENT: lambda run: run.record.agent,
    RunProperty.AGENT_VERSION: lambda run: run.record.agent_version,
    RunProperty.LIMITS: _limits,
}
