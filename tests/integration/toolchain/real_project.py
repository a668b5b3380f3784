"""A tiny but real project: written, detected, and the steps that detection proposes run with the real tools."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import autopack_toolchain
import pytest
from autopack_kit.commands import Command
from autopack_orchestrator.adapters.virtualenv import bundled_wheels, unpack
from autopack_orchestrator.core.environment import with_tools
from autopack_toolchain import Project, Step, StepKind

from tests.integration.toolchain.toolbox import PACKAGES, Toolbox

STEP_TIMEOUT_S = 300.0  # a step takes seconds; the first one that fetches from a far registry takes longer
PROOF = "the-test-ran"
"""The file that the test of every project makes, in whatever directory it is run."""
RIGHT, WRONG = "42", "4242"
"""What every project's test expects, and what makes it fail. Of other length: compiled files of Python go by that."""

CHECKS = (StepKind.BUILD, StepKind.LINT, StepKind.TYPECHECK, StepKind.FORMAT)


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command did."""

    line: str
    exit_code: int
    output: str

    def __str__(self) -> str:
        return f"{self.line}: exit code {self.exit_code}\n{self.output[-6000:]}"


class RealProject:
    """A repository and the tools that work on it."""

    def __init__(self, path: Path, toolbox: Toolbox, scratch: Path) -> None:
        self.path = path
        self.toolbox = toolbox
        self._log = scratch / "log"
        self._environment = dict(toolbox.environment)
        path.mkdir(parents=True)

    def needs(self, *programs: str) -> None:
        """Skip the test where one of these is not installed."""
        for program in programs:
            if self.toolbox.which(program) is None:
                pytest.skip(f"{program} is not installed (Debian: apt-get install {PACKAGES.get(program, 'npm')})")

    def write(self, files: Mapping[str, str]) -> None:
        """Files by path; an empty first line is dropped, so that a text can begin on a line of its own."""
        for name, text in files.items():
            file = self.path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text.removeprefix("\n"))

    def prefer(self, directory: str) -> None:
        """Put a directory of the toolbox before the others: where several programs share a name."""
        programs = Path(self.toolbox.environment["PATH"].partition(os.pathsep)[0])
        self._environment["PATH"] = f"{programs / directory}{os.pathsep}{self._environment['PATH']}"

    def tool(self, *argv: str, cwd: str = ".") -> str:
        """Run a tool as the author of the project would, for example to make its lock file; returns what it said."""
        ran = self._run(Command.of(*argv, cwd=cwd))
        assert ran.exit_code == 0, str(ran)
        return ran.output

    def prove(
        self,
        *,
        manager: str,
        test: str,
        also: tuple[StepKind, ...] = (),
        workdir: str = ".",
        installs: bool = True,
    ) -> Project:
        """Install and test as proposed; then every other step; then break the test, which has to be noticed.

        Args:
            manager: the package manager that has to be recognised.
            test: the file that holds the test.
            also: kinds of which a step has to be proposed; of every other kind one may be. All that are must pass; but
                RUN only if it is named here, since programs that serve do not end.
            workdir: where the project is.
            installs: whether there is something to install, so that a step for it has to be proposed.
        """
        self._commit()
        project = self._detected(workdir, manager)
        if manager == "pip":
            self._make_virtualenv(workdir)
        install = project.step(StepKind.INSTALL)
        assert install is not None or not installs, project.steps
        if install is not None:
            self._pass(install)
        self._test(project)
        for kind in (*CHECKS, StepKind.RUN):
            step = project.step(kind)
            assert step is not None or kind not in also, f"no step to {kind.value}: {project.steps}"
            if step is not None and (kind is not StepKind.RUN or kind in also):
                self._pass(step)
        assert self._git("status", "--porcelain", "--untracked-files=no") == ""
        self._notice_a_broken_test(project, test)
        return project

    def forget(self) -> None:
        """Forget that a test ran, so that another project of the repository can be proved."""
        for proof in self.path.rglob(PROOF):
            proof.unlink()

    # parts

    def _commit(self) -> None:
        self._git("init", "-q", "-b", "main")
        self._git("add", "-A")
        self._git("commit", "-q", "--allow-empty", "-m", "A small project")

    def _detected(self, workdir: str, manager: str) -> Project:
        projects = autopack_toolchain.detect(self.path).projects
        here = [project for project in projects if project.workdir == workdir]
        wanted = next((project for project in here if project.package_manager.name == manager), None)
        assert wanted is not None, [(p.workdir, p.ecosystem, p.package_manager.name) for p in projects]
        return wanted

    def _make_virtualenv(self, workdir: str) -> None:
        """The environment that the orchestrator would make."""
        directory = self.path / workdir / ".venv"
        wheels = bundled_wheels()
        options = ["--without-pip"] if wheels else []
        subprocess.run([sys.executable, "-m", "venv", *options, str(directory)], check=True)
        unpack(directory, wheels)

    def _pass(self, step: Step) -> None:
        ran = self._run(step.command)
        assert ran.exit_code == 0, f"{step.kind.value} as proposed fails ({step.evidence})\n{ran}"

    def _test(self, project: Project) -> None:
        test = project.step(StepKind.TEST)
        assert test is not None, project.steps
        assert not list(self.path.rglob(PROOF))
        self._pass(test)
        assert list(self.path.rglob(PROOF)), f"no test ran\n{self._log.read_text(errors='replace')}"

    def _notice_a_broken_test(self, project: Project, test: str) -> None:
        file = self.path / test
        text = file.read_text()
        assert text.count(RIGHT) == 1
        file.write_text(text.replace(RIGHT, WRONG))
        step = project.step(StepKind.TEST)
        assert step is not None
        ran = self._run(step.command)
        assert ran.exit_code != 0, f"the test is broken, and the step passes\n{ran}"
        file.write_text(text)

    def _run(self, command: Command) -> Ran:
        cwd = self.path / command.cwd
        environment = {**self._at(cwd), **command.env}
        argv = list(command.argv)
        if command.script is not None:
            script = self._log.with_name("script")
            script.write_text(command.script.text)
            argv = [*command.script.interpreter, str(script)]
        with self._log.open("wb") as log:
            try:
                process = subprocess.Popen(
                    argv,
                    cwd=cwd,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            except FileNotFoundError as error:
                return Ran(command.line(), 127, str(error))
            try:
                code = process.wait(STEP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                code = process.wait()
        return Ran(command.line(), code, self._log.read_text(errors="replace"))

    def _at(self, cwd: Path) -> dict[str, str]:
        """The environment with the tools that are installed in a directory or above it, as the orchestrator has it."""
        places = [place for place in (cwd, *cwd.parents) if place.is_relative_to(self.path)]
        virtualenv = next((place / ".venv" for place in places if (place / ".venv/bin/python").exists()), None)
        bins = [place / "node_modules/.bin" for place in places if (place / "node_modules/.bin").is_dir()]
        return with_tools(self._environment, virtualenv, bins)

    def _git(self, *arguments: str) -> str:
        identity = ("-c", "user.name=Test", "-c", "user.email=test@example.com")
        environment = {**self._environment, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        done = subprocess.run(
            ["git", *identity, *arguments], cwd=self.path, env=environment, check=True, capture_output=True, text=True
        )
        return done.stdout
