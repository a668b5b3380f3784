"""change_cwd_to_tests: the test runner worked and found no test."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

from autopack_hardening.core.matching import Hit
from autopack_hardening.core.model import Action, ChangeCwd, DirectoryExists, Mitigation, Risk, Suggestion
from autopack_hardening.core.rules.context import Context, Finding, Parameters, Resolver, telling
from autopack_hardening.core.workspace import is_inside

__all__ = ["CHANGE_CWD_TO_TESTS"]

# How pytest, unittest, jest, vitest, mocha, JUnit and go name test files by default.
_TEST_FILE = re.compile(
    r"test_[^/]*\.py|[^/]*_test\.(?:py|go)|[^/]*\.(?:test|spec)\.[cm]?[jt]sx?|[^/]*Tests?\.(?:java|kt)", re.ASCII
)
_MAX_SHOWN = 5
_GREEN_RISK = (
    "An option that turns 'no tests' into success (--passWithNoTests, --suppress-no-test-exit-code, exit code 5 "
    "ignored) hides that nothing was checked."
)


def _change_cwd_to_tests(parameters: Parameters, hits: Sequence[Hit], context: Context) -> Finding:
    """Says where tests are; offers the one other project that has them, with consent: they may prove other things."""
    hit = telling(hits)
    tests = sorted(path for path in context.workspace.files if _TEST_FILE.fullmatch(posixpath.basename(path)))
    below = [path for path in tests if is_inside(path, context.cwd)]
    if below or not tests:
        return Finding(hit, Mitigation(suggestions=(_advice(below, context),)))
    places = sorted({project.workdir for project in context.failure.projects if _has_tests(project.workdir, tests)})
    if len(places) != 1 or context.failure.command is None:
        return Finding(hit, Mitigation(suggestions=(_advice(tests, context),)))
    reason = "the tests of another directory may prove something else than the ones that were meant"
    action = Action(ChangeCwd(places[0]), (DirectoryExists(places[0]),))
    mitigation = Mitigation((action,), (_advice(tests, context),), Risk.NONE, consent_reason=reason)
    return Finding(hit, mitigation, 1.0, {"directory": places[0]})


def _has_tests(directory: str, tests: Sequence[str]) -> bool:
    return any(is_inside(path, directory) for path in tests)


def _advice(tests: Sequence[str], context: Context) -> Suggestion:
    if tests:
        shown = ", ".join(tests[:_MAX_SHOWN]) + (", ..." if len(tests) > _MAX_SHOWN else "")
        text = f"The runner found no test. Files that look like tests: {shown}. Name them, or correct the selection."
    elif context.workspace.known:
        text = "The runner found no test, and no file here is named like one. Write a test, or correct its name."
    else:
        text = "The runner found no test. Check the paths, the selection (-k, -m, -t) and how test files must be named."
    return Suggestion(text, _GREEN_RISK)


CHANGE_CWD_TO_TESTS = Resolver(_change_cwd_to_tests)
