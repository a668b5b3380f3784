"""Texts as people write them, against repositories as they are: each answer is what a demanding reader would expect."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from autopack_kit.globs import check_globs, out_of_scope
from autopack_toolchain import Category, NormalizedPlan, PlanPhase, SnapshotTree, normalize_plan_tree

PLANS = Path(__file__).with_name("plans")
TREES = {
    "bug_report": "shop", "task_list": "shop", "one_liner": "shop", "german": "shop", "phase_table": "shop",
    "user_story": "notes", "ci_ticket": "notes", "refactor_table": "gopher", "security_prose": "gopher",
    "phased_design": "market", "performance": "market", "docs_list": "crab", "email": "ledger",
}  # fmt: skip

Plan = Callable[[str], NormalizedPlan]


@pytest.fixture(scope="module")
def plan(plan_trees: dict[str, SnapshotTree]) -> Plan:
    """The plan of a file in ``plans/`` for its repository."""

    def normalised(name: str) -> NormalizedPlan:
        return normalize_plan_tree((PLANS / f"{name}.md").read_text(), plan_trees[TREES[name]])

    return normalised


def only(answer: NormalizedPlan) -> PlanPhase:
    (phase,) = answer.plan.phases
    return phase


def texts(phase: PlanPhase) -> list[str]:
    return [item.text for item in phase.deliverables]


def globs(phase: PlanPhase) -> set[str]:
    return {glob.glob for glob in phase.scope.include}


def excluded(phase: PlanPhase) -> set[str]:
    return {glob.glob for glob in phase.scope.exclude}


def commands(phase: PlanPhase) -> list[str]:
    return [step.command.line() for step in phase.validation_steps]


def context(phase: PlanPhase) -> dict[str, str]:
    return {file.path: file.reason for file in phase.read_only_context}


def category(phase: PlanPhase) -> Category | None:
    return phase.category.category if phase.category else None


def reasons(answer: NormalizedPlan) -> set[str]:
    return {warning.reason for warning in answer.warnings}


@pytest.mark.parametrize("name", sorted(TREES))
def test_every_plan_can_be_run(plan: Plan, name: str) -> None:
    answer = plan(name)
    assert {path.stem for path in PLANS.glob("*.md")} == set(TREES)
    ids = [phase.phase_id for phase in answer.plan.phases]
    for place, phase in enumerate(answer.plan.phases):
        assert phase.deliverables
        assert phase.validation_steps
        assert phase.scope.include
        check_globs([*globs(phase), *excluded(phase)])
        assert set(phase.depends_on) <= set(ids[:place])
        # What is to be created, and nothing that is only to be read, is in scope.
        outside = out_of_scope(phase.preflight.files_to_create, sorted(globs(phase)), sorted(excluded(phase)))
        assert outside == ()
        read = [path for path in context(phase) if not path.endswith("/")]
        assert set(out_of_scope(read, sorted(globs(phase)), sorted(excluded(phase)))) == set(read)
    assert 0 < answer.confidence <= 1


def test_a_bug_report_becomes_a_fix_where_the_stack_trace_ends(plan: Plan) -> None:
    phase = only(plan("bug_report"))
    assert texts(phase) == [
        "Fix: Login fails with 500 when the email contains a plus sign",
        "Add a regression test",
    ]
    assert category(phase) is Category.BUGFIX
    assert globs(phase) == {"src/shop/auth/login.py", "tests/auth/test_login.py"}
    assert excluded(phase) == {"src/shop/legacy/**"}
    assert phase.acceptance == ("The user should be logged in",)
    assert commands(phase)[0] == "uv run pytest"


def test_a_task_list_says_what_its_title_and_prose_say_and_done_tasks_are_left_out(plan: Plan) -> None:
    answer = plan("task_list")
    phase = only(answer)
    assert texts(phase) == [
        "Implement the retry in `src/shop/http/client.py`",
        "Adding a setting `http.max_attempts` (see `src/shop/settings.py`)",
        "Unit tests",
        "Document the setting in the README",
    ]
    assert phase.deliverables[0].details == ("max 3 attempts", "jitter between 0 and 1 s")
    assert {"src/shop/http/client.py", "/README.md", "tests/http/test_client.py"} <= globs(phase)
    assert phase.non_goals == ("streaming requests", "Circuit breaker", "Do not add any new dependency")
    assert phase.acceptance == ("A permanent error is not retried", "`pytest tests/http` passes")
    budget = phase.budget
    assert (budget.max_tokens, budget.max_cost_microusd, budget.max_wall_time) == (
        200_000,
        5_000_000,
        timedelta(minutes=30),
    )
    assert budget.defaulted == ()
    decided = {(decision.reason, decision.subject) for decision in answer.decisions}
    assert ("ALREADY_DONE", "Decide on the library") in decided
    assert {"TITLE_SAYS_THE_SAME", "LIST_SAYS_MORE"} <= {reason for reason, _ in decided}


def test_a_user_story_takes_in_the_files_of_its_description(plan: Plan) -> None:
    phase = only(plan("user_story"))
    assert texts(phase)[0] == "As a user, I want to pin a note so that it stays at the top of my list"
    assert len(phase.acceptance) == 4
    assert globs(phase) == {
        "packages/api/src/db/migrations/002_pinned.sql",
        "packages/api/src/routes/notes.ts",
        "packages/shared/src/types.ts",
        "packages/ui/src/components/NoteList.tsx",
    }
    assert phase.preflight.files_to_create == ("packages/api/src/db/migrations/002_pinned.sql",)
    assert "don't redesign the editor" in phase.non_goals
    assert context(phase)["packages/ui/src/components/NoteList.test.tsx"] == "TESTS_OF_SCOPE"
    workdirs = {step.command.cwd for step in phase.validation_steps if step.kind.value == "test"}
    assert {"packages/api", "packages/ui"} <= workdirs


def test_a_design_in_phases_becomes_a_graph_that_knows_what_it_creates(plan: Plan) -> None:
    answer = plan("phased_design")
    extract, provider, views, docs = answer.plan.phases
    assert [phase.title for phase in answer.plan.phases] == [
        "Extract the model", "Provider interface", "Switch the views", "Documentation",
    ]  # fmt: skip
    assert (extract.depends_on, provider.depends_on, docs.depends_on) == ((), ("1-extract-the-model",), ())
    assert views.depends_on == ("1-extract-the-model", "2-provider-interface")
    assert {"payments/**", "billing/stripe.py"} <= globs(extract)
    assert "payments/**" in globs(provider)
    assert [category(phase) for phase in (extract, provider, docs)] == [
        Category.REFACTOR,
        Category.FEATURE,
        Category.DOCS,
    ]
    assert extract.constraints == ("Keep the database table name, so that no data migration is needed",)
    assert extract.acceptance == ("`pytest` passes and no module outside `payments/` imports `stripe`",)
    assert "Payments live in their own app" in views.acceptance
    assert all(excluded(phase) == {"accounts/**"} for phase in answer.plan.phases)
    assert answer.plan.budget.max_tokens == sum(phase.budget.max_tokens for phase in answer.plan.phases)


def test_one_line_that_asks_for_two_things_is_two_deliverables(plan: Plan) -> None:
    phase = only(plan("one_liner"))
    assert texts(phase) == ["Bump httpx to 0.28", "Fix the deprecation warnings in the HTTP client"]
    assert category(phase) is Category.DEPENDENCY
    assert {"src/shop/http/client.py", "/pyproject.toml", "/uv.lock"} == globs(phase)
    (lock,) = phase.preflight.protected
    assert (lock.path, lock.reason, lock.allowed) == ("uv.lock", "LOCK_FILE", True)


def test_a_table_of_changes_is_read_row_by_row(plan: Plan) -> None:
    answer = plan("refactor_table")
    phase = only(answer)
    assert texts(phase) == [
        "Implement the interface in the memory store",
        "Implement the interface in the Postgres store",
        "Replace direct uses in the router",
    ]
    assert category(phase) is Category.REFACTOR
    assert globs(phase) == {"internal/store/memory.go", "internal/store/postgres.go", "internal/httpapi/router.go"}
    assert context(phase)["pkg/client/client.go"] == "REFERENCED"
    assert commands(phase)[:2] == ["make test", "make lint"]
    assert phase.budget.max_wall_time == timedelta(hours=2)
    assert phase.budget.max_tokens == 400_000
    assert phase.budget.defaulted == ("max_cost_microusd",)


def test_a_ticket_that_allows_one_file_gets_that_file(plan: Plan) -> None:
    phase = only(plan("ci_ticket"))
    assert texts(phase) == ["Cache the pnpm store between runs, keyed by the hash of the lock file"]
    assert category(phase) is Category.CI
    assert globs(phase) == {".github/workflows/ci.yml"}
    assert excluded(phase) == {".github/workflows/release.yml"}
    (path,) = phase.preflight.protected
    assert (path.reason, path.allowed) == ("CI_CONFIGURATION", True)


def test_a_vulnerability_in_prose_is_found_by_its_words(plan: Plan) -> None:
    phase = only(plan("security_prose"))
    assert category(phase) is Category.SECURITY
    assert globs(phase) == {"internal/httpapi/download.go", "internal/httpapi/download_test.go"}
    assert context(phase)["internal/httpapi/upload.go"] == "REFERENCED"
    assert phase.non_goals == ("Do not rename the route, clients depend on it",)
    assert len(phase.deliverables) == 3


def test_a_slow_page_is_performance_and_a_timeout_of_the_product_is_no_budget(plan: Plan) -> None:
    phase = only(plan("performance"))
    assert category(phase) is Category.PERFORMANCE
    assert globs(phase) == {"orders/**"}
    assert phase.acceptance == ("under 300 ms and a constant number of queries",)
    assert "max_wall_time" in phase.budget.defaulted


def test_a_list_without_sections_leaves_out_what_is_struck_and_what_is_for_later(plan: Plan) -> None:
    phase = only(plan("docs_list"))
    assert category(phase) is Category.DOCS
    assert globs(phase) == {
        "/CHANGELOG.md", "book/src/SUMMARY.md", "book/src/configuration.md", "book/src/install.md",
        "book/src/tutorial.md",
    }  # fmt: skip
    assert phase.preflight.files_to_create == ("book/src/configuration.md",)
    assert phase.non_goals == ("No code changes",)
    assert not any("translate" in text for text in texts(phase))


def test_a_mail_is_read_without_its_greeting_its_quotation_and_what_is_for_later(plan: Plan) -> None:
    phase = only(plan("email"))
    assert texts(phase) == [
        "Change the rounding in TaxCalculator from per-invoice to per-line",
        "Add an endpoint that returns the tax breakdown of an invoice, i.e. one entry per rate",
        "Return 404 for unknown invoices",
        "Add a Flyway migration V2__tax_lines.sql",
    ]
    assert "src/main/java/com/acme/ledger/tax/TaxCalculator.java" in globs(phase)
    assert phase.preflight.files_to_create == ("src/main/resources/db/migration/V2__tax_lines.sql",)
    assert excluded(phase) == {"src/main/java/com/acme/ledger/legacy/**"}
    assert context(phase)["src/main/resources/application.yml"] == "REFERENCED"
    assert (phase.budget.max_wall_time, phase.budget.max_cost_microusd) == (timedelta(minutes=90), 10_000_000)
    assert not any("PDF" in text or "rewrite" in text for text in texts(phase))


def test_another_language_gives_its_list_with_low_confidence_and_what_is_negated_stays_out(plan: Plan) -> None:
    answer = plan("german")
    phase = only(answer)
    assert len(phase.deliverables) == 2
    assert globs(phase) == {"src/shop/http/client.py", "tests/http/test_client.py"}
    assert "NOT_ENGLISH" in reasons(answer)
    assert answer.confidence < 0.3


def test_a_table_with_dependencies_is_a_graph(plan: Plan) -> None:
    answer = plan("phase_table")
    writer, command, docs = answer.plan.phases
    assert docs.depends_on == (writer.phase_id, command.phase_id)
    assert globs(command) == {"src/shop/cli.py", "src/shop/export/**"}
    assert globs(docs) == {"docs/tutorial.md"}


def test_the_ticket_of_the_readme_becomes_what_the_readme_says(plan_trees: dict[str, SnapshotTree]) -> None:
    readme = (Path(__file__).parents[3] / "services/toolchain/README.md").read_text()
    text = readme.partition("## Plans")[2].partition("```text\n")[2].partition("```")[0]
    phase = only(normalize_plan_tree(text, plan_trees["shop"]))
    assert texts(phase) == [
        "Fix: Login fails with 500 when the email contains a plus sign",
        "Add a regression test",
    ]
    assert phase.deliverables[0].details == ("Fix it like in `src/shop/auth/tokens.py`",)
    assert category(phase) is Category.BUGFIX
    assert globs(phase) == {"src/shop/auth/login.py", "tests/auth/test_login.py"}
    assert excluded(phase) == {"src/shop/legacy/**"}
    assert context(phase)["src/shop/auth/tokens.py"] == "REFERENCED"
    assert commands(phase)[0] == "uv run pytest"
    assert phase.budget.defaulted == ()
