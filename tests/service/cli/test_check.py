"""``autopack run FILE --check``: what the file and what the server find wrong is told together, with its place."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HANG = 60.0
"""Seconds after which the command hangs; it takes about one."""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit; the embedded server keeps its state beside it."""
    path = tmp_path / "repo"
    subprocess.run(["git", "init", "-q", str(path)], check=True)
    author = ["-c", "user.name=n", "-c", "user.email=n@example.org"]
    subprocess.run(["git", "-C", str(path), *author, "commit", "-q", "--allow-empty", "-m", "start"], check=True)
    return path


def check(folder: Path, text: str) -> tuple[int, list[str]]:
    """Exit status, and each line of the problems without the name of the file."""
    file = folder / "batch.yaml"
    file.write_text(text)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AUTOPACK_")}
    done = subprocess.run(
        [sys.executable, "-m", "autopack_cli.main", "run", str(file), "--check"],
        env={**environment, "AUTOPACK_DATA_DIR": str(folder / "data")},
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
    )
    return done.returncode, [line.removeprefix(f"{file}:") for line in done.stderr.splitlines()]


def test_all_problems_of_one_line_are_told_whoever_finds_them(repository: Path) -> None:
    runs = '[{name: "a/b", goal: x, command: "echo && b"}, {name: c, goal: x, command: echo, timeout: 90h, gaol: y}]'
    status, lines = check(repository.parent, f"repo: repo\nruns: {runs}\n")
    assert status == 2
    columns = [len("runs: ") + runs.index(word) + 1 for word in ('"a/b"', '"echo && b"', "90h", "gaol")]
    assert [line.partition(" ")[0] for line in lines[:-1]] == [f"2:{column}:" for column in columns]
    assert "4 problems" in lines[-1]


@pytest.mark.parametrize(
    ("head", "place", "words"),
    [
        ("repo: repo\nref: nope\n", "2:6: ", "'nope' is not a branch"),
        ("repo: gone\n", "1:7: ", "does not exist"),
        ("name: x\nrepo: .\n", "2:7: ", "is not a git repository"),
    ],
)
def test_repository_and_ref_are_refused_where_they_stand(repository: Path, head: str, place: str, words: str) -> None:
    status, lines = check(repository.parent, head + "runs: [{name: a, goal: x, command: echo}]\n")
    assert status == 2
    assert lines[0].startswith(place)
    assert words in lines[0]
