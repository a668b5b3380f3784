"""Plays scenarios: the real tool fails, the real services diagnose and mend, and the same command runs again."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
from autopack_api.common.v1.common_pb2 import SnapshotFile, WorkspaceSnapshot
from autopack_api.hardening.v1.hardening_pb2 import DiagnoseRequest, Diagnosis, ProjectFacts
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_api.orchestrator.v1.batch_pb2 import PREPARE_AUTO, PREPARE_NONE
from autopack_api.toolchain.v1.toolchain_pb2 import DetectRequest
from autopack_client.facts import project_facts, workspace_paths
from autopack_client.mitigate import Applier, LocalRunner, Outcome, Ran, State
from autopack_client.runtimes import installed_runtimes
from autopack_kit.commands import Command
from autopack_kit.convert import command_from_proto, command_to_proto
from autopack_orchestrator.adapters.virtualenv import bundled_wheels, unpack
from autopack_orchestrator.convert_peers import action_words
from autopack_orchestrator.core.environment import ALLOWED, with_tools

from tests.integration.hardening.scenario import Fixed, Left, Scenario
from tests.integration.toolchain.toolbox import PACKAGES, Toolbox
from tests.service.orchestrator.bench import GIT_ENVIRONMENT, Bench, argv, bench, run, shell

MAX_STEPS = 4  # a missing package behind a wrong directory is two
COMMAND_TIMEOUT_S = 300.0
NOTES = "NOTES.md"
"""What the agent of a run writes, so that there is something to validate."""


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a scenario.

    Attributes:
        patterns: ids of the diagnoses, one per failure.
        done: what was done, in words; empty for nothing.
        advice: the suggestions of the last diagnosis.
        passed: the command passed in the end.
    """

    patterns: tuple[str, ...]
    done: tuple[str, ...]
    advice: tuple[str, ...]
    passed: bool

    def dumps(self) -> str:
        """As JSON, for the table in the documents."""
        return json.dumps(asdict(self))


class Stage:
    """The services, and the tools that fail."""

    def __init__(self, services: Bench, toolbox: Toolbox, root: Path) -> None:
        self.services, self.toolbox, self.root = services, toolbox, root
        self.runtimes = installed_runtimes(toolbox.environment, root)

    async def play(self, scenario: Scenario) -> Report:
        """Play one scenario, checking all that it expects."""
        for program in scenario.needs:
            if self.toolbox.which(program) is None:
                pytest.skip(f"{program} is not installed (Debian: apt-get install {PACKAGES.get(program, program)})")
        for name, version in scenario.runtimes:
            if not any(one.name == name and f"{one.version}.".startswith(f"{version}.") for one in self.runtimes):
                pytest.skip(f"no {name} {version} is installed here beside the one on the search path")
        place = self.root / scenario.name.replace("/", "-")
        repo = await asyncio.to_thread(self._make, scenario, place)
        if scenario.via == "run":
            return await _Run(self.services, self.toolbox).play(scenario, repo)
        return await _Checkout(self, repo, place / "logs").play(scenario)

    def _make(self, scenario: Scenario, place: Path) -> Path:
        """The project as its author committed it."""
        repo = place / "project"
        (place / "logs").mkdir(parents=True)
        for name, text in {NOTES: "notes\n", **scenario.files}.items():
            file = repo / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text.removeprefix("\n"))
        author = {**GIT_ENVIRONMENT, **self.toolbox.environment, **_IDENTITY}
        for script in ("git init -q -b main", scenario.setup, "git add -A && git commit -q -m Start"):
            done = subprocess.run(["sh", "-ec", script], cwd=repo, env=author, capture_output=True, check=False)
            assert done.returncode == 0, f"{script}\n{(done.stdout + done.stderr).decode()}"
        return repo


_IDENTITY = {name: value for name, value in GIT_ENVIRONMENT.items() if name.startswith("GIT_")}


