"""What is asked of the base commit when a step fails in a run."""

from __future__ import annotations

import asyncio
from pathlib import Path

from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb

from tests.robustness.processes import HANG_LIMIT_S
from tests.service.orchestrator.bench import bench, repository, run, shell


async def test_a_step_that_was_lost_on_the_base_commit_excuses_no_failure(tmp_path: Path) -> None:
    # On the base commit, where the agent's file is not, the step kills its supervisor.
    step = shell("if [ -e made ]; then exit 1; fi; kill -9 $PPID; sleep 1000")
    async with bench(tmp_path) as stack, asyncio.timeout(HANG_LIMIT_S):
        (done,) = await stack.finish(repository(tmp_path / "calc"), run("one", "echo x > made", validate=[step]))
    assert (done.state, done.error.reason) == (pb.RUN_STATE_FAILED, "VALIDATION_FAILED")
    assert [item.outcome for item in done.steps] == [pb.STEP_OUTCOME_FAILED]
    assert any("base commit could not be validated" in words for words in done.warnings)
