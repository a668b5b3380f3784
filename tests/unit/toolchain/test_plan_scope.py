"""Where the work is: from what the text names, from its words, and what it forbids; checked against real matching."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from autopack_kit.globs import out_of_scope
from autopack_toolchain import (
    NormalizedPlan,
    PlanPhase,
    Policy,
    ScopeKind,
    SnapshotFile,
    SnapshotTree,
    normalize_plan_tree,
)
from autopack_toolchain.core.plan.globs import of_directory, of_file

PlanFor = Callable[..., NormalizedPlan]


def phase_of(answer: NormalizedPlan) -> PlanPhase:
    return answer.plan.phases[0]


def globs(answer: NormalizedPlan) -> list[str]:
    return sorted(glob.glob for glob in phase_of(answer).scope.include)


def excluded(answer: NormalizedPlan) -> list[str]:
    return sorted(glob.glob for glob in phase_of(answer).scope.exclude)


def reasons(answer: NormalizedPlan) -> set[str]:
    return {warning.reason for warning in answer.warnings}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Fix src/shop/cart.py", ["src/shop/cart.py"]),
        ("Fix `src/shop/cart.py:42` and ./src/shop/orders.py#L7.", ["src/shop/cart.py", "src/shop/orders.py"]),
        ("Fix src\\shop\\cart.py", ["src/shop/cart.py"]),
        ("Fix cart.py (line 3)", ["src/shop/cart.py"]),
        ("Fix `http/client.py`", ["src/shop/http/client.py"]),
        ("Fix `shop.http.client.Client`", ["src/shop/http/client.py"]),
        ("Fix the bug in `src/shop/http/`", ["src/shop/http/**"]),
        ("Fix the bug in `src/shop/export`", ["src/shop/export/**"]),
        ("Reformat `src/shop/*.py`, then fix it", ["src/shop/*.py"]),
        ("Fix the readme", ["/README.md"]),
        ("Update the changelog", ["/CHANGELOG.md"]),
        ("Fix README.MD", ["/README.md"]),
        ("Fix [the cart](src/shop/cart.py)", ["src/shop/cart.py"]),
        ("Fix 'src/shop/cart.py', \"src/shop/orders.py\"!", ["src/shop/cart.py", "src/shop/orders.py"]),
        ("## Files to change\n- `src/shop/cart.py`\n- src/shop/orders.py\n\n## Tasks\n- Round per line",
         ["src/shop/cart.py", "src/shop/orders.py"]),
        ("| Task | File |\n|-|-|\n| Round per line | src/shop/cart.py |\n| Fix it | orders.py |",
         ["src/shop/cart.py", "src/shop/orders.py"]),
    ],
)  # fmt: skip
def test_a_path_of_the_text_is_the_file_or_directory_that_it_names(
    plan_for: PlanFor, text: str, expected: list[str]
) -> None:
    assert globs(plan_for(text)) == expected


@pytest.mark.parametrize(
    ("text", "tree", "expected"),
    [
        ("Fix the rounding of the cart", "shop", ["src/shop/cart.py"]),
        ("Fix the cart", "shop", ["src/shop/**"]),
        ("Fix the HTTP client", "shop", ["src/shop/http/client.py"]),
        ("Fix the export module", "shop", ["src/shop/export/**"]),
        ("Refactor the auth package", "shop", ["src/shop/auth/**"]),
        ("Fix the retries in TaxCalculator", "ledger", ["src/main/java/com/acme/ledger/tax/TaxCalculator.java"]),
        ("Add a flag to the crab-cli crate", "crab", ["crates/crab-cli/**"]),
        ("Fix the rate limit middleware", "notes", ["packages/api/src/middleware/rate-limit.ts"]),
        ("Fix the page of orders", "market", ["orders/**"]),
    ],
)
def test_words_name_directories_and_files(plan_for: PlanFor, text: str, tree: str, expected: list[str]) -> None:
    answer = plan_for(text, tree)
    assert globs(answer) == expected
    assert all(glob.confidence < 0.9 for glob in phase_of(answer).scope.include)


@pytest.mark.parametrize(
    "text",
    [
        "Add support for and/or, I/O, TCP/IP and yes/no",
        "Fix GET /users/{id} and `/api/v1`",
        "Add https://example.org/src/shop/cart.py and someone@example.org",
        "Use Node.js 20, v1.2.3 and `process.env`",
        "Build a new thing for the author of the core",
    ],
)
def test_what_only_looks_like_a_path_or_a_module_names_nothing(plan_for: PlanFor, text: str) -> None:
    answer = plan_for(text)
    assert globs(answer) == ["**"]
    assert "SCOPE_NOT_FOUND" in reasons(answer)
    assert phase_of(answer).confidence.scope <= 0.2


@pytest.mark.parametrize(
    ("text", "created", "warned"),
    [
        ("Add `src/shop/refunds.py`", ["src/shop/refunds.py"], set()),
        ("Add http/retry.py", ["src/shop/http/retry.py"], set()),
        ("Add `retry.py` next to `src/shop/http/client.py`", ["src/shop/http/retry.py"], set()),
        ("Add src/new/thing.py", ["src/new/thing.py"], {"NEW_DIRECTORY"}),
        ("Add `retry.ts`", ["retry.ts"], {"NEW_FILE_SOMEWHERE"}),
        ("Fix src/shop/crat.py", ["src/shop/crat.py"], {"PATH_NOT_FOUND"}),
    ],
)
def test_a_path_that_is_not_there_is_a_file_to_be_created(
    plan_for: PlanFor, text: str, created: list[str], warned: set[str]
) -> None:
    answer = plan_for(text)
    phase = phase_of(answer)
    assert list(phase.preflight.files_to_create) == created
    assert reasons(answer) == warned
    assert ScopeKind.NEW_FILE in {glob.kind for glob in phase.scope.include}
    assert out_of_scope(created, globs(answer)) == ()


def test_a_misspelt_path_is_answered_with_the_right_one(plan_for: PlanFor) -> None:
    (warning,) = plan_for("Fix src/shop/crat.py").warnings
    assert "Did you mean src/shop/cart.py?" in warning.message


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Fix the cart and ../other/x.py", "PATH_OUTSIDE"),
        ("Fix the cart and /etc/app.conf", "PATH_OUTSIDE"),
        ("Fix the cart and node_modules/x/index.js", "PATH_IGNORED"),
        ("Fix the cart and `__init__.py`", "AMBIGUOUS_PATH"),
    ],
)
def test_a_path_that_cannot_be_taken_is_a_warning(plan_for: PlanFor, text: str, reason: str) -> None:
    answer = plan_for(text)
    assert reason in reasons(answer)
    assert globs(answer) == ["src/shop/**"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Fix the cart. Do not touch src/shop/legacy/.", ["src/shop/legacy/**"]),
        ("Fix it. Don't change `src/shop/orders.py` or `src/shop/cli.py`", ["src/shop/cli.py", "src/shop/orders.py"]),
        ("Fix the cart, leave the files in src/shop/auth untouched", ["src/shop/auth/**"]),
        ("Fix the cart. `src/shop/auth/` must not be modified.", ["src/shop/auth/**"]),
        ("Fix the cart without touching the legacy module", ["src/shop/legacy/**"]),
        ("Reformat everything except `src/shop/legacy/`", ["src/shop/legacy/**"]),
        ("Fix the cart\n\n## Out of scope\n- src/shop/auth/\n- changes to `src/shop/cli.py`",
         ["src/shop/auth/**", "src/shop/cli.py"]),
        ("Fix the cart. Don't change the exporter (src/shop/export/csv.py).", ["src/shop/export/csv.py"]),
        ("Fix the cart. Do not change the signature in `src/shop/orders.py`", []),
        ("Fix the cart. Do not add tests to src/shop/orders.py", []),
        ("Fix the cart without changing the API", []),
    ],
)  # fmt: skip
def test_what_must_not_change_is_excluded_if_it_is_the_file_itself(
    plan_for: PlanFor, text: str, expected: list[str]
) -> None:
    answer = plan_for(text)
    assert [glob for glob in excluded(answer) if glob.startswith("src/")] == expected
    assert phase_of(answer).non_goals


@pytest.mark.parametrize(
    "text",
    [
        "Fix the orders. Only touch `src/shop/cart.py`.",
        "Fix the orders. Changes are limited to src/shop/cart.py.",
        "Fix the orders. Do not change anything outside `src/shop/cart.py`.",
    ],
)
def test_the_only_place_that_a_text_allows_is_the_scope(plan_for: PlanFor, text: str) -> None:
    answer = plan_for(text)
    assert globs(answer) == ["src/shop/cart.py"]
    assert (
        "OUTSIDE_OF_THE_ONLY_PLACE" in {d.reason for d in answer.decisions} or phase_of(answer).confidence.scope > 0.9
    )


def test_what_is_asked_for_and_forbidden_is_left_out_with_a_warning(plan_for: PlanFor) -> None:
    answer = plan_for("Fix `src/shop/cart.py` and `src/shop/orders.py`. Do not touch `src/shop/cart.py`.")
    assert globs(answer) == ["src/shop/orders.py"]
    assert "CONTRADICTION" in reasons(answer)


@pytest.mark.parametrize(
    "text",
    [
        "Fix `src/shop/cart.py` as in `src/shop/orders.py`",
        "Fix `src/shop/cart.py` (see src/shop/orders.py)",
        "Fix `src/shop/cart.py`. Follow the pattern in `src/shop/orders.py`.",
        "Fix `src/shop/cart.py`, similar to the code in `src/shop/orders.py`",
        "Fix `src/shop/cart.py`\n\n## See also\n- src/shop/orders.py",
        "Read these first:\n- src/shop/orders.py\n\nTasks:\n- Fix `src/shop/cart.py`",
    ],
)
def test_what_the_text_only_points_to_is_to_be_read(plan_for: PlanFor, text: str) -> None:
    answer = plan_for(text)
    assert globs(answer) == ["src/shop/cart.py"]
    read = {file.path: file.reason for file in phase_of(answer).read_only_context}
    assert read["src/shop/orders.py"] == "REFERENCED"
    assert read["tests/test_cart.py"] == "TESTS_OF_SCOPE"
    assert read["pyproject.toml"] == "MANIFEST"


@pytest.mark.parametrize(
    ("text", "tree", "expected"),
    [
        ("Add tests for `src/shop/cart.py`", "shop", "tests/test_cart.py"),
        ("Fix `src/shop/cart.py` and add a regression test", "shop", "tests/test_cart.py"),
        ("Cover src/shop/auth with tests", "shop", "tests/auth/**"),
        ("Add tests for src/shop/http/errors.py", "shop", "tests/http/**"),
        ("Add tests for `packages/api/src/middleware/rate-limit.ts`", "notes",
         "packages/api/src/middleware/rate-limit.test.ts"),
        ("Add tests for internal/httpapi/upload.go", "gopher", "internal/httpapi/upload_test.go"),
        ("Test the tax calculator", "ledger", "src/test/java/com/acme/ledger/tax/TaxCalculatorTest.java"),
        ("Add unit tests", "shop", "tests/**"),
    ],
)  # fmt: skip
def test_tests_that_are_asked_for_are_in_scope(plan_for: PlanFor, text: str, tree: str, expected: str) -> None:
    assert expected in globs(plan_for(text, tree))


@pytest.mark.parametrize(
    ("text", "path", "policy", "allowed"),
    [
        ("Add a token to .env", ".env", Policy.NEVER, False),
        ("Fix `.github/workflows/ci.yml`", ".github/workflows/ci.yml", Policy.ASKED, True),
        ("Fix the CI pipeline", ".github/workflows/ci.yml", Policy.ASKED, True),
        ("Build a new thing", "uv.lock", Policy.ASKED, False),
        ("Build a new thing", ".github/workflows/release.yml", Policy.ASKED, False),
        ("Bump httpx to 0.28", "uv.lock", Policy.ASKED, True),
        ("Fix the typo in LICENSE", "LICENSE", Policy.ASKED, True),
    ],
)
def test_protected_files_are_changed_only_if_asked_and_secrets_never(
    plan_for: PlanFor, text: str, path: str, policy: Policy, allowed: bool
) -> None:
    answer = plan_for(text)
    found = {item.path: item for item in phase_of(answer).preflight.protected}
    assert (found[path].policy, found[path].allowed) == (policy, allowed)
    assert bool(out_of_scope([path], globs(answer), excluded(answer))) is not allowed


def test_many_protected_files_are_excluded_by_pattern() -> None:
    files = {f"keys/{number}.pem": b"" for number in range(300)} | {"test_a.py": b"import pytest\n", "setup.py": b""}
    files["requirements.txt"] = b"pytest\n"
    tree = SnapshotTree([SnapshotFile(path, len(data), 0o100644, data) for path, data in files.items()])
    answer = normalize_plan_tree("Build a new thing", tree)
    assert out_of_scope(["keys/7.pem", "keys/new.pem"], globs(answer), excluded(answer)) == (
        "keys/7.pem",
        "keys/new.pem",
    )
    assert len(excluded(answer)) <= 200
    assert "SCOPE_TOO_WIDE" not in reasons(answer)


def test_a_wide_scope_is_told() -> None:
    files = {f"src/a/{number}.py": b"" for number in range(120)} | {"test_a.py": b"import pytest\n"}
    files["requirements.txt"] = b"pytest\n"
    tree = SnapshotTree([SnapshotFile(path, len(data), 0o100644, data) for path, data in files.items()])
    answer = normalize_plan_tree("Fix `src/a/`", tree)
    assert "SCOPE_TOO_WIDE" in reasons(answer)
    assert phase_of(answer).preflight.files_in_scope == 120


@pytest.mark.parametrize(
    "path",
    ["src/[id].tsx", "a*b.py", "!x.py", "#x.py", "a b/c.py", "x?.py", "{a}.py", "a\\b.py", "trail ", "README.md"],
)
def test_a_glob_of_a_file_matches_that_file_alone(path: str) -> None:
    others = ["src/i.tsx", "ab.py", "x.py", "xy.py", "deep/README.md", "axb.py", "trail"]
    assert out_of_scope([path, *others], [of_file(path)]) == tuple(other for other in others if other != path)
    assert out_of_scope([f"{path}/x", "other/x"], [of_directory(path)]) == ("other/x",)
