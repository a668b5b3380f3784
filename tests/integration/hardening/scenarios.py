"""All scenarios, and which of them are played in CI: the choice is made here and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

from tests.integration.hardening.scenarios_python import PYTHON
from tests.integration.hardening.scenarios_system import SYSTEM

if TYPE_CHECKING:
    from tests.integration.hardening.scenario import Scenario

__all__ = ["ALL", "IN_CI", "parameters"]

ALL: tuple[Scenario, ...] = (*PYTHON, *SYSTEM)
"""Every scenario, in the order of the table in the documents."""

IN_CI = frozenset(
    [
        "pip/declared-package-missing",
    ]
)
"""Names of those that every run of the tests plays: about a third, of every family and kind, and the quick ones."""


def parameters(scenarios: Sequence[Scenario]) -> list[object]:
    """One test for each scenario; those that are not played in CI are long."""
    return [
        pytest.param(scenario, id=scenario.name, marks=() if scenario.name in IN_CI else pytest.mark.long)
        for scenario in scenarios
    ]
