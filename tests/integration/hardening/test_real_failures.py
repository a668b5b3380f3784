"""The whole way with real tools: detect, fail, diagnose, apply, run the same command again. No network."""

from __future__ import annotations

import asyncio
import base64
import ensurepip
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from autopack_api.common.v1.common_pb2 import SnapshotFile, WorkspaceSnapshot
from autopack_api.hardening.v1.hardening_pb2 import DiagnoseRequest, DiagnoseResponse, ProjectFacts
from autopack_api.toolchain.v1.toolchain_pb2 import DetectRequest
from autopack_client import AsyncClient, connect
from autopack_client.facts import project_facts, workspace_paths
from autopack_client.mitigate import Applier, LocalRunner, Outcome, Ran, State
from autopack_hardening import create
from autopack_hardening.settings import HardeningSettings
from autopack_kit.commands import Command
from autopack_kit.convert import command_to_proto
from autopack_kit.testing import running
from autopack_toolchain.service import ToolchainService
from autopack_toolchain.settings import ToolchainSettings

if TYPE_CHECKING:
    from tests.integration.hardening.conftest import Repository

UNITTEST = Command.of("python", "-m", "unittest", "discover", "-s", "tests")
MANIFESTS = ("requirements.txt", "package.json", "package-lock.json")


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[AsyncClient]:
    hardening = create(HardeningSettings(database_url=f"sqlite:///{tmp_path}/hardening.sqlite3"))
    async with running(ToolchainService(ToolchainSettings()), hardening) as target, connect(target.address) as client:
        yield client


class Workbench:
    """A repository in which commands run as a run's would: with an environment inside the workspace."""

    def __init__(self, client: AsyncClient, repository: Repository, logs: Path) -> None:
        self.client, self.repository = client, repository
        logs.mkdir()
        path = f"{repository.path}/.venv/bin:{os.environ['PATH']}"
        keep = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
        env = {**keep, "PATH": path, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "npm_config_offline": "true"}
        self.runner = LocalRunner(logs, env=env, timeout=120)

    async def run(self, command: Command) -> Ran:
        return await self.runner.run(command, self.repository.path / command.cwd)

    async def facts(self, base: str) -> list[ProjectFacts]:
        files = [
            SnapshotFile(path=path, size=len(content), content=content)
            for path in workspace_paths(self.repository.path)
            if not path.endswith("/")
            for content in [(self.repository.path / path).read_bytes()]
        ]
        detected = await self.client.toolchain.Detect(DetectRequest(snapshot=WorkspaceSnapshot(files=files)))
        return await asyncio.to_thread(project_facts, detected, self.repository.path, base)

    async def diagnose(self, ran: Ran, facts: list[ProjectFacts]) -> DiagnoseResponse:
        request = DiagnoseRequest(
            command=command_to_proto(ran.command),
            exit_code=ran.exit_code,
            output=ran.output.read_bytes(),
            projects=facts,
            paths=workspace_paths(self.repository.path),
        )
        return await self.client.hardening.Diagnose(request)

    async def apply(self, answer: DiagnoseResponse, ran: Ran, facts: list[ProjectFacts], base: str) -> Outcome:
        one = Applier(self.repository.path, self.runner, facts=facts, base_commit=base)
        return await one.apply(answer.diagnoses[0].mitigation, ran.command)


@pytest.fixture
def bench(client: AsyncClient, repository: Repository, tmp_path: Path) -> Workbench:
    return Workbench(client, repository, tmp_path / "logs")