class _Run:
    """A scenario as a run of the orchestrator: the agent breaks the project, and the validation is the command."""

    def __init__(self, services: Bench, toolbox: Toolbox) -> None:
        self.services = services
        self.passed = sorted(set(toolbox.environment) - set(ALLOWED) - _OWN)

    async def play(self, scenario: Scenario, repo: Path) -> Report:
        before = await asyncio.to_thread(_files, repo)
        item = run(
            "one",
            command=shell(f"echo more >> {NOTES}\n{scenario.breaks}"),
            validate=[argv(*scenario.command, cwd=scenario.cwd, env=dict(scenario.env))],
            prepare=PREPARE_AUTO if scenario.install else PREPARE_NONE,
            pass_env=[name for name in self.passed if name in os.environ],
            fail_on_pre_existing=True,
            mitigate_yes_to=_agreed_to(scenario),
        )
        (done,) = await self.services.finish(repo, item)
        log = (await self.services.log(done.run_id))[-8000:].decode("utf-8", "replace")
        assert done.steps, f"{done.error}\n{log}"
        report = Report(
            patterns=_best_of_each(done),
            done=tuple(" and ".join(one.actions) for one in done.mitigations),
            advice=tuple(done.error.suggestions[:-1]),  # the last names the log
            passed=done.state == pb.RUN_STATE_SUCCEEDED,
        )
        assert await asyncio.to_thread(_files, repo) == before
        told = f"{report}\n{log}"
        match scenario.expected:
            case Fixed() as expected:
                _check_steps(expected, report, told)
                assert done.mitigations[-1].fixed, told
                # Where a fix changed files, everything is validated again, and there is nothing left to fix.
                again = any(one.changed_paths for one in done.mitigations)
                outcome = pb.STEP_OUTCOME_PASSED if again else pb.STEP_OUTCOME_FIXED
                assert [step.outcome for step in done.steps] == [outcome], told
                assert done.steps[0].tries == (1 if again else len(expected.patterns) + 1), told
            case Left() as expected:
                _check_left(expected, report, told)
                assert (done.state, done.error.reason) == (pb.RUN_STATE_FAILED, "VALIDATION_FAILED"), told
                assert [step.pattern_id for step in done.steps] == [expected.pattern], told
        return report


_OWN = {name for name in os.environ if name.startswith("AUTOPACK_")}


def _agreed_to(scenario: Scenario) -> tuple[str, ...]:
    """The patterns whose mitigations the run is allowed beforehand."""
    expected = scenario.expected
    return expected.patterns if isinstance(expected, Fixed) and expected.consent else ()


def _best_of_each(done: pb.Run) -> tuple[str, ...]:
    """The diagnosis of each failure: those that were mitigated, and of the last failure what its step names."""
    mitigated = [one.pattern_id for one in done.mitigations]
    if done.state == pb.RUN_STATE_SUCCEEDED:
        return tuple(mitigated)
    return (*mitigated, done.steps[0].pattern_id)


