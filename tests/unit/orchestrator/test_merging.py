"""In which order branches are tried, and what a person types."""

from __future__ import annotations

import pytest
from autopack_kit.commands import Command
from autopack_orchestrator.core.merging import Branch, Merged, Step, commands, in_order, problem_with_new_branch


def branch(name: str, *paths: str, needs: tuple[str, ...] = ()) -> Branch:
    return Branch(f"b.{name}", f"autopack/b/{name}", "0" * 40, frozenset(paths), tuple(f"b.{item}" for item in needs))


def order(*branches: Branch) -> list[str]:
    return [item.run_id.removeprefix("b.") for item in in_order(branches)]


def test_a_branch_that_shares_files_with_many_comes_last() -> None:
    assert order(branch("all", "a", "b", "c"), branch("a", "a"), branch("b", "b"), branch("c", "c")) == [
        "a", "b", "c", "all",
    ]  # fmt: skip


def test_branches_that_share_nothing_stay_in_the_order_of_the_batch() -> None:
    assert order(branch("z", "1"), branch("a", "2"), branch("m", "3")) == ["z", "a", "m"]


def test_what_a_branch_needs_comes_before_it() -> None:
    assert order(branch("last", "x", needs=("first",)), branch("first", "y", "z"), branch("other", "y", "z")) == [
        "first", "last", "other",
    ]  # fmt: skip


def test_a_need_that_has_no_branch_keeps_nobody_waiting() -> None:
    assert order(branch("one", "x", needs=("failed",))) == ["one"]


def test_commands_merge_only_what_is_clean() -> None:
    steps = (Step(branch("a", "x"), True), Step(branch("b", "x"), False))
    merged = Merged("0" * 40, steps, "1" * 40, "2" * 40)
    assert commands(merged, "main", "merge-b") == (
        Command(argv=("git", "switch", "--create", "merge-b", "main")),
        Command(argv=("git", "merge", "--no-ff", "--no-edit", "autopack/b/a")),
    )
    assert commands(Merged("0" * 40, steps[1:], "0" * 40, "2" * 40), "main", "merge-b") == ()


@pytest.mark.parametrize("name", ["", "-d", "autopack/b/x", "autopack-base/x", "a\nb", "x" * 201])
def test_names_that_a_new_branch_must_not_have(name: str) -> None:
    assert problem_with_new_branch(name)


def test_a_usual_name_is_fine() -> None:
    assert problem_with_new_branch("feature/all-of-it") is None
