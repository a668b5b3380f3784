"""Real failures of JavaScript's tools, fixed or left alone: those of ``scenarios_node.py`` and ``_node_checks.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.integration.hardening.scenarios import parameters
from tests.integration.hardening.scenarios_node import NODE
from tests.integration.hardening.scenarios_node_checks import NODE_CHECKS

if TYPE_CHECKING:
    from tests.integration.hardening.scenario import Scenario
    from tests.integration.hardening.scenario_stage import Stage

pytestmark = [pytest.mark.timeout(900), pytest.mark.asyncio(loop_scope="module")]


@pytest.mark.parametrize("scenario", parameters((*NODE, *NODE_CHECKS)))
async def test_the_failure_becomes_what_is_expected(
    stage: Stage, scenario: Scenario, record_property: Callable[[str, object], None]
) -> None:
    record_property(scenario.name, (await stage.play(scenario)).dumps())
