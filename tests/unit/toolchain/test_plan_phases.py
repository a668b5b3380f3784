"""Phases and their order: what the text says of it, and mistakes in it by name."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from autopack_kit.errors import InvalidArgument
from autopack_toolchain import NormalizedPlan
from autopack_toolchain.core.plan.dependencies import in_order, roman

PlanFor = Callable[..., NormalizedPlan]


def graph(answer: NormalizedPlan) -> dict[str, tuple[str, ...]]:
    return {phase.phase_id: phase.depends_on for phase in answer.plan.phases}


def error(plan_for: PlanFor, text: str) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as caught:
        plan_for(text)
    return caught.value


@pytest.mark.parametrize(
    "text",
    [
        "## Phase 1: Schema\n- add a table\n## Phase 2: API (depends on 1)\n- add a route\n",
        "## Phase 1 - Schema\n- add a table\n## Phase 2 - API (depends on phase 1)\n- add a route\n",
        "## Phase I: Schema\n- add a table\n## Phase II: API [after Phase I]\n- add a route\n",
        "## Phase one: Schema\n- add a table\n## Phase two: API\nDepends on: Phase one\n- add a route\n",
        "**Phase 1: Schema**\n- add a table\n\n**Phase 2: API**\n- requires: Schema\n- add a route\n",
        "Phase 1: Schema\n- add a table\n\nPhase 2: API - depends on Phase 1\n- add a route\n",
        "1. Phase 1: Schema\n   - add a table\n2. Phase 2 (blocked by phase 1): API\n   - add a route\n",
        "# 1. Phase 1: Schema\nAdd a table.\n# 2. Phase 2: API\nAfter phase 1 is done, add a route.\n",
        "## Phase 1: Schema\n- add a table\n## Phase 2: API (after the previous phase)\n- add a route\n",
        "Overview:\n- Phase 1: Schema\n- Phase 2: API (depends on 1)\n\n"
        "## Phase 1\n- add a table\n## Phase 2\n- add a route\n",
    ],
)
def test_phases_with_a_dependency_are_a_graph(plan_for: PlanFor, text: str) -> None:
    assert graph(plan_for(text)) == {"1-schema": (), "2-api": ("1-schema",)}


@pytest.mark.parametrize(
    "text",
    [
        "1. Add a table\n2. Add a route (depends on 1)\n3. Add a page (after 1 and 2)\n",
        "1. Add a table\n1. Add a route (needs 1)\n1. Add a page (after 1-2)\n",
        "## Add a table\nNow.\n## Add a route (depends on Add a table)\nNow.\n"
        "## Add a page\nDepends on: Add a table, Add a route\n",
        "| # | Task | Depends on |\n|-|-|-|\n"
        "| 1 | Add a table | |\n| 2 | Add a route | 1 |\n| 3 | Add a page | 1, 2 |\n",
    ],
)
def test_lists_sections_and_tables_with_dependencies_are_phases(plan_for: PlanFor, text: str) -> None:
    assert graph(plan_for(text)) == {
        "1-add-a-table": (),
        "2-add-a-route": ("1-add-a-table",),
        "3-add-a-page": ("1-add-a-table", "2-add-a-route"),
    }


def test_numbered_phases_that_say_nothing_follow_each_other_with_a_warning(plan_for: PlanFor) -> None:
    answer = plan_for("## Phase 1\n- add a\n## Phase 2\n- add b\n## Phase 3\n- add c\n")
    assert list(graph(answer).values()) == [(), ("phase-1",), ("phase-2",)]
    assert "ORDER_IMPLIED" in {warning.reason for warning in answer.warnings}
    assert answer.confidence <= 0.7
    assert {d.reason for d in answer.decisions if d.part.value == "phases"} == {"ORDER_OF_NUMBERS"}


def test_where_one_phase_states_its_order_the_others_are_free(plan_for: PlanFor) -> None:
    text = "## Phase 1\n- add a\n## Phase 2 (depends on 1)\n- add b\n## Phase 3\nIn parallel with phase 2.\n- add c\n"
    assert list(graph(plan_for(text)).values()) == [(), ("phase-1",), ()]


def test_phases_stand_behind_those_that_they_need(plan_for: PlanFor) -> None:
    answer = plan_for("## Phase A: Page (blocked by B)\n- add a page\n## Phase B: Route\n- add a route\n")
    assert list(graph(answer)) == ["b-route", "a-page"]


@pytest.mark.parametrize(
    ("text", "cycle"),
    [
        ("## Phase 1: x (depends on 2)\n- add a\n## Phase 2: y (depends on 1)\n- add b\n", "1-x -> 2-y -> 1-x"),
        ("## Phase 1: x (depends on 1)\n- add a\n## Phase 2: y\n- add b\n", "1-x -> 1-x"),
        ("1. Add a (after 3)\n2. Add b (after 1)\n3. Add c (after 2)\n", "1-add-a -> 3-add-c -> 2-add-b -> 1-add-a"),
    ],
)
def test_a_circle_is_an_error_that_names_it(plan_for: PlanFor, text: str, cycle: str) -> None:
    caught = error(plan_for, text)
    assert caught.reason == "DEPENDENCY_CYCLE"
    assert caught.metadata["cycle"] == cycle


@pytest.mark.parametrize(
    ("text", "name", "line"),
    [
        ("## Phase 1: x\n- add a\n## Phase 2: y (depends on Phase 9)\n- add b\n", "Phase 9", "3"),
        ("## Phase 1: x\n- add a\n## Phase 2: y\nDepends on: the payment team\n- add b\n", "the payment team", "4"),
        ("## Phase 1: x\n- add a\n## Phase 2: y\n- add b\n\nAfter phase 7 add c.\n", "phase 7 add c", "6"),
        ("1. Add a\n2. Add b (depends on 3)\n", "3", "2"),
    ],
)
def test_a_missing_phase_is_an_error_that_names_it_and_its_line(
    plan_for: PlanFor, text: str, name: str, line: str
) -> None:
    caught = error(plan_for, text)
    assert caught.reason == "UNKNOWN_PHASE"
    assert (caught.metadata["name"], caught.metadata["line"]) == (name, line)
    assert "none" in caught.remedy


def test_a_requirement_from_outside_is_a_warning(plan_for: PlanFor) -> None:
    answer = plan_for("## Phase 1: x\n- add a\n## Phase 2: y\nRequires: Docker\n- add b (requires a migration)\n")
    (warning,) = [w for w in answer.warnings if w.reason == "EXTERNAL_REQUIREMENT"]
    assert "'Docker'" in warning.message


def test_an_empty_phase_is_an_error_that_names_it(plan_for: PlanFor) -> None:
    caught = error(plan_for, "## Phase 1: x\n- add a\n## Phase 2: TBD\n")
    assert (caught.reason, caught.metadata["phase"]) == ("PHASE_WITHOUT_DELIVERABLE", "TBD")


def test_too_many_phases_are_an_error(plan_for: PlanFor) -> None:
    caught = error(plan_for, "".join(f"## Phase {n}\n- add {n}\n" for n in range(1, 52)))
    assert caught.reason == "TOO_MANY_PHASES"


@pytest.mark.parametrize(
    "text",
    [
        "## Steps to reproduce\n1. Step 1: open it\n2. Step 2: close it\n\n## Tasks\n- fix the cart\n",
        "- fix the cart in phase 2 of the checkout, after phase 1\n",
        "Add a column (requires a migration) after the release.\n",
    ],
)
def test_a_text_without_phases_is_one_phase(plan_for: PlanFor, text: str) -> None:
    assert len(plan_for(text).plan.phases) == 1


def test_what_stands_outside_of_phases_holds_for_all_or_is_told(plan_for: PlanFor) -> None:
    text = (
        "# Plan\n\nWe will add an export.\n\n## Goals\n- Files are small\n\n"
        "## Phase 1\n- add a writer\n\n## Phase 2\n- add a command\n\n"
        "## Constraints\n- Python 3.11\n\n## Cleanup\n- remove the old one\n"
    )
    answer = plan_for(text)
    first, second = answer.plan.phases
    assert first.constraints == second.constraints == ("Python 3.11",)
    assert (first.acceptance, second.acceptance) == ((), ("Files are small",))
    assert [w.message.partition(" stands")[0] for w in answer.warnings if w.reason == "OUTSIDE_OF_PHASES"] == [
        "Line 18: 'Remove the old one'"
    ]
    assert "SUMMARY_OF_PHASES" in {decision.reason for decision in answer.decisions}


def test_a_budget_for_the_whole_is_shared_out(plan_for: PlanFor) -> None:
    text = "Budget: at most 100k tokens and 20 minutes.\n\n## Phase 1\n- add a\n## Phase 2\nAt most $1.\n- add b\n"
    answer = plan_for(text)
    assert [phase.budget.max_tokens for phase in answer.plan.phases] == [50_000, 50_000]
    assert [phase.budget.max_wall_time.total_seconds() for phase in answer.plan.phases] == [600, 600]
    assert [phase.budget.max_cost_microusd for phase in answer.plan.phases] == [2_000_000, 1_000_000]
    assert answer.plan.budget.max_tokens == 100_000
    assert "max_tokens" not in answer.plan.budget.defaulted


def test_files_that_an_earlier_phase_creates_are_there_for_the_later_ones(plan_for: PlanFor) -> None:
    text = (
        "## Phase 1: Module\n- Create `src/shop/refunds/api.py`\n\n"
        "## Phase 2: Fix (depends on 1)\n- Fix `src/shop/refunds/api.py`\n\n"
        "## Phase 3: More (depends on 2)\n- Define a protocol\n"
    )
    answer = plan_for(text)
    module, fix, more = answer.plan.phases
    assert (module.preflight.files_to_create, fix.preflight.files_to_create) == (("src/shop/refunds/api.py",), ())
    assert "src/shop/refunds/api.py" in {glob.glob for glob in more.scope.include}
    assert "PATH_NOT_FOUND" not in {warning.reason for warning in answer.warnings}


def test_roman_numbers_and_orders() -> None:
    assert [roman(text) for text in ("i", "IV", "viii", "xii", "two", "")] == ["1", "4", "8", "12", "", ""]
    assert in_order({"a": ["c"], "b": [], "c": ["b"]}) == ["b", "c", "a"]
