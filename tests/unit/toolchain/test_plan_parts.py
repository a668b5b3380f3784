"""Category, budget, validation and confidence of a phase."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from autopack_kit.errors import FailedPrecondition
from autopack_toolchain import (
    Category,
    NormalizedPlan,
    PlanBudget,
    PlanPhase,
    Size,
    SnapshotFile,
    SnapshotTree,
    StepKind,
    normalize_plan_tree,
)

PlanFor = Callable[..., NormalizedPlan]


def phase_of(answer: NormalizedPlan) -> PlanPhase:
    return answer.plan.phases[0]


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("Add a discount to the cart", Category.FEATURE),
        ("Build the UI for the author page", Category.FEATURE),
        ("Fix the rounding of the cart", Category.BUGFIX),
        ("Checkout crashes on empty carts\n\nSteps: open it.\nExpected: no crash", Category.BUGFIX),
        ("fix(cart): add the missing discount", Category.BUGFIX),
        ("Type: bug\n\nAdd the discount to the cart", Category.BUGFIX),
        ("Rename Cart to Basket and extract the totals", Category.REFACTOR),
        ("Remove dead code from the exporter", Category.REFACTOR),
        ("Add unit tests for the cart", Category.TEST),
        ("Cover the cart with tests", Category.TEST),
        ("Add a test mode to the command", Category.FEATURE),
        ("Fix the typos in the docs", Category.DOCS),
        ("Write a tutorial", Category.DOCS),
        ("Add a docstring to the cart", Category.DOCS),
        ("Bump httpx to 0.28", Category.DEPENDENCY),
        ("Update all dependencies", Category.DEPENDENCY),
        ("Fix the SQL injection in the login form", Category.SECURITY),
        ("Escape the names of customers, attackers inject scripts (XSS)", Category.SECURITY),
        ("Speed up the export, it is slow", Category.PERFORMANCE),
        ("Reduce the latency of the cart", Category.PERFORMANCE),
        ("Run the CI pipeline on pull requests only", Category.CI),
        ("Add a GitHub workflow that publishes the docs", Category.CI),
        ("Add a Dockerfile", Category.BUILD),
        ("- Add a discount\n- Add tests\n- Update the docs", Category.FEATURE),
    ],
)
def test_the_category_is_that_of_the_work(plan_for: PlanFor, text: str, category: Category) -> None:
    guess = phase_of(plan_for(text)).category
    assert guess is not None
    assert guess.category is category, guess
    assert guess.evidence


def test_several_signs_are_surer_than_one_and_rivals_are_named(plan_for: PlanFor) -> None:
    one = phase_of(plan_for("Repair the cart"))
    several = phase_of(plan_for("# Bug: cart crashes\n\nFix the crash of the cart, a regression."))
    mixed = phase_of(plan_for("- Fix the cart\n- Add a discount\n"))
    assert one.category is not None
    assert several.category is not None
    assert mixed.category is not None
    assert several.category.confidence > one.category.confidence > mixed.category.confidence
    assert {guess.category for guess in mixed.other_categories} | {mixed.category.category} == {
        Category.BUGFIX,
        Category.FEATURE,
    }


def amounts(budget: PlanBudget) -> tuple[int | None, float | None, float | None]:
    """(tokens, dollars, minutes), None where they are defaults."""
    return (
        None if "max_tokens" in budget.defaulted else budget.max_tokens,
        None if "max_cost_microusd" in budget.defaulted else budget.max_cost_microusd / 1e6,
        None if "max_wall_time" in budget.defaulted else budget.max_wall_time / timedelta(minutes=1),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Use at most 30 minutes / 200k tokens / $5.", (200_000, 5, 30)),
        ("Budget: 1.5M tokens, 2 hours", (1_500_000, None, 120)),
        ("Budget: 200,000 tokens; 5 USD", (200_000, 5, None)),
        ("You may spend up to 3 dollars and 45 min.", (None, 3, 45)),
        ("Time box: 1 h 30 min", (None, None, 90)),
        ("Please finish within 20 minutes.", (None, None, 20)),
        ("At most 40 minutes.", (None, None, 40)),
        ("## Budget\n- 100k tokens\n- $0.50\n- 10 minutes", (100_000, 0.5, 10)),
        ("Don't spend more than $2.", (None, 2, None)),
        ("Budget: 10 minutes. Time limit: 5 minutes", (None, None, 5)),
    ],
)
def test_a_budget_of_the_text_is_taken(
    plan_for: PlanFor, text: str, expected: tuple[int | None, float | None, float | None]
) -> None:
    phase = phase_of(plan_for(f"- Fix the cart\n\n{text}\n"))
    assert amounts(phase.budget) == expected
    assert [item.text for item in phase.deliverables] == ["Fix the cart"]
    assert all(evidence.line for evidence in phase.budget.evidence)


@pytest.mark.parametrize(
    "text",
    [
        "The session timeout should be at most 30 minutes.",
        "Orders over $5 get a discount of up to $2.",
        "Cache the response for up to 10 minutes.",
        "A user may have at most 3 tokens.",
        "Requests take up to 4 seconds today.",
        "It happens within 5 minutes after the login.",
        "Budget: soon",
        "Budget: 0 minutes and 99999999 days",
    ],
)
def test_an_amount_of_the_product_is_no_budget(plan_for: PlanFor, text: str) -> None:
    phase = phase_of(plan_for(f"- Fix the cart\n\n{text}\n"))
    assert amounts(phase.budget) == (None, None, None)


def test_another_currency_is_told(plan_for: PlanFor) -> None:
    answer = plan_for("- Fix the cart\n\nBudget: €5\n")
    assert [w.reason for w in answer.warnings] == ["CURRENCY_NOT_SUPPORTED"]
    assert "Line 3" in answer.warnings[0].message


@pytest.mark.parametrize(
    ("count", "size", "tokens"), [(1, Size.SMALL, 200_000), (4, Size.MEDIUM, 600_000), (9, Size.LARGE, 1_500_000)]
)
def test_a_default_budget_goes_by_size(plan_for: PlanFor, count: int, size: Size, tokens: int) -> None:
    text = "".join(f"- Add the field f{number} to `src/shop/cart.py`\n" for number in range(count))
    budget = phase_of(plan_for(text)).budget
    assert (budget.size, budget.max_tokens) == (size, tokens)
    assert budget.defaulted == ("max_tokens", "max_cost_microusd", "max_wall_time")


@pytest.mark.parametrize(
    ("text", "tree", "expected"),
    [
        ("Fix packages/ui/src/App.tsx", "notes", {"packages/ui"}),
        ("Fix packages/ui/src/App.tsx and packages/api/src/index.ts", "notes", {"packages/ui", "packages/api"}),
        ("Fix `internal/store/`", "gopher", {"."}),
        ("Fix crates/crab-core/src/lexer.rs", "crab", {"."}),
    ],
)
def test_tests_are_those_of_the_projects_around_the_scope(
    plan_for: PlanFor, text: str, tree: str, expected: set[str]
) -> None:
    steps = phase_of(plan_for(text, tree)).validation_steps
    assert {step.command.cwd for step in steps if step.kind is StepKind.TEST} == expected


def test_of_two_ecosystems_in_one_directory_the_one_in_scope_is_tested() -> None:
    files = {
        "requirements.txt": b"pytest\n", "tests/test_a.py": b"import pytest\n", "app/a.py": b"",
        "package.json": b'{"scripts": {"test": "vitest run"}, "devDependencies": {"vitest": "2"}}', "ui/a.ts": b"",
    }  # fmt: skip
    tree = SnapshotTree([SnapshotFile(path, len(data), 0o100644, data) for path, data in files.items()])
    python = phase_of(normalize_plan_tree("Fix app/a.py", tree)).validation_steps
    node = phase_of(normalize_plan_tree("Fix ui/a.ts", tree)).validation_steps
    assert {step.tool for step in python} == {"python"}
    assert {step.tool for step in node} == {"npm"}


def test_a_command_that_only_the_text_names_is_never_proposed(plan_for: PlanFor) -> None:
    text = "- Fix `internal/store/store.go`\n\n## How to verify\n"
    text += "- run `make test`\n- run `make deploy`\n- run `./evil.sh`\n"
    answer = plan_for(text, "gopher")
    lines = [step.command.line() for step in phase_of(answer).validation_steps]
    assert lines[0] == "make test"
    assert not any("deploy" in line or "evil" in line for line in lines)
    told = [w.message for w in answer.warnings if w.reason == "COMMAND_NOT_DETECTED"]
    assert len(told) == 2


def test_a_repository_without_any_check_is_refused_with_what_to_add() -> None:
    tree = SnapshotTree([SnapshotFile("notes.txt", 0), SnapshotFile("run.sh", 0)])
    with pytest.raises(FailedPrecondition) as caught:
        normalize_plan_tree("Fix notes.txt", tree)
    assert caught.value.reason == "NO_VALIDATION"
    assert "autopack detect" in caught.value.remedy


def test_a_scope_outside_of_every_project_is_checked_by_the_others_with_a_warning() -> None:
    files = {"docs/a.md": b"", "api/requirements.txt": b"pytest\n", "api/test_a.py": b"import pytest\n"}
    tree = SnapshotTree([SnapshotFile(path, len(data), 0o100644, data) for path, data in files.items()])
    answer = normalize_plan_tree("Fix docs/a.md", tree)
    assert {step.command.cwd for step in phase_of(answer).validation_steps} == {"api"}
    assert "NO_VALIDATION_FOR_SCOPE" in {warning.reason for warning in answer.warnings}
    assert phase_of(answer).confidence.validation < 0.6


def test_confidence_is_the_weakest_part_and_falls_with_what_is_guessed(plan_for: PlanFor) -> None:
    named, guessed, nothing = (
        phase_of(plan_for(text)).confidence
        for text in ("- Fix `src/shop/cart.py`", "- Fix the cart", "- Fix the thing")
    )
    assert named.overall == min(named.deliverables, named.scope, named.validation)
    assert named.scope > guessed.scope > nothing.scope
    assert named.overall >= 0.9 > guessed.overall > nothing.overall


def test_the_same_text_gives_the_same_plan(plan_for: PlanFor) -> None:
    text = "- Fix the cart\n- Add tests\n- Update the docs, see `src/shop/cli.py`\n"
    assert plan_for(text) == plan_for(text)


def test_every_decision_names_its_phase_and_reason(plan_for: PlanFor) -> None:
    answer = plan_for("## Phase 1: a\n- fix `src/shop/cart.py`\n## Phase 2: b\n- fix the HTTP client\n")
    ids = {phase.phase_id for phase in answer.plan.phases}
    assert {decision.phase_id for decision in answer.decisions} == ids
    found = {(decision.subject, decision.choice, decision.reason) for decision in answer.decisions}
    assert ("src/shop/cart.py", "src/shop/cart.py", "PATH_EXISTS") in found
    assert ("http client", "src/shop/http/client.py", "WORDS_NAME_IT") in found
    assert ("test", "uv run pytest", "DETECTED") in found
