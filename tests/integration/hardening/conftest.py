"""A git repository to break."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.integration.hardening.scenario_stage import Stage, open_stage
from tests.integration.toolchain.toolbox import open_toolbox


class Repository:
    """A real repository with a clean environment for git."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True)
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments: str) -> str:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        identity = ("-c", "user.name=Test", "-c", "user.email=test@example.com")
        result = subprocess.run(
            ["git", *identity, *arguments], cwd=self.path, env=environment, check=True, capture_output=True, text=True
        )
        return result.stdout

    def write(self, path: str, content: str) -> Path:
        file = self.path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        return file

    def commit(self) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "change")
        return self.git("rev-parse", "HEAD").strip()


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """The services and the real tools; one of each for all scenarios of a file."""
    async with open_stage(open_toolbox(), tmp_path_factory.mktemp("stage")) as opened:
        yield opened
