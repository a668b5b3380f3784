"""Runs that need others, and runs that may get in each other's way."""

from __future__ import annotations

import pytest
from autopack_orchestrator.core.guard import Machine, Room, pause_reason
from autopack_orchestrator.core.model import Intention, RunSpec
from autopack_orchestrator.core.needs import MAX_NEEDS, before, problems_with_needs
from autopack_orchestrator.core.overlap import can_overlap, overlap_warnings
from hypothesis import given
from hypothesis import strategies as st
from pathspec import GitIgnoreSpec


def run(name: str, *needs: str, scope: tuple[str, ...] = ()) -> RunSpec:
    return RunSpec(name=name, intention=Intention(title="x", scope=scope), needs=needs)


def fields(*runs: RunSpec) -> list[str]:
    return [field for field, _ in problems_with_needs(runs)]


def test_a_sound_batch_has_no_problem() -> None:
    runs = (run("a"), run("b", "a"), run("c", "a"), run("d", "b", "c"))
    assert fields(*runs) == []
    assert before(runs)["d"] == {"a", "b", "c"}


def test_unknown_names_the_run_itself_and_doubles_are_named() -> None:
    assert fields(run("a", "a", "z"), run("b", "a", "a")) == [
        "runs[0].needs[0]",
        "runs[0].needs[1]",
        "runs[1].needs[1]",
    ]
    assert fields(run("a", *map(str, range(MAX_NEEDS + 1)))) == ["runs[0].needs"]


def test_a_circle_is_shown_in_the_order_of_needs() -> None:
    ((field, problem),) = problems_with_needs((run("x"), run("a", "b"), run("b", "c"), run("c", "a", "x")))
    assert field.endswith(".needs")
    assert any(shown in problem for shown in ("a -> b -> c -> a", "b -> c -> a -> b", "c -> a -> b -> c"))


def test_a_circle_of_a_thousand_is_found_and_shown_short() -> None:
    runs = tuple(run(str(number), str((number + 1) % 1000)) for number in range(1000))
    ((_, problem),) = problems_with_needs(runs)
    assert len(problem) < 200


@pytest.mark.parametrize(
    ("one", "other", "may"),
    [
        ("src/", "src/a.py", True), ("src/**", "tests/**", False), ("*.py", "src/", True), ("*.py", "*.md", False),
        ("src/*.py", "src/*.md", False), ("src/*.py", "src/a*", True), ("docs/a.md", "docs/b.md", False),
        ("a/**/z", "a/b/c/z", True), ("a/**/z", "b/**/z", False), ("/README.md", "README.md", True),
        ("src/api", "src/apis", False), ("src/", "docs/", False), ("*.py", "src/x/*.py", True), ("src", "src/**", True),
        ("*", "anything/at/all", True), ("!src/", "src/", False),
    ],
)  # fmt: skip
def test_globs_that_may_match_one_path_are_found(one: str, other: str, may: bool) -> None:
    assert can_overlap(one, other) is may
    assert can_overlap(other, one) is may


SEGMENT = st.sampled_from(["a", "b", "ab", "*", "a*", "*b", "?", "[ab]", "**"])
GLOB = st.lists(SEGMENT, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
PATH = st.lists(st.sampled_from(["a", "b", "ab", "aab"]), min_size=1, max_size=4).map("/".join)


@given(one=GLOB, other=GLOB, path=PATH)
def test_no_path_that_two_globs_match_is_missed(one: str, other: str, path: str) -> None:
    both = all(GitIgnoreSpec.from_lines([glob]).match_file(path) for glob in (one, other))
    assert not both or can_overlap(one, other)


def test_parallel_runs_that_may_change_the_same_files_are_told() -> None:
    a, b, c = run("a", scope=("src/**",)), run("b", scope=("src/x.py",)), run("c", scope=("docs/",))
    (warning,) = overlap_warnings((a, b, c, run("everything")))
    assert "a (src/**) and b (src/x.py)" in warning


def test_runs_that_follow_each_other_do_not_overlap() -> None:
    scope = ("src/**",)
    assert overlap_warnings((run("a", scope=scope), run("b", "a", scope=scope), run("c", "b", scope=scope))) == ()


def test_warnings_of_a_large_batch_stay_few_and_say_what_was_left_out() -> None:
    many = tuple(run(str(number), scope=("src/**",)) for number in range(300))
    told = overlap_warnings(many)
    assert len(told) == 12
    assert "more pairs" in told[-2]
    assert "not all scopes" in told[-1]


GIB = 1 << 30


def test_too_little_disk_or_memory_is_told_with_the_setting_that_says_so() -> None:
    roomy = Room(total=1000 * GIB, free=500 * GIB, least=2 * GIB)
    assert pause_reason(Machine(roomy, roomy), paused=False) == ""
    assert pause_reason(Machine(roomy, None), paused=False) == ""
    tight = Room(total=1000 * GIB, free=GIB, least=2 * GIB)
    assert "MIN_FREE_DISK_BYTES" in pause_reason(Machine(tight, roomy), paused=False)
    assert "MIN_FREE_MEMORY_BYTES" in pause_reason(Machine(roomy, tight), paused=False)


def test_a_small_disk_need_not_keep_more_than_a_twentieth_free() -> None:
    assert pause_reason(Machine(Room(20 * GIB, GIB + 1, 2 * GIB), None), paused=False) == ""


def test_work_goes_on_only_when_there_is_a_tenth_more() -> None:
    almost = Machine(Room(1000 * GIB, 2 * GIB + 1, 2 * GIB), None)
    assert pause_reason(almost, paused=False) == ""
    assert pause_reason(almost, paused=True)
