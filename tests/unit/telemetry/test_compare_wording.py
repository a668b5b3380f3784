"""What a comparison says is English, of one thing as of several."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from autopack_kit.errors import FailedPrecondition
from autopack_telemetry.adapters.page import html_page
from autopack_telemetry.core.compare.analysis import Comparison, compare
from autopack_telemetry.core.compare.model import Mode, RunMeasures
from autopack_telemetry.core.compare.report import markdown
from autopack_telemetry.core.model import PhaseOutcome
from autopack_telemetry.core.plural import counted, times

from .otlp import log, map_json
from .runs_to_compare import HOUR, START, a_run, design_of

NOW = START + 1_000 * HOUR
NOUNS = "pair|run|task|call|time|hour"
WRONG = re.compile(
    rf"(?<![\d.,])1 (?:\w+ )?(?:{NOUNS})s\b"
    rf"|(?<![\d.,])(?:0|[2-9]|\d\d+) (?:\w+ )?(?:{NOUNS})\b"
    r"|(?<![\d.,])1 \w+ (?:are|have|were|lie|still run)\b"
    r"|\bagent (?:version )?(?:differ|are)\b|\b(?:models|limits) (?:differs|is)\b"
)
Runs = dict[str, RunMeasures]


def pairs_of(count: int) -> Runs:
    """Pairs that differ in their tokens alone."""
    runs = {}
    for number in range(count):
        for arm, tokens in (("c", 900 + 7 * number), ("t", 800 + 11 * number)):
            first = (arm == "t") == (number % 2 == 0)
            start = START + number * HOUR + first * HOUR // 2
            runs[f"{arm}-{number}"] = a_run(f"{arm}-{number}", f"task-{number}", tokens, started_at=start)
    return runs


def changed(count: int, **changes: Any) -> Callable[[Runs], Runs]:
    """Makes the first treatment runs differ; ``record`` has what does in their record."""
    record = changes.pop("record", {})

    def change(runs: Runs) -> Runs:
        some = [f"t-{number}" for number in range(count)]
        return runs | {
            run_id: replace(runs[run_id], record=replace(runs[run_id].record, **record), **changes) for run_id in some
        }

    return change


def report_texts(result: Comparison) -> str:
    told = [check.message for check in result.checks]
    return "\n".join([result.sentence, *told, markdown(result, "1.2.3", NOW), html_page(result, "1.2.3", NOW)])


def alone(count: int) -> Callable[[Runs], Runs]:
    return lambda runs: runs | {f"t-x{n}": a_run(f"t-x{n}", f"alone-{n}", started_at=START) for n in range(count)}


def repeated(count: int) -> Callable[[Runs], Runs]:
    return lambda runs: runs | {f"t-r{n}": replace(a_run(f"t-r{n}", f"task-{n}", 805)) for n in range(count)}


CHANGES: dict[str, Callable[[int], Callable[[Runs], Runs]]] = {
    "the commit differs": lambda n: changed(n, record={"base_commit": "another"}),
    "the commit is not recorded": lambda n: changed(n, record={"base_commit": ""}),
    "the specification (goal, scope, validation, limits) differs": lambda n: changed(
        n, record={"spec_hash": "another"}
    ),
    "the models differ in": lambda n: changed(n, record={"models": {"agent": "another"}}),
    "the agent differs in": lambda n: changed(n, record={"agent": "another"}),
    "the agent is not recorded": lambda n: changed(n, record={"agent": ""}),
    "the agent version differs in": lambda n: changed(n, record={"agent_version": "2"}),
    "the limits differ in": lambda n: changed(n, record={"token_limit": 5}),
    "the limits are not recorded": lambda n: changed(n, record={"token_limit": None, "time_limit": None}),
    "started more than 24 hours apart": lambda n: changed(n, record={"started_at": START + 60 * HOUR}),
    "a start is not recorded": lambda n: changed(n, record={"started_at": None}),
    "no usage": lambda n: changed(n, usage_records=0, total_tokens=0, agent_tokens=0),
    "zero tokens": lambda n: changed(n, total_tokens=0, agent_tokens=0),
    "the signals of a session": lambda n: changed(n, mismatched_sessions=1),
    "left out of the cost": lambda n: changed(n, unpriced_records=1),
    "the outcome is not known": lambda n: changed(n, outcome=PhaseOutcome.UNSPECIFIED),
    "cut short": lambda n: changed(n, outcome=PhaseOutcome.TIMED_OUT),
    "far out": lambda n: changed(n, total_tokens=900_000, agent_tokens=900_000),
    "without a partner": alone,
    "averaged": repeated,
}


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("said", CHANGES)
def test_checks_speak_of_one_and_of_several(said: str, count: int) -> None:
    runs = CHANGES[said](count)(pairs_of(8))
    texts = report_texts(compare(design_of(runs), runs, 0))
    assert said in texts
    assert WRONG.findall(texts) == []


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("pairs", [1, 2, 6])
def test_a_comparison_of_few_pairs(pairs: int, mode: Mode) -> None:
    runs = pairs_of(pairs)
    texts = report_texts(compare(design_of(runs, mode=mode), runs, 0))
    assert counted(pairs, "pair") in texts
    assert WRONG.findall(texts) == []


def test_one_run_in_each_arm_without_a_pair() -> None:
    runs = {"c-1": a_run("c-1", "one"), "t-1": a_run("t-1", "other")}
    with pytest.raises(FailedPrecondition, match="1 control run and 1 treatment run, no pair"):
        compare(design_of(runs), runs, 0)


def test_a_warning_of_one_item_is_told_once() -> None:
    call = {"event.name": "claude_code.api_request", "input_tokens": 1, "autopack.role": "boss"}
    assert map_json(log(call)).message().startswith("warning, once: autopack.role")
    assert map_json(log(call, call)).message().startswith("warning, 2 times: autopack.role")
    assert (times(0), counted(1, "pair lies", "pairs lie")) == ("0 times", "1 pair lies")
