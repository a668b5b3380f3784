"""Runs and the other services: what they fix, what they may not, and what happens when they are down."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_api.orchestrator.v1.batch_pb2 import PREPARE_AUTO, Budget
from autopack_api.telemetry.v1 import telemetry_pb2 as telemetry
from autopack_api.toolchain.v1.toolchain_pb2 import STEP_KIND_BUILD, STEP_KIND_LINT, STEP_KIND_TEST

from tests.service.orchestrator.bench import ADVISERS, Bench, argv, bench, git, repository, run

PROBE = Path(__file__).with_name("inside_a_run.py")
TEST_APP = """
import unittest

import app


class T(unittest.TestCase):
    def test_pad(self):
        assert app.pad('x')
"""


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path) as running:
        yield running


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return repository(tmp_path / "calc")


def wheel(directory: Path, distribution: str, module: str) -> None:
    """A real wheel (PEP 427) with one module."""
    directory.mkdir(exist_ok=True)
    info = f"{distribution}-1.0.dist-info"
    files = {
        f"{module}.py": "LOADED = True\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = []
    with zipfile.ZipFile(directory / f"{distribution}-1.0-py3-none-any.whl", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest()).rstrip(b"=").decode()
            record.append(f"{name},sha256={digest},{len(content)}")
        archive.writestr(f"{info}/RECORD", "\n".join([*record, f"{info}/RECORD,,"]) + "\n")


@pytest.fixture
def python_project(tmp_path: Path) -> Path:
    """A project that declares one of the two distributions that are at hand."""
    wheels = tmp_path / "wheels"
    wheel(wheels, "leftpad", "leftpad")
    wheel(wheels, "evil", "evil")
    files = {
        "requirements.txt": f"--no-index\n--find-links {wheels}\nleftpad==1.0\n",
        "app.py": "def pad(text):\n    return text\n",
        "test_app.py": TEST_APP,
    }
    return repository(tmp_path / "project", files)


async def test_a_declared_dependency_is_installed_and_the_step_fixed_and_an_undeclared_one_never(
    stack: Bench, python_project: Path
) -> None:
    uses = "sed -i '1i import {}' app.py"
    command = argv("python", "-m", "unittest")
    declared = run("declared", uses.format("leftpad"), validate=[command])
    undeclared = run("undeclared", uses.format("evil"), validate=[command])
    prepared = run("prepared", uses.format("leftpad"), validate=[command], prepare=PREPARE_AUTO)
    sneaky = run(
        "sneaky", uses.format("evil") + "; echo evil >> requirements.txt", validate=[command], prepare=PREPARE_AUTO
    )
    fixed, failed, clean, sneaked = await stack.finish(python_project, declared, undeclared, prepared, sneaky)

    assert fixed.state == pb.RUN_STATE_SUCCEEDED, fixed.error
    assert [step.outcome for step in fixed.steps] == [pb.STEP_OUTCOME_FIXED]
    assert fixed.steps[0].tries == 2
    assert fixed.steps[0].pattern_id
    assert [item.fixed for item in fixed.mitigations] == [True]
    assert [change.path for change in fixed.changes] == ["app.py"]
    summary = await stack.client.telemetry.GetRunSummary(telemetry.GetRunSummaryRequest(run_id=fixed.run_id))
    assert [item.tokens > 0 for item in summary.avoided] == [True]

    assert (failed.state, failed.error.reason) == (pb.RUN_STATE_FAILED, "VALIDATION_FAILED")
    assert not failed.mitigations
    assert any("evil" in text for text in failed.error.suggestions)

    assert clean.state == pb.RUN_STATE_SUCCEEDED
    assert [step.outcome for step in clean.steps] == [pb.STEP_OUTCOME_PASSED]

    assert sneaked.state == pb.RUN_STATE_FAILED
    assert not any(item.fixed for item in sneaked.mitigations)


async def test_a_link_in_the_place_of_the_virtual_environment_is_refused_and_not_followed(
    stack: Bench, python_project: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    (python_project / ".venv").symlink_to(outside)
    git(python_project, "add", "-f", ".venv")
    git(python_project, "commit", "-qm", "Link the environment")
    (done,) = await stack.finish(python_project, run("one", prepare=PREPARE_AUTO))
    assert (done.state, done.error.reason) == (pb.RUN_STATE_FAILED, "PREPARE_FAILED")
    assert "'.venv' is a symbolic link" in done.error.message
    assert not outside.exists()


async def test_a_step_in_the_wrong_directory_is_run_in_the_right_one(stack: Bench, tmp_path: Path) -> None:
    manifest = '{"name": "web", "version": "1.0.0", "scripts": {"test": "node test.js"}}'
    files = {"web/package.json": manifest, "web/test.js": "process.exit(0)\n", "src/calc.py": "x = 1\n"}
    item = run("one", validate=[argv("npm", "test")])
    (done,) = await stack.finish(repository(tmp_path / "mixed", files), item)
    assert done.state == pb.RUN_STATE_SUCCEEDED, done.error
    assert [step.outcome for step in done.steps] == [pb.STEP_OUTCOME_FIXED]
    assert [item.fixed for item in done.mitigations] == [True]


async def test_without_mitigation_nothing_is_asked_and_nothing_fixed(stack: Bench, tmp_path: Path) -> None:
    manifest = '{"name": "web", "version": "1.0.0", "scripts": {"test": "node test.js"}}'
    files = {"web/package.json": manifest, "web/test.js": "process.exit(0)\n", "src/calc.py": "x = 1\n"}
    item = run("one", validate=[argv("npm", "test")], no_mitigation=True, fail_on_pre_existing=True)
    (done,) = await stack.finish(repository(tmp_path / "mixed", files), item)
    assert done.state == pb.RUN_STATE_FAILED
    assert not stack.events_of(done, pb.EVENT_KIND_DIAGNOSIS)


async def test_detected_steps_of_the_asked_kinds_validate_each_project_once(stack: Bench, tmp_path: Path) -> None:
    manifest = {"name": "w", "version": "1.0.0", "scripts": {"test": "true", "lint": "true", "build": "true"}}
    files = {"a/package.json": json.dumps(manifest), "b/package.json": json.dumps(manifest), "src/calc.py": "x = 1\n"}
    kinds = [STEP_KIND_BUILD, STEP_KIND_LINT, STEP_KIND_TEST]
    item = run("one", validate=[], validate_kinds=kinds)
    (done,) = await stack.finish(repository(tmp_path / "two", files), item)
    assert done.state == pb.RUN_STATE_SUCCEEDED, done.error
    ran = [(step.command.cwd, " ".join(step.command.argv.words)) for step in done.steps]
    assert len(ran) == 6
    assert {cwd for cwd, _ in ran} == {"a", "b"}


@pytest.fixture
def agent() -> list[str]:
    return [sys.executable, str(PROBE)]


async def test_the_token_inside_a_run_records_usage_of_that_run_and_opens_nothing_else(
    stack: Bench, repo: Path, agent: list[str]
) -> None:
    item = run("one", command=argv(*agent), budget=Budget(max_tokens=10))
    (done,) = await stack.finish(repo, item)
    assert done.state == pb.RUN_STATE_SUCCEEDED, (done.error, await stack.log(done.run_id))
    found = json.loads(git(repo, "show", f"{done.branch}:found.json"))
    assert found.pop("own usage") == "OK"
    assert len(found) == 15
    assert {name for name, answer in found.items() if not answer.startswith("PermissionDenied")} == set()
    summary = await stack.client.telemetry.GetRunSummary(telemetry.GetRunSummaryRequest(run_id=done.run_id))
    assert summary.tokens.output == 10


async def test_a_used_up_budget_ends_the_agent_and_the_runs_after_it(
    stack: Bench, repo: Path, agent: list[str]
) -> None:
    script = f"{' '.join(agent)} 5000; sleep 600"
    (done,) = await stack.finish(repo, run("one", script, budget=Budget(max_tokens=4999)))
    assert (done.state, done.error.reason) == (pb.RUN_STATE_FAILED, "BUDGET")
    assert "5000 tokens used" in done.error.message
    first, later = await stack.finish(
        repo, run("one", f"{' '.join(agent)} 5000"), run("two", "sleep 600"),
        max_concurrent_runs=1, budget=Budget(max_tokens=4999),
    )  # fmt: skip
    assert later.error.reason == "BUDGET"
    assert first.state == pb.RUN_STATE_SUCCEEDED


@pytest.mark.parametrize("down", ["hardening", "intention", "telemetry"])
async def test_a_run_goes_on_with_a_warning_when_an_adviser_is_down(tmp_path: Path, repo: Path, down: str) -> None:
    async with bench(tmp_path, without=[down]) as stack:
        item = run("one", validate=[argv("test", "-e", "never")], budget=Budget(max_tokens=10))
        (done,) = await stack.finish(repo, item)
        assert done.state == pb.RUN_STATE_SUCCEEDED, done.error
        assert [step.outcome for step in done.steps] == [pb.STEP_OUTCOME_PRE_EXISTING]
        about = {event.attributes["about"] for event in stack.events_of(done, pb.EVENT_KIND_WARNING)}
        assert about == {down}
        assert done.warnings


async def test_all_advisers_down_at_once_leave_a_run_that_works(tmp_path: Path, repo: Path) -> None:
    async with bench(tmp_path, without=ADVISERS) as stack:
        (done,) = await stack.finish(repo, run("one"))
        assert done.state == pb.RUN_STATE_SUCCEEDED, done.error
        about = {event.attributes["about"] for event in stack.events_of(done, pb.EVENT_KIND_WARNING)}
        assert about == {"toolchain", "intention", "telemetry"}


async def test_without_the_toolchain_a_run_needs_steps_of_its_own(tmp_path: Path, repo: Path) -> None:
    async with bench(tmp_path, without=["toolchain"]) as stack:
        own, none = await stack.finish(repo, run("own"), run("none", validate=[]))
        assert own.state == pb.RUN_STATE_SUCCEEDED
        assert any("could not be examined" in warning for warning in own.warnings)
        assert (none.state, none.error.reason) == (pb.RUN_STATE_FAILED, "TOOLCHAIN_UNAVAILABLE")
        assert none.error.suggestions


async def test_steps_that_prepare_a_run_stay_out_of_its_change(stack: Bench, repo: Path) -> None:
    install = [
        argv("sh", "-c", "mkdir -p vendor src/gen; echo x > vendor/lib; echo x > src/gen/g; echo y >> README.md")
    ]
    (done,) = await stack.finish(repo, run("one", prepare=PREPARE_AUTO, install=install))
    assert done.state == pb.RUN_STATE_SUCCEEDED
    assert [change.path for change in done.changes] == ["src/calc.py"]
    assert any("README.md" in warning for warning in done.warnings)
    fails = run("one", prepare=PREPARE_AUTO, install=[argv("false")])
    (failed,) = await stack.finish(repo, fails)
    assert (failed.state, failed.error.reason) == (pb.RUN_STATE_FAILED, "PREPARE_FAILED")
