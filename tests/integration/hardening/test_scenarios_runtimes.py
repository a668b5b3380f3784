"""Real failures for want of another version of the language: those of ``scenarios_runtimes.py``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.integration.hardening.scenario_runtimes import with_runtimes
from tests.integration.hardening.scenario_stage import Stage, open_stage
from tests.integration.hardening.scenarios import parameters
from tests.integration.hardening.scenarios_runtimes import RUNTIMES
from tests.integration.toolchain.toolbox import open_toolbox

if TYPE_CHECKING:
    from tests.integration.hardening.scenario import Scenario

pytestmark = [pytest.mark.timeout(900), pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """The services and the real tools, on a machine that has more than one Node and, where pyenv is, Python."""
    async with open_stage(with_runtimes(open_toolbox()), tmp_path_factory.mktemp("stage")) as opened:
        yield opened


@pytest.mark.parametrize("scenario", parameters(RUNTIMES))
async def test_the_failure_becomes_what_is_expected(
    stage: Stage, scenario: Scenario, record_property: Callable[[str, object], None]
) -> None:
    record_property(scenario.name, (await stage.play(scenario)).dumps())