class _Checkout:
    """A scenario in a checkout, with the applier that the orchestrator uses too."""

    def __init__(self, stage: Stage, repo: Path, logs: Path) -> None:
        self.services, self.toolbox, self.repo, self.logs = stage.services, stage.toolbox, repo, logs
        self.runtimes = stage.runtimes
        self.base = _git(repo, "rev-parse", "HEAD")

    async def play(self, scenario: Scenario) -> Report:
        facts = await self._facts()
        await self._prepare(facts, install=scenario.install)
        if scenario.breaks:
            broken = await self._run(Command.of("sh", "-ec", scenario.breaks, env=_IDENTITY))
            assert broken.exit_code == 0, broken.output.read_text()
        ran = await self._run(Command.of(*scenario.command, cwd=scenario.cwd, env=scenario.env))
        assert ran.exit_code != 0, f"it is not broken\n{_tail(ran)}"
        facts = await self._facts()
        match scenario.expected:
            case Fixed() as expected:
                return await self._mend(expected, ran, facts)
            case Left() as expected:
                return await self._leave(expected, ran, facts)

    async def _mend(self, expected: Fixed, ran: Ran, facts: list[ProjectFacts]) -> Report:
        patterns: list[str] = []
        done: list[str] = []
        while ran.exit_code != 0 and len(patterns) < MAX_STEPS:
            best = await self._diagnose(ran, facts)
            patterns.append(best.pattern_id)
            outcome = await self._apply(expected, best, ran, facts)
            assert outcome.state is State.APPLIED, f"{outcome.reasons}\n{best}\n{_tail(ran)}"
            done.append(" and ".join(map(action_words, best.mitigation.actions)))
            ran = await self._run(outcome.rerun)
        report = Report(tuple(patterns), tuple(done), (), passed=ran.exit_code == 0)
        _check_steps(expected, report, f"{report}\n{_tail(ran)}")
        return report

    async def _leave(self, expected: Left, ran: Ran, facts: list[ProjectFacts]) -> Report:
        best = await self._diagnose(ran, facts)
        await self._refused(best, ran, facts, consent=False)
        if not expected.consent_helps:
            await self._refused(best, ran, facts, consent=True)
        advice = [f"{one.text} {one.risk}".strip() for one in best.mitigation.suggestions]
        if best.mitigation.consent_reason:
            advice.insert(0, f"It needs consent: {best.mitigation.consent_reason}")
        shown = tuple(text.replace(f"{self.repo}/", "") for text in advice)
        report = Report((best.pattern_id,), (), shown, passed=False)
        _check_left(expected, report, f"{best}\n{_tail(ran)}")
        return report

    async def _apply(self, expected: Fixed, best: Diagnosis, ran: Ran, facts: list[ProjectFacts]) -> Outcome:
        assert best.mitigation.automatic is not expected.consent, f"{best}\n{_tail(ran)}"
        if expected.consent:
            await self._refused(best, ran, facts, consent=False)
        return await self._applier(facts, consent=expected.consent).apply(best.mitigation, ran.command)

    async def _refused(self, best: Diagnosis, ran: Ran, facts: list[ProjectFacts], *, consent: bool) -> None:
        before = await asyncio.to_thread(digest, self.repo)
        outcome = await self._applier(facts, consent=consent).apply(best.mitigation, ran.command)
        assert outcome.state is State.REFUSED, f"{outcome}\n{best}"
        assert outcome.rerun == ran.command
        assert await asyncio.to_thread(digest, self.repo) == before

    def _applier(self, facts: list[ProjectFacts], *, consent: bool) -> Applier:
        runner = LocalRunner(self.logs, env=self._environment(), timeout=COMMAND_TIMEOUT_S)
        return Applier(
            self.repo,
            runner,
            facts=facts,
            base_commit=self.base,
            consent=consent,
            runtimes=self.runtimes,
            search_path=self._environment()["PATH"],
        )

    async def _run(self, command: Command) -> Ran:
        runner = LocalRunner(self.logs, env=self._environment(command.cwd), timeout=COMMAND_TIMEOUT_S)
        return await runner.run(command, self.repo / command.cwd)

    def _environment(self, cwd: str = ".") -> Mapping[str, str]:
        """With the tools that are installed in a directory or above it, as the orchestrator has it."""
        places = [place for place in ((self.repo / cwd), *(self.repo / cwd).parents) if place.is_relative_to(self.repo)]
        virtualenv = next((place / ".venv" for place in places if (place / ".venv/bin/python").exists()), None)
        bins = [place / "node_modules/.bin" for place in places if (place / "node_modules/.bin").is_dir()]
        return {**with_tools(self.toolbox.environment, virtualenv, bins), **_CONFIGURED}

    async def _facts(self) -> list[ProjectFacts]:
        files = [
            SnapshotFile(path=path, size=len(content), content=content)
            for path in workspace_paths(self.repo)
            if (self.repo / path).is_file()
            for content in [(self.repo / path).read_bytes()]
        ]
        request = DetectRequest(snapshot=WorkspaceSnapshot(files=files))
        detected = await self.services.client.toolchain.Detect(request)
        return await asyncio.to_thread(project_facts, detected, self.repo, self.base)

    async def _prepare(self, facts: list[ProjectFacts], *, install: bool) -> None:
        for project in facts:
            directory = self.repo / project.workdir / ".venv"
            if project.package_manager == "pip" and project.install and not directory.exists():
                wheels = bundled_wheels()
                options = ["--without-pip"] if wheels else []
                await asyncio.to_thread(
                    subprocess.run, [sys.executable, "-m", "venv", *options, str(directory)], check=True
                )
                unpack(directory, wheels)
            for message in project.install if install else ():
                ran = await self._run(command_from_proto(message))
                assert ran.exit_code == 0, _tail(ran)

    async def _diagnose(self, ran: Ran, facts: list[ProjectFacts]) -> Diagnosis:
        request = DiagnoseRequest(
            command=command_to_proto(ran.command),
            output=ran.output.read_bytes(),
            projects=facts,
            paths=workspace_paths(self.repo),
            runtimes=self.runtimes,
            timed_out=ran.timed_out,
        )
        if ran.exit_code < 0:
            request.signal = -ran.exit_code
        else:
            request.exit_code = ran.exit_code
        answer = await self.services.client.hardening.Diagnose(request)
        assert answer.diagnoses, f"nothing is diagnosed\n{_tail(ran)}"
        return answer.diagnoses[0]


