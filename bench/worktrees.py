"""1, 8 and 64 worktrees at once on a small and on a large repository, beside plain ``git worktree add``.

The small one is this project's services, the large one 27,000 generated files (as babel/babel). Ours: the lock of the
repository around ``git worktree add --no-checkout``, and ``read-tree`` outside of it, as many at once as there are
cores. Plain: as many processes of ``git worktree add`` as worktrees; those that fail are counted.

8 and 64 worktrees of the large repository are up to 1.7 million files, twice: only with ``--full``.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from autopack_orchestrator.adapters.git import Mirrors, RepositoryLocks, Workspaces, open_source, resolve

from bench import full

__all__ = ["run"]

Row = tuple[str, float, str, str]
ROOT = Path(__file__).resolve().parents[1]
PARTS = ("kit", "protos", "services")
SIZES = (1, 8, 64)
LARGE_SIZES = (1,)
LARGE_FILES = 27_000
PER_DIRECTORY = 30
ENV = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "A User",
    "GIT_AUTHOR_EMAIL": "user@example.com",
    "GIT_COMMITTER_NAME": "A User",
    "GIT_COMMITTER_EMAIL": "user@example.com",
}


def _git(cwd: Path, *words: str, stdin: bytes | None = None) -> str:
    done = subprocess.run(["git", *words], cwd=cwd, env=ENV, input=stdin, capture_output=True, check=True)
    return done.stdout.decode().strip()


def _small(path: Path) -> None:
    for part in PARTS:
        shutil.copytree(ROOT / part, path / part, ignore=shutil.ignore_patterns("__pycache__", "node_modules", ".*"))
    _git(path, "init", "-q", "-b", "main")
    _git(path, "add", "-A")
    _git(path, "commit", "-qm", "A snapshot")


def _large(path: Path) -> None:
    path.mkdir()
    _git(path, "init", "-q", "-b", "main")
    chance = random.Random(1)
    stream = [b"commit refs/heads/main\ncommitter A User <user@example.com> 0 +0000\ndata 1\nx\n"]
    for number in range(LARGE_FILES):
        text = chance.randbytes(chance.randint(100, 3000)).hex().encode()
        name = f"packages/p{number // 900}/src/d{number // PER_DIRECTORY % 30}/f{number}.js"
        stream.append(b"M 100644 inline %s\ndata %d\n%s\n" % (name.encode(), len(text), text))
    _git(path, "fast-import", "--quiet", stdin=b"".join(stream))


async def _plain(repo: Path, places: Path, count: int) -> tuple[float, int]:
    places.mkdir()
    begun = time.perf_counter()
    words = [("git", "worktree", "add", "-q", "-b", f"b{n}", str(places / str(n)), "main") for n in range(count)]
    quiet = {"stdout": asyncio.subprocess.DEVNULL, "stderr": asyncio.subprocess.DEVNULL}
    started = [asyncio.create_subprocess_exec(*line, cwd=repo, env=ENV, **quiet) for line in words]  # type: ignore[arg-type]  # typeshed cannot know which keywords these are
    codes = [await process.wait() for process in await asyncio.gather(*started)]
    return time.perf_counter() - begun, sum(code != 0 for code in codes)


async def _ours(repo: Path, data: Path, count: int) -> tuple[float, int]:
    locks = RepositoryLocks()
    mirrors, workspaces = Mirrors(data / "mirrors", locks), Workspaces(data / "worktrees", locks)
    source = await open_source(repo, [repo.parent])
    commit = await resolve(source, "main")
    mirror = await mirrors.ensure(source, commit)  # once per repository, not per run
    begun = time.perf_counter()
    made = await asyncio.gather(
        *(
            workspaces.create(mirror, commit, f"autopack/b/{n}", data / "worktrees" / str(n), str(n))
            for n in range(count)
        ),
        return_exceptions=True,
    )
    return time.perf_counter() - begun, sum(isinstance(one, BaseException) for one in made)


def _compare(name: str, repo: Path, sizes: tuple[int, ...]) -> list[Row]:
    files = len(_git(repo, "ls-tree", "-r", "--name-only", "main").splitlines())
    rows = []
    for count in sizes:
        with tempfile.TemporaryDirectory(prefix="autopack-bench-") as scratch:
            seconds, failed = asyncio.run(_ours(repo, Path(scratch), count))
        copy = repo.with_name(f"{name}-plain")
        _git(repo, "clone", "-q", "--bare", str(repo), str(copy))
        plain_seconds, plain_failed = asyncio.run(_plain(copy, repo.parent / "plain", count))
        shutil.rmtree(copy)
        shutil.rmtree(repo.parent / "plain")
        beside = f"git worktree add: {plain_seconds:.2f} s, {plain_failed} of {count} failed"
        rows.append((f"{count} worktrees of {files} files at once", seconds, "s", beside))
        rows.append((f"{count} worktrees of {files} files: failures", float(failed), "", f"{beside}; target 0"))
    return rows


def run() -> list[Row]:
    """Rows of (name, value, unit, note)."""
    with tempfile.TemporaryDirectory(prefix="autopack-bench-") as directory:
        small, large = Path(directory) / "small", Path(directory) / "large"
        _small(small)
        _large(large)
        return _compare("small", small, SIZES) + _compare("large", large, SIZES if full() else LARGE_SIZES)