def wheel(directory: Path, distribution: str, module: str, text: str) -> None:
    """A real wheel (PEP 427) with one module."""
    directory.mkdir(exist_ok=True)
    info = f"{distribution}-1.0.dist-info"
    files = {
        f"{module}.py": text,
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
def python_project(repository: Repository) -> Repository:
    """A project with an environment of its own and two wheels at hand; requirements.txt declares one of them."""
    wheels = repository.path / "wheels"
    wheel(wheels, "pyyaml", "yaml", "LOADED = True\nif __name__ == '__main__':\n    print('ran')\n")
    wheel(wheels, "evil", "evil", "LOADED = True\n")
    repository.write("requirements.txt", "--no-index\n--find-links wheels\nPyYAML\n")
    repository.write(".gitignore", ".venv/\n__pycache__/\n")
    repository.write("app.py", "import yaml\n\nprint(yaml.LOADED)\n")
    repository.write("tests/test_app.py", TEST_APP.format(module="yaml"))
    environment(repository.path / ".venv")
    return repository


def environment(directory: Path) -> None:
    """A virtual environment with pip. Unpacking the bundled wheel takes a second where ensurepip takes ten."""
    bundled = next(Path(ensurepip.__file__).parent.glob("_bundled/pip-*.whl"), None)
    option = ["--without-pip"] if bundled else []
    subprocess.run([sys.executable, "-m", "venv", *option, str(directory)], check=True)
    if bundled:
        (packages,) = directory.glob("lib/python*/site-packages")
        zipfile.ZipFile(bundled).extractall(packages)


TEST_APP = """
import unittest

import {module}


class TestApp(unittest.TestCase):
    def test_loaded(self):
        self.assertTrue({module}.LOADED)
"""


@pytest.mark.parametrize("command", [UNITTEST, Command.of("python", "app.py"), Command.of("python", "-m", "yaml")])
async def test_a_declared_distribution_is_installed_and_the_same_command_passes(
    bench: Workbench, python_project: Repository, command: Command
) -> None:
    base = python_project.commit()
    failed = await bench.run(command)
    assert failed.exit_code != 0
    facts = await bench.facts(base)
    answer = await bench.diagnose(failed, facts)
    assert [alias for one in answer.diagnoses for alias in one.aliases] == ["python_missing_dep"]
    assert answer.diagnoses[0].mitigation.automatic
    outcome = await bench.apply(answer, failed, facts, base)
    assert (outcome.state, outcome.reasons) == (State.APPLIED, ())
    assert outcome.changed == ()
    assert (await bench.run(outcome.rerun)).exit_code == 0
    assert python_project.git("status", "--porcelain") == ""


async def test_an_undeclared_package_is_not_installed_although_it_could_be(
    bench: Workbench, python_project: Repository
) -> None:
    base = python_project.commit()
    python_project.write("tests/test_app.py", TEST_APP.format(module="evil"))
    failed = await bench.run(UNITTEST)
    facts = await bench.facts(base)
    answer = await bench.diagnose(failed, facts)
    assert [alias for one in answer.diagnoses for alias in one.aliases] == ["python_missing_dep"]
    mitigation = answer.diagnoses[0].mitigation
    assert not mitigation.actions
    assert "'evil'" in mitigation.suggestions[0].text
    assert mitigation.suggestions[0].risk
    assert (await bench.apply(answer, failed, facts, base)).state is State.REFUSED
    assert not list(python_project.path.glob(".venv/lib/*/site-packages/evil.py"))


async def test_a_declaration_that_the_run_added_is_not_installed_without_consent(
    bench: Workbench, python_project: Repository
) -> None:
    base = python_project.commit()
    python_project.write("requirements.txt", "--no-index\n--find-links wheels\nPyYAML\nevil\n")
    python_project.write("tests/test_app.py", TEST_APP.format(module="evil"))
    failed = await bench.run(UNITTEST)
    facts = await bench.facts(base)
    answer = await bench.diagnose(failed, facts)
    assert "evil in requirements.txt" in answer.diagnoses[0].mitigation.consent_reason
    assert (await bench.apply(answer, failed, facts, base)).state is State.REFUSED
    assert not list(python_project.path.glob(".venv/lib/*/site-packages/evil.py"))


async def test_a_command_in_the_wrong_directory_is_moved_and_passes(bench: Workbench, repository: Repository) -> None:
    repository.write("backend/requirements.txt", "")
    repository.write("backend/tests/test_a.py", TEST_APP.format(module="os").replace("os.LOADED", "os.sep"))
    repository.write("README.md", "x")
    base = repository.commit()
    failed = await bench.run(UNITTEST)
    facts = await bench.facts(base)
    answer = await bench.diagnose(failed, facts)
    assert [alias for one in answer.diagnoses for alias in one.aliases] == ["wrong_working_dir"]
    outcome = await bench.apply(answer, failed, facts, base)
    assert outcome.rerun.cwd == "backend"
    assert (await bench.run(outcome.rerun)).exit_code == 0


async def test_the_projects_own_package_in_src_is_found_on_the_rerun(bench: Workbench, repository: Repository) -> None:
    repository.write("src/acme/__init__.py", "LOADED = True\n")
    repository.write("pyproject.toml", '[project]\nname = "acme"\nversion = "1"\n')
    repository.write("tests/test_a.py", TEST_APP.format(module="acme"))
    base = repository.commit()
    failed = await bench.run(UNITTEST)
    facts = await bench.facts(base)
    answer = await bench.diagnose(failed, facts)
    assert [alias for one in answer.diagnoses for alias in one.aliases] == ["wrong_working_dir"]
    outcome = await bench.apply(answer, failed, facts, base)
    assert dict(outcome.rerun.env) == {"PYTHONPATH": "src"}
    assert (await bench.run(outcome.rerun)).exit_code == 0


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
@pytest.mark.parametrize("command", [Command.of("node", "index.js"), Command.of("npm", "test")])
async def test_a_declared_package_is_installed_from_the_lock_and_the_same_command_passes(
    bench: Workbench, repository: Repository, command: Command
) -> None:
    repository.write("vendor/acme-tool/package.json", '{"name": "acme-tool", "version": "1.0.0", "bin": "cli.js"}')
    repository.write("vendor/acme-tool/index.js", "module.exports = 1\n")
    repository.write("vendor/acme-tool/cli.js", "#!/usr/bin/env node\n").chmod(0o755)
    manifest = '{{"name": "app", "version": "1.0.0", "scripts": {{"test": "acme-tool"}}, "dependencies": {{{}}}}}'
    repository.write("package.json", manifest.format('"acme-tool": "file:vendor/acme-tool"'))
    repository.write("index.js", 'require("acme-tool")\n')
    repository.write(".gitignore", "node_modules/\n")
    made = await bench.run(Command.of("npm", "install", "--package-lock-only", "--ignore-scripts", "--no-audit"))
    assert made.exit_code == 0, made.output.read_text()
    base = repository.commit()
    failed = await bench.run(command)
    assert failed.exit_code != 0
    facts = await bench.facts(base)
    answer = await bench.diagnose(failed, facts)
    assert [alias for one in answer.diagnoses for alias in one.aliases] == ["node_missing_dep"]
    outcome = await bench.apply(answer, failed, facts, base)
    assert (outcome.state, outcome.reasons) == (State.APPLIED, ())
    assert (await bench.run(outcome.rerun)).exit_code == 0
    assert repository.git("status", "--porcelain") == ""
