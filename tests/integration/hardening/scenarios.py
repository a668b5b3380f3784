"""All scenarios, and which of them are played in CI: the choice is made here and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

from tests.integration.hardening.scenarios_checks import CHECKS
from tests.integration.hardening.scenarios_compiled import COMPILED
from tests.integration.hardening.scenarios_node import NODE
from tests.integration.hardening.scenarios_node_checks import NODE_CHECKS
from tests.integration.hardening.scenarios_python import PYTHON
from tests.integration.hardening.scenarios_runtimes import RUNTIMES
from tests.integration.hardening.scenarios_system import SYSTEM

if TYPE_CHECKING:
    from tests.integration.hardening.scenario import Scenario

__all__ = ["ALL", "IN_CI", "parameters"]

ALL: tuple[Scenario, ...] = (*PYTHON, *CHECKS, *NODE, *NODE_CHECKS, *COMPILED, *SYSTEM, *RUNTIMES)
"""Every scenario, in the order of the table in the documents."""

IN_CI = frozenset(
    [
        "pip/declared-package-missing",
        "pip/declared-by-the-run",
        "pip/hash-mismatch",
        "python/own-package-in-src",
        "python/ascii-terminal",
        "poetry/wrong-directory",
        "uv/declared-command-missing",
        "uv/lock-outdated",
        "uv/undeclared-command",
        "pytest/path-elsewhere",
        "pytest/coverage-threshold",
        "ruff/unused-import",
        "make/wrong-directory",
        "git/no-identity",
        "git/stale-lock",
        "git/no-upstream",
        "git/held-lock",
        "git/merge-conflict",
        "git/push-refused-by-policy",
        "git/dirty-checkout",
        "system/file-elsewhere",
        "system/undeclared-command",
        "npm/declared-package-missing",
        "npm/out-of-memory",
        "npm/declared-by-the-run",
        "npm/integrity",
        "npm/no-such-script",
        "pnpm/undeclared-command",
        "pnpm/wrong-directory",
        "yarn/declared-command-missing",
        "yarn/no-such-version",
        "prettier/declared-command-missing",
        "go/wrong-directory",
        "go/unformatted",
        "go/checksums-missing",
        "go/checksum-mismatch",
        "go/undeclared-package",
        "cargo/unformatted",
        "cargo/lock-missing",
        "cargo/checksum-changed",
        "cargo/no-such-version",
        "maven/no-such-phase",
        "npm/other-node",
        "java/other-jdk",
        "java/no-such-release",
    ]
)
"""Names of those that every run of the tests plays: about a third, of every family and kind, and the quick ones."""


def parameters(scenarios: Sequence[Scenario]) -> list[object]:
    """One test for each scenario; those that are not played in CI are long."""
    return [
        pytest.param(scenario, id=scenario.name, marks=() if scenario.name in IN_CI else pytest.mark.long)
        for scenario in scenarios
    ]
