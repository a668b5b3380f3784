"""Bad batches: everything that is wrong is told at once, with its line, and nothing is started."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import Any

import pytest

Cli = Any


def refuse(cli: Cli, text: str | bytes, *words: str) -> list[str]:
    """The problems that ``run`` tells about a file, as ``LINE: message``."""
    path = cli.home / "batch.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    done = cli("run", path, *words)
    assert done.returncode == 2, done.stderr
    assert "nothing was started" in done.stderr
    prefix = f"{path}:"
    return [line.removeprefix(prefix) for line in done.stderr.splitlines() if line.startswith(prefix)]


def test_unknown_keys_wrong_types_and_bad_names_are_told_together(cli: Cli, repository: Path) -> None:
    bad = ["..", "a..b", "a.", "x.lock", "a/b", "-x", "n" * 65, "good", "good", "GOOD"]
    runs = "".join(f"  - {{name: {name!r}, goal: g, command: 'true'}}\n" for name in bad)
    text = f"repo: {repository}\nmax_runs: 3\nref: [main]\nruns:\n{runs}"
    problems = refuse(cli, text)
    lines = [int(line.split(":")[0]) for line in problems]
    assert lines == sorted(lines)
    assert set(lines) == {2, 3, 5, 6, 7, 8, 9, 10, 11, 13, 14}
    assert "'max_runs' is not a key of the file" in problems[0]
    assert cli("runs", "list").stdout == "no runs\n"


def test_what_only_the_server_knows_has_its_line_too(cli: Cli, repository: Path) -> None:
    text = f"""\
repo: {repository}
runs:
  - name: fine
    goal: g
    command: 'true'
  - name: bad
    goal: g
    agent: cloud
    pass_env: [HOME_OF_SECRETS]
    drift_interval: 10ms
    timeout: 25h
"""
    problems = refuse(cli, text)
    assert [line.split(":")[0] for line in problems] == ["8", "9", "10", "11"]
    assert "claude" in problems[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("runs: &r [*r]\n", "contains itself through a YAML alias"),
        ("runs:\n  - {name: a, goal: g, command: x, scope: {a: b}}\n", "must be a list"),
        ("runs:\n\t- a\n", "this is not YAML"),
        (b"runs: \xff\n", "is not UTF-8"),
        ("", "the file is empty"),
    ],
)
def test_file_that_is_no_batch_is_refused(cli: Cli, text: str | bytes, message: str) -> None:
    problems = refuse(cli, text)
    assert len(problems) == 1
    assert message in problems[0]


def test_file_of_50_mb_is_refused(cli: Cli) -> None:
    problems = refuse(cli, b"#" * (50 << 20))
    assert problems == ["1:1: the file has 52,428,800 bytes; a batch file has at most 1,048,576"]


def test_missing_file_is_refused(cli: Cli) -> None:
    done = cli("run", "none.yaml")
    assert done.returncode == 2
    assert "No such file" in done.stderr


@pytest.mark.parametrize(("ref", "reason"), [("no-such-branch", "REF_NOT_FOUND"), ("--upload-pack=x", "INVALID_REF")])
def test_ref_that_is_not_there_is_refused(cli: Cli, repository: Path, ref: str, reason: str) -> None:
    done = cli("run", "--repo", repository, "--goal", "g", "--command", "true", f"--ref={ref}")
    assert done.returncode in (1, 2)
    assert f"reason: {reason}" in done.stderr


def test_repository_that_is_missing_empty_or_none_at_all_is_refused(cli: Cli) -> None:
    (cli.home / "plain").mkdir()
    (cli.home / "empty").mkdir()
    subprocess.run(["git", "init", "--quiet", cli.home / "empty"], check=True, timeout=60)
    for name, reason in (("nowhere", "SOURCE_MISSING"), ("plain", "NOT_A_REPOSITORY"), ("empty", "EMPTY_REPOSITORY")):
        done = cli("run", "--repo", name, "--goal", "g", "--command", "true")
        assert done.returncode in (1, 2)
        assert f"reason: {reason}" in done.stderr, done.stderr
        assert "what to do: " in done.stderr


def test_dirty_repository_stays_byte_identical_and_is_warned_about(cli: Cli, repository: Path) -> None:
    (repository / "notes.txt").write_text("changed\n")
    (repository / "new.txt").write_text("new\n")

    def state() -> dict[str, str]:
        files = [path for path in repository.rglob("*") if path.is_file() and "objects" not in path.parts]
        files = [path for path in files if not path.is_relative_to(repository / ".git/refs/heads/autopack")]
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    before = state()
    command = (
        "--goal",
        "Note more",
        "--command",
        "sh -c 'cat notes.txt >> more.txt'",
        "--validate",
        "grep -q one more.txt",
    )
    done = cli("run", "--repo", repository, *command)
    assert done.returncode == 0, done.stderr
    assert "warning: " in done.stderr
    after = state()
    assert {path: after.get(path) for path in before} == before


def test_check_starts_nothing(cli: Cli, repository: Path) -> None:
    done = cli("run", "--repo", repository, "--goal", "g", "--command", "true", "--check")
    assert done.returncode == 0
    assert "The batch is valid: 1 run." in done.stderr
    assert cli("runs", "list").stdout == "no runs\n"