_CONFIGURED = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
"""Without the configuration of the machine, which may have an identity and hooks."""


def _check_steps(expected: Fixed, report: Report, told: str) -> None:
    assert report.patterns == expected.patterns, told
    assert report.passed, told
    assert len(report.done) == len(expected.does), told
    for done, words in zip(report.done, expected.does, strict=True):
        assert words in done, told


def _check_left(expected: Left, report: Report, told: str) -> None:
    assert report.patterns == (expected.pattern,), told
    assert report.done == (), told
    assert expected.says in " ".join(report.advice), told


def _tail(ran: Ran) -> str:
    return f"{ran.command.line()}: exit code {ran.exit_code}\n{ran.output.read_text(errors='replace')[-6000:]}"


def _git(repo: Path, *words: str) -> str:
    return subprocess.run(
        ["git", *words], cwd=repo, env=GIT_ENVIRONMENT, check=True, capture_output=True, text=True
    ).stdout.strip()


def digest(repo: Path) -> dict[str, tuple[int, str]]:
    """Mode and content of every file and link below a directory, what is installed and ``.git`` included."""
    found = {}
    for path in sorted(repo.rglob("*")):
        content = os.fsencode(os.readlink(path)) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(repo))] = (path.lstat().st_mode, hashlib.sha256(content).hexdigest())
    return found


def _files(repo: Path) -> dict[str, tuple[int, str]]:
    """The user's files; a run that succeeds adds a branch to their repository, and nothing else."""
    return {name: entry for name, entry in digest(repo).items() if not name.startswith(".git/") and name != ".git"}


@asynccontextmanager
async def open_stage(toolbox: Toolbox, root: Path) -> AsyncIterator[Stage]:
    """The services, in an environment that has the tools of the toolbox and nothing else of this machine's."""
    with pytest.MonkeyPatch.context() as patch:
        for name in set(os.environ) - {"TMPDIR", "PYTEST_CURRENT_TEST"}:
            patch.delenv(name)
        for name, value in toolbox.environment.items():
            patch.setenv(name, value)
        async with bench(root, passable_env=tuple(sorted(set(toolbox.environment) - set(ALLOWED)))) as services:
            yield Stage(services, toolbox, root)
