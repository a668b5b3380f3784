"""Goals from the command line and from files, and what a range of judged commits comes to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from autopack_api.intention.v1 import intention_pb2 as pb
from autopack_cli.goals import MAX_GOAL_BYTES, Goal, add_to, options_named, read_text
from autopack_cli.judging import Commit, FailOn, Judgement, Step
from autopack_kit.errors import FieldViolation, InvalidArgument, invalid_field, invalid_fields

ON, WATCH, DRIFT = pb.VERDICT_ON_GOAL, pb.VERDICT_WATCH, pb.VERDICT_DRIFT
LITTLE, SCOPE = pb.VERDICT_INSUFFICIENT_EVIDENCE, pb.VERDICT_SCOPE_VIOLATION


def judged(*verdicts: tuple[int, int], whole: int = ON) -> int:
    """The verdict of a range from (step, run so far) of each commit and that of the whole."""
    commit = Commit("0" * 40, "1" * 40, "s", "m")
    steps = [
        Step(
            commit,
            pb.CheckDriftResponse(step_verdict=pb.Verdict.ValueType(step), run_verdict=pb.Verdict.ValueType(run)),
        )
        for step, run in verdicts
    ]
    value = pb.Verdict.ValueType(whole)
    return Judgement(steps, Step(None, pb.CheckDriftResponse(step_verdict=value, run_verdict=value))).verdict


def test_verdict_of_a_range_is_what_its_last_commit_left() -> None:
    assert judged((ON, ON), (DRIFT, WATCH), (ON, WATCH), (ON, ON)) == ON
    assert judged((ON, ON), (DRIFT, WATCH)) == WATCH


def test_drift_or_a_path_out_of_scope_is_not_forgotten_later() -> None:
    assert judged((DRIFT, WATCH), (DRIFT, DRIFT), (ON, WATCH), (ON, ON)) == DRIFT
    assert judged((SCOPE, SCOPE), (ON, ON)) == SCOPE
    assert judged((ON, ON), whole=SCOPE) == SCOPE  # a merge may change what no commit does


def test_commits_too_small_to_judge_are_judged_together() -> None:
    assert judged((LITTLE, LITTLE), (LITTLE, LITTLE), whole=DRIFT) == DRIFT
    assert judged((LITTLE, LITTLE), whole=LITTLE) == LITTLE


@pytest.mark.parametrize(
    ("fail_on", "failing"),
    [
        (FailOn.SCOPE, {SCOPE}),
        (FailOn.DRIFT, {SCOPE, DRIFT}),
        (FailOn.WATCH, {SCOPE, DRIFT, WATCH}),
        (FailOn.NEVER, set()),
    ],
)
def test_what_was_not_judged_never_fails(fail_on: FailOn, failing: set[int]) -> None:
    assert {verdict for verdict in (ON, WATCH, DRIFT, LITTLE, SCOPE) if fail_on.fails(verdict)} == failing


@pytest.mark.parametrize(
    ("goal", "message"),
    [
        (Goal(None, None, "FILE"), "--goal: give exactly one of FILE and --goal"),
        (Goal("g", Path("x"), "--goal-file"), "--goal: give exactly one of --goal-file and --goal"),
        (Goal("g", None, "FILE", run="r"), "--run: names a run of a batch file"),
        (Goal(None, Path("x.md"), "FILE", run="r"), "x.md is none"),
        (Goal("bad \udcff", None, "FILE"), "--goal: is not UTF-8"),
        (Goal(None, Path("x.md"), "FILE", title="\udcff"), "--title: is not UTF-8"),
        (Goal("g", None, "FILE", more={"scope": ["src/", "\udcff/"]}), "--scope: is not UTF-8"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(goal: Goal, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        goal.read()
    assert message in str(caught.value)


def test_file_that_is_no_text_is_refused_by_the_name_of_its_option(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\x7fELF\0")
    (tmp_path / "latin").write_bytes(b"one\nk\xf6nnen")
    (tmp_path / "large").write_bytes(b"a" * (MAX_GOAL_BYTES + 1))
    os.mkfifo(tmp_path / "pipe")
    told = {
        "missing": "cannot be read: No such file", ".": "cannot be read: Is a directory", "binary": "is binary",
        "latin": "not UTF-8 in line 2", "large": "more than 1,048,576 bytes", "pipe": "not a regular file",
    }  # fmt: skip
    for name, words in told.items():
        with pytest.raises(InvalidArgument) as caught:
            read_text(tmp_path / name, "--goal-file")
        assert words in str(caught.value)
        assert [item.field for item in caught.value.violations] == ["--goal-file"]


def test_byte_order_mark_is_no_part_of_a_goal(tmp_path: Path) -> None:
    (tmp_path / "goal.md").write_bytes(b"\xef\xbb\xbf# Do it")
    assert read_text(tmp_path / "goal.md", "FILE") == "# Do it"


def test_run_of_a_batch_is_named_unless_it_is_the_only_one(tmp_path: Path) -> None:
    path = tmp_path / "batch.yaml"
    path.write_text("runs:\n  - {name: a, goal: A, command: x}\n  - {name: b, goal: B, command: x}\n")
    for run, words in (("", "say which run"), ("c", "has no run 'c'; it has a, b")):
        with pytest.raises(InvalidArgument) as caught:
            Goal(None, path, "FILE", run=run).read()
        assert words in str(caught.value)
    source = Goal(None, path, "FILE", run="b").read()
    assert source.batch is not None
    assert source.batch.spec.runs[0].intention.title == "B"


def test_options_add_to_what_the_file_says_each_once() -> None:
    found = add_to(pb.Intention(title="T", scope=["a/"]), {"scope": ["b/", "a/", "b/"], "notes": None})
    assert list(found.scope) == ["a/", "b/"]


def test_errors_of_the_service_name_the_options() -> None:
    with pytest.raises(InvalidArgument) as caught, options_named():
        raise invalid_fields(
            [FieldViolation("intention.scope[1]", "is no glob"), FieldViolation("intention.title", "is empty")]
        )
    assert [item.field for item in caught.value.violations] == ["--scope[1]", "--goal"]
    assert "intention." not in str(caught.value)
    with pytest.raises(InvalidArgument, match="evidence") as other, options_named():
        raise invalid_field("evidence.paths", "are too many")
    assert other.value.violations[0].field == "evidence.paths"
