"""``autopack diagnose`` when it is interrupted, not alone, or given odd input: nothing of it is left behind."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.robustness.processes import alive

Cli = Any

AUTOPACK = Path(sys.executable).with_name("autopack")

# The project's own install step, as a slow one that has changed a tracked file by the time it is interrupted.
PREINSTALL = "echo changed > tracked; echo $$ > ../pid; exec sleep 300"
PACKAGE = """{{"name": "a", "version": "1.0.0", "private": true, "scripts": {{"preinstall": "{}"}},
"dependencies": {{"ms": "2.1.3"}}}}
"""
ENDS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]


@pytest.fixture
def slow(cli: Cli) -> Path:
    """A project whose dependency is not installed, and whose install takes its time."""
    path = Path(cli.home) / "slow"
    path.mkdir()
    (path / "package.json").write_text(PACKAGE.format(PREINSTALL))
    (path / "tracked").write_text("as it was\n")
    (path / "app.js").write_text('require("ms");\n')
    (path / ".gitignore").write_text("node_modules/\n")
    for words in (("init", "-q"), ("add", "-A"), ("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "a")):
        subprocess.run(["git", *words], cwd=path, check=True, capture_output=True)
    return path


def wait_for(file: Path) -> int:
    while not (file.exists() and file.read_text().strip()):
        time.sleep(0.02)
    return int(file.read_text())


@pytest.mark.parametrize(("number", "status"), ENDS, ids=[one[0].name for one in ENDS])
def test_a_fix_that_is_interrupted_is_undone(cli: Cli, slow: Path, number: int, status: int) -> None:
    process = cli.start(
        "diagnose", "--fix", "--yes", "--repo", slow, "--", "node", "app.js", env={"npm_config_audit": "false"}
    )
    pid = wait_for(slow.parent / "pid")
    assert (slow / "tracked").read_text() == "changed\n"
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == status, err
    assert "Traceback" not in err
    assert (slow / "tracked").read_text() == "as it was\n"
    assert not alive(pid)


@pytest.mark.parametrize(("number", "status"), ENDS[1:], ids=[one[0].name for one in ENDS[1:]])
def test_a_closed_terminal_leaves_no_command_behind(cli: Cli, tmp_path: Path, number: int, status: int) -> None:
    mark = tmp_path / "pid"
    process = cli.start("diagnose", "--", "sh", "-c", f"echo $$ > {mark}; exec sleep 300")
    pid = wait_for(mark)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == status
    assert not alive(pid)


def test_under_nohup_a_closed_terminal_ends_nothing(cli: Cli, tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    words = ("nohup", AUTOPACK, "diagnose", "--", "sh", "-c", f"echo $$ > {mark}; exec sleep 300")
    with subprocess.Popen(words, cwd=tmp_path, env=cli.environment(), stdin=subprocess.DEVNULL) as process:
        pid = wait_for(mark)
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM
    assert not alive(pid)


def test_two_fixes_do_not_work_in_one_directory(cli: Cli, slow: Path) -> None:
    descriptor = os.open(slow, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        done = cli("diagnose", "--fix", "--yes", "--", "node", "app.js", cwd=slow)
    finally:
        os.close(descriptor)
    assert done.returncode == 1
    assert "fix: npm" in done.stderr
    assert "it was not fixed: Another autopack diagnose --fix is at work" in done.stderr
    assert not (slow.parent / "pid").exists()


@pytest.mark.parametrize(("number", "status"), ENDS[:2], ids=[one[0].name for one in ENDS[:2]])
def test_an_interrupt_is_heard_while_it_asks(cli: Cli, slow: Path, number: int, status: int) -> None:
    ours, theirs = os.openpty()
    words = ["diagnose", "--fix", "--repo", slow, "--", "node", "app.js"]
    process = cli.start(*words, stdin=theirs)
    try:
        asked = ""
        while "[y/N]" not in asked:
            asked += process.stderr.read(1)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    finally:
        os.close(ours)
        os.close(theirs)
    assert process.returncode == status, err
    assert not (slow.parent / "pid").exists()


def test_without_git_it_still_explains(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "sh").symlink_to("/bin/sh")
    done = cli("diagnose", "--", "sh", "-c", "echo 'sh: 1: acme: not found'; exit 127", env={"PATH": str(tmp_path)})
    assert done.returncode == 127
    assert "os.command_not_found" in done.stderr


@pytest.mark.parametrize("more", [(), ("--repo", ".")])
def test_a_directory_that_is_not_there_is_named(cli: Cli, more: tuple[str, ...]) -> None:
    done = cli("diagnose", "--cwd", "gone", *more, "--", "true")
    assert done.returncode == 1
    assert "gone" in done.stderr
    assert "Check --cwd" in done.stderr


def test_a_dash_is_standard_input(cli: Cli) -> None:
    done = cli("diagnose", "-", input=b"ModuleNotFoundError: No module named 'requests'\n")
    assert done.returncode == 0
    assert "py.module_not_found" in done.stdout


def test_a_silent_command_is_said_to_be_silent(cli: Cli) -> None:
    done = cli("diagnose", "--", "false")
    assert done.returncode == 1
    assert "The command printed nothing" in done.stderr


def test_the_line_of_a_very_long_output_is_counted_from_its_beginning(cli: Cli) -> None:
    script = "yes | head -n 15000000; echo \"ModuleNotFoundError: No module named 'requests'\"; exit 1"
    done = cli("diagnose", "--json", "--", "sh", "-c", script)
    assert '"line": 15000001,' in done.stdout
