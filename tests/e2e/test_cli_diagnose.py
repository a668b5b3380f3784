"""``autopack diagnose -- COMMAND``: run, explained, fixed, and the fix proven."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.robustness.processes import alive

Cli = Any

WEB = '{"name": "web", "version": "1.0.0", "scripts": {"test": "node test.js"}}'


@pytest.fixture
def web(cli: Cli) -> Path:
    """A repository whose one project is not at its root."""
    path = Path(cli.home) / "mono"
    (path / "web").mkdir(parents=True)
    (path / "web/package.json").write_text(WEB)
    (path / "web/test.js").write_text("console.log('tested')\n")
    git(path, "init", "-q")
    commit(path)
    return path


def git(path: Path, *words: str) -> None:
    subprocess.run(["git", *words], cwd=path, check=True, capture_output=True)


def test_a_command_that_passes_is_only_run(cli: Cli) -> None:
    done = cli("diagnose", "--", "echo", "--json", "hello")
    assert (done.returncode, done.stdout, done.stderr) == (0, "--json hello\n", "")
    assert not (cli.home / "data").exists()  # no server was started


def test_a_command_that_fails_is_explained_and_its_exit_status_kept(cli: Cli, web: Path) -> None:
    done = cli("diagnose", "--", "npm", "test", cwd=web)
    assert done.returncode == 254
    assert "npm error code ENOENT" in done.stdout
    assert "fix: run it in web" in done.stderr
    assert "autopack diagnose --fix -- npm test" in done.stderr


def test_a_fix_is_applied_and_the_same_command_run_again(cli: Cli, web: Path) -> None:
    done = cli("diagnose", "--fix", "--yes", "--json", "--", "npm", "test", cwd=web)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["outcome"], found["cwd"], found["exit_code"]) == ("fixed", "web", 0)
    assert [(one["pattern_id"], one["outcome"]) for one in found["attempts"]] == [("npm.no_package_json", "fixed")]
    assert "tested" in done.stderr  # what the command prints


def test_a_failure_behind_the_fixed_one_is_progress_and_no_success(cli: Cli, web: Path) -> None:
    (web / "web/test.js").write_text("process.exit(7)\n")
    done = cli("diagnose", "--fix", "--yes", "--", "npm", "test", cwd=web)
    assert done.returncode == 7
    assert "not fixed (progressed)" in done.stderr


@pytest.fixture
def script(cli: Cli) -> Path:
    """A script that imports what is declared and not installed, with a virtual environment that is not activated."""
    path = Path(cli.home) / "script"
    subprocess.run([sys.executable, "-m", "venv", path / ".venv"], check=True, capture_output=True)
    (path / "app.py").write_text("import iniconfig\n")
    (path / "requirements.txt").write_text("iniconfig==2.0.0\n")
    (path / ".gitignore").write_text(".venv/\n")
    git(path, "init", "-q")
    commit(path)
    return path


def commit(path: Path) -> None:
    git(path, "add", "-A")
    git(path, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "Begin")


def test_what_is_missing_is_installed_where_the_program_that_missed_it_looks(cli: Cli, script: Path) -> None:
    done = cli("diagnose", "--fix", "--yes", "--", ".venv/bin/python", "app.py", cwd=script)
    assert done.returncode == 0, done.stderr
    assert list(script.glob(".venv/lib/python*/site-packages/iniconfig"))


def test_an_install_that_fails_is_shown_and_its_output_kept(cli: Cli, script: Path) -> None:
    (script / "requirements.txt").write_text("iniconfig==0.0.404\n")
    commit(script)
    words = ("diagnose", "--fix", "--yes", "--", ".venv/bin/python", "app.py")
    done = cli(*words, cwd=script, env={"TMPDIR": str(cli.home)})
    assert done.returncode == 1
    assert "  | ERROR: No matching distribution found for iniconfig==0.0.404" in done.stderr
    kept = re.search(r"its output is in (\S+)", done.stderr)
    assert kept is not None
    assert "iniconfig==0.0.404" in Path(kept[1]).read_text()


def test_what_needs_consent_is_not_done_without_it(cli: Cli, web: Path) -> None:
    words = ("--", "sh", "-c", "kill -9 $$")
    done = cli("diagnose", "--fix", "--yes", *words, cwd=web)
    assert done.returncode == 137
    assert "--yes-to os.killed_oom" in done.stderr
    agreed = cli("diagnose", "--fix", "--yes-to", "os.*", *words, cwd=web)
    assert agreed.returncode == 137
    assert "not fixed (unchanged)" in agreed.stderr


@pytest.mark.parametrize(
    ("words", "status"),
    [(("no-such-program",), 127), (("--timeout", "0.5", "--", "sleep", "60"), 124), (("sh", "-c", "exit 9"), 9)],
    ids=["missing", "too long", "own"],
)
def test_exit_statuses_are_those_of_a_shell(cli: Cli, words: tuple[str, ...], status: int) -> None:
    options = words if "--" in words else ("--", *words)
    assert cli("diagnose", *options).returncode == status


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--",), "no command"),
        (("--fix", "--", "true"), "--yes"),
        (("--yes", "--", "true"), "add --fix"),
        (("build.log", "--", "true"), "does not go with"),
        (("--command", "make", "--", "true"), "does not go with"),
    ],
)
def test_wrong_usage_is_told_before_anything_runs(cli: Cli, words: tuple[str, ...], says: str) -> None:
    done = cli("diagnose", *words)
    assert done.returncode == 2
    assert says in done.stderr


def test_of_a_long_output_the_cause_is_found_at_both_ends(cli: Cli) -> None:
    missing = "ModuleNotFoundError: No module named 'requests'"
    for script in (f'echo "{missing}"; {FLOOD}; exit 1', f'{FLOOD}; echo "{missing}"; exit 1'):
        done = cli("diagnose", "--", "sh", "-c", script)
        assert done.returncode == 1
        assert len(done.stdout) > 20_000_000
        assert "py.module_not_found" in done.stderr


FLOOD = "head -c 20000000 /dev/zero | tr '\\0' '\\n'"


def test_ctrl_c_ends_the_command_and_leaves_nothing(cli: Cli, tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    process = cli.start("diagnose", "--", "sh", "-c", f"echo $$ > {mark}; exec sleep 300")
    while not (mark.exists() and mark.read_text()):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert not alive(int(mark.read_text()))
