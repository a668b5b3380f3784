"""Real repositories and databases for the tests of the orchestrator."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from autopack_kit.db.testing import fresh_url
from autopack_orchestrator.adapters.git import Mirrors, RepositoryLocks, Source, Workspaces, open_source
from autopack_orchestrator.adapters.store import Store

ROOT = str(Path(__file__).resolve().parents[3])
if ROOT not in sys.path:  # the tests of whole runs import tests.service.orchestrator.bench
    sys.path.insert(0, ROOT)

ENV = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "A User",
    "GIT_AUTHOR_EMAIL": "user@example.com",
    "GIT_COMMITTER_NAME": "A User",
    "GIT_COMMITTER_EMAIL": "user@example.com",
}


def git(cwd: Path, *args: str, check: bool = True) -> str:
    """Run git as a user would; returns stdout."""
    done = subprocess.run(["git", *args], cwd=cwd, env=ENV, capture_output=True, check=False)
    assert done.returncode == 0 or not check, done.stderr.decode()
    return os.fsdecode(done.stdout).strip()


@dataclass(frozen=True)
class World:
    """A repository of a user, and the directories of a service."""

    repo: Path
    roots: list[Path]
    locks: RepositoryLocks
    mirrors: Mirrors
    workspaces: Workspaces
    worktrees: Path

    async def source(self) -> Source:
        return await open_source(self.repo, self.roots)

    def git(self, *args: str, cwd: Path | None = None, check: bool = True) -> str:
        """Run git as the user, in the user's repository unless told otherwise."""
        return git(cwd or self.repo, *args, check=check)

    @property
    def head(self) -> str:
        return git(self.repo, "rev-parse", "HEAD")


@pytest.fixture(autouse=True)
def _no_user_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)


@pytest.fixture
def world(tmp_path: Path) -> World:
    repo = tmp_path / "user" / "repo"
    repo.mkdir(parents=True)
    git(repo, "init", "-q", "-b", "main")
    (repo / "src").mkdir()
    (repo / "src" / "a.py").write_text("print('a')\n" * 20)
    (repo / "src" / "b.py").write_text("print('b')\n" * 30)
    (repo / "run.sh").write_text("#!/bin/sh\necho run\n")
    (repo / "run.sh").chmod(0o755)
    (repo / "link").symlink_to("src/a.py")
    (repo / "blob.bin").write_bytes(bytes(range(256)) * 20)
    (repo / ".gitignore").write_text("ignored/\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "first")
    git(repo, "tag", "v1")
    locks = RepositoryLocks()
    worktrees = tmp_path / "data" / "worktrees"
    return World(
        repo=repo,
        roots=[tmp_path / "user"],
        locks=locks,
        mirrors=Mirrors(tmp_path / "data" / "mirrors", locks),
        workspaces=Workspaces(worktrees, locks),
        worktrees=worktrees,
    )


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Of an empty database, of each kind in turn."""
    with fresh_url(request.param, tmp_path, "orchestrator") as fresh:
        yield fresh


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    """A store on it."""
    opened = await asyncio.to_thread(Store.open, url)
    try:
        yield opened
    finally:
        await opened.close()
