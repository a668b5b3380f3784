"""A real git repository from a list of commits, through ``git fast-import``: sixty commits in a tenth of a second."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Commit", "make_repository"]

FIRST_COMMIT = 1_700_000_000
"""Seconds since 1970: the same history, and the same ids, on every machine."""
INTERVAL = 36_000
TIMEOUT = 60.0
_IDENTITY = b"Demo <demo@example.org>"


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit: the files that it writes."""

    message: str
    files: Mapping[str, bytes]


def make_repository(path: Path, commits: Iterable[Commit]) -> None:
    """Makes ``path`` a repository with these commits on ``main``, checked out.

    Raises:
        subprocess.CalledProcessError: git failed.
    """
    path.mkdir(parents=True)
    _git(path, "init", "--quiet", "--initial-branch=main")
    _git(path, "fast-import", "--quiet", data=b"".join(_stream(commits)))
    _git(path, "reset", "--quiet", "--hard", "main")


def _stream(commits: Iterable[Commit]) -> Iterable[bytes]:
    for number, commit in enumerate(commits):
        when = f"{FIRST_COMMIT + number * INTERVAL} +0000".encode()
        message = commit.message.encode()
        yield b"commit refs/heads/main\n"
        yield b"committer " + _IDENTITY + b" " + when + b"\n"
        yield b"data %d\n%s\n" % (len(message), message)
        for path, content in sorted(commit.files.items()):
            yield b"M 100644 inline %s\n" % path.encode()
            yield b"data %d\n%s\n" % (len(content), content)


def _git(path: Path, *arguments: str, data: bytes = b"") -> None:
    # The repository is ours: nothing of the user's git may change what the demo shows, or be asked for a signature.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "LC_ALL": "C",
    }
    subprocess.run(["git", *arguments], cwd=path, input=data, env=environment, check=True, timeout=TIMEOUT)
