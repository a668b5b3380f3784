"""Runs whose failing step is mitigated: what the re-run proves, what it takes back, and what needs consent."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from autopack_api.hardening.v1 import hardening_pb2 as hardening
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_api.telemetry.v1 import telemetry_pb2 as telemetry

from tests.service.orchestrator.bench import Bench, argv, bench, repository, run

WEB = '{"name": "web", "version": "1.0.0", "scripts": {"test": "node test.js"}}'


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path) as running:
        yield running


def outcomes(stack: Bench, run_: pb.Run) -> list[str]:
    """Of the events about mitigations."""
    return [event.attributes["outcome"] for event in stack.events_of(run_, pb.EVENT_KIND_MITIGATION)]


async def test_a_failure_behind_the_mitigated_one_is_progress_recorded_everywhere_and_no_success(
    stack: Bench, tmp_path: Path
) -> None:
    files = {"web/package.json": WEB, "web/test.js": "process.exit(0)\n", "src/calc.py": "x = 1\n"}
    step = argv("npm", "test")  # in the wrong directory on the base commit too
    broken = run("broken", "echo 'process.exit(5)' > web/test.js", validate=[step], fail_on_pre_existing=True)
    (done,) = await stack.finish(repository(tmp_path / "mixed", files), broken)
    assert (done.state, done.error.reason) == (pb.RUN_STATE_FAILED, "VALIDATION_FAILED")
    assert [item.outcome for item in done.mitigations] == [pb.MITIGATION_OUTCOME_PROGRESSED]
    assert not done.mitigations[0].fixed
    assert (done.steps[0].tries, done.steps[0].exit_code) == (2, 5)
    assert outcomes(stack, done) == ["progressed"]
    pattern = done.mitigations[0].pattern_id
    phases = await stack.client.telemetry.ListPhases(telemetry.ListPhasesRequest(run_id=done.run_id))
    assert f"mitigate {pattern}" in [phase.kind for phase in phases.phases]
    kept = await stack.client.hardening.GetPattern(hardening.GetPatternRequest(pattern_id=pattern))
    assert kept.pattern.success.progressed == 1


def locked(tmp_path: Path) -> Path:
    """A front end whose lock file lacks one of its own packages."""
    package = {"name": "app", "version": "1.0.0", "dependencies": {"lib": "file:lib"}}
    lock = {
        "name": "app",
        "version": "1.0.0",
        "lockfileVersion": 3,
        "packages": {"": {"name": "app", "version": "1.0.0"}},
    }
    files = {
        "package.json": json.dumps(package),
        "package-lock.json": json.dumps(lock, indent=2) + "\n",
        "lib/package.json": '{"name": "lib", "version": "1.0.0"}',
        "src/calc.py": "x = 1\n",
        ".gitignore": "node_modules/\n",
    }
    return repository(tmp_path / "app", files)


async def test_a_lock_file_is_resolved_again_only_with_consent_and_then_part_of_the_change(
    stack: Bench, tmp_path: Path
) -> None:
    step = argv("npm", "ci", "--offline", "--no-audit")
    refused = run("refused", validate=[step], fail_on_pre_existing=True)
    agreed = run("agreed", validate=[step], mitigate_yes_to=["npm.*"])
    left, done = await stack.finish(locked(tmp_path), refused, agreed)
    assert left.state == pb.RUN_STATE_FAILED
    assert not left.mitigations
    assert any("mitigate: {yes_to:" in text for text in left.error.suggestions)
    assert done.state == pb.RUN_STATE_SUCCEEDED, done.error
    assert [item.outcome for item in done.mitigations] == [pb.MITIGATION_OUTCOME_FIXED]
    assert {change.path for change in done.changes} == {"package-lock.json", "src/calc.py"}
    (event, *_) = stack.events_of(done, pb.EVENT_KIND_MITIGATION)
    assert '+      "resolved": "lib"' in event.attributes["diff"]


async def test_consent_is_given_by_ids_of_patterns_alone(stack: Bench, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="mitigate_yes_to"):
        await stack.submit(repository(tmp_path / "calc"), run("one", mitigate_yes_to=["rm -rf /"]))


def with_script(tmp_path: Path) -> Path:
    """A project whose executable check is in a directory of its own."""
    path = repository(tmp_path / "app", {"tools/check.sh": "#!/bin/sh\ntest -e check.sh\n", "src/calc.py": "x = 1\n"})
    for words in (("update-index", "--chmod=+x", "tools/check.sh"), ("commit", "-qm", "check")):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=path, check=True)
    return path


async def test_a_script_that_is_not_where_its_step_runs_is_run_where_it_is(stack: Bench, tmp_path: Path) -> None:
    fixed = run("fixed", validate=[argv("./check.sh")], fail_on_pre_existing=True)
    (done,) = await stack.finish(with_script(tmp_path), fixed)
    assert done.state == pb.RUN_STATE_SUCCEEDED, done.error
    assert [(item.pattern_id, item.fixed) for item in done.mitigations] == [("os.no_such_file", True)]
    assert (done.steps[0].tries, done.steps[0].exit_code) == (2, 0)
