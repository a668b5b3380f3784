"""``autopack run`` and ``autopack runs`` with real agents, git and processes."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_cli.demo.survivors import survivors
from google.protobuf.json_format import Parse

Cli = Any
WRITES = ("--goal", "Write more notes", "--command", "sh -c 'echo two >> notes.txt; echo done'")
PASSES = ("--validate", "grep -q two notes.txt")


def git(path: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=path, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


def runs_of(cli: Cli) -> list[pb.Run]:
    return list(Parse(cli("runs", "list", "--json").stdout, pb.ListRunsResponse()).runs)


def test_successful_run_exits_0_and_leaves_a_branch_a_patch_and_a_log(cli: Cli, repository: Path) -> None:
    done = cli("run", "--repo", repository, *WRITES, *PASSES, "--name", "notes")
    assert done.returncode == 0, done.stderr
    (run,) = runs_of(cli)
    assert run.name == "notes"
    assert run.branch in done.stdout
    assert git(repository, "show", f"{run.branch}:notes.txt") == "one\ntwo"
    assert "done\n" in cli("runs", "log", run.run_id).stdout
    patch = cli("runs", "patch", run.run_id)
    applied = subprocess.run(["git", "apply", "--check"], input=patch.stdout, text=True, cwd=repository, check=False)
    assert applied.returncode == 0
    assert git(repository, "status", "--porcelain") == ""
    assert git(repository, "branch", "--show-current") == "main"


def test_an_uploaded_repository_is_worked_on_by_a_server_that_may_not_read_it(
    cli: Cli, repository: Path, servers: Any, tmp_path: Path
) -> None:
    (tmp_path / "nothing").mkdir()
    servers.start("--all", "--allow-root", tmp_path / "nothing")
    assert cli("run", "--repo", repository, *WRITES, *PASSES).returncode != 0
    done = cli("run", "--repo", repository, "--upload", *WRITES, *PASSES, "--name", "far")
    assert done.returncode == 0, done.stderr
    (run,) = runs_of(cli)
    assert "git -C" not in done.stdout
    patch = cli("runs", "patch", run.run_id)
    applied = subprocess.run(["git", "apply", "--check"], input=patch.stdout, text=True, cwd=repository, check=False)
    assert applied.returncode == 0
    assert git(repository, "branch", "--list", "autopack/*") == ""


def test_runs_are_listed_shown_read_and_summed_up_through_a_server(cli: Cli, repository: Path, servers: Any) -> None:
    servers.start("--all", "--allow-root", repository)
    assert cli("run", "--repo", repository, *WRITES, *PASSES, "--runs", "3").returncode == 0
    first = cli("runs", "list", "--limit", "2", "--state", "succeeded")
    assert first.stdout.count("succeeded") == 2
    token = first.stderr.split("--page-token ")[1].strip()
    rest = cli("runs", "list", "--limit", "2", "--state", "succeeded", "--page-token", token)
    assert rest.stdout.count("succeeded") == 1
    assert cli("runs", "list", "--state", "failed").stdout == "no runs\n"
    assert cli("runs", "list", "--state", "nonsense").returncode == 2
    run = runs_of(cli)[0]
    log = cli("runs", "log", run.run_id)
    assert cli("runs", "log", run.run_id, "--attempt", "1", "--offset", "-5").stdout == log.stdout[-5:]
    assert cli("runs", "log", run.run_id, "--offset", "999999").returncode == 1
    shown = cli("runs", "show", run.run_id)
    assert "1 passed" in shown.stdout
    assert "M notes.txt" in shown.stdout
    summary = cli("stats", run.run_id)
    assert "doctor calls not needed" in summary.stdout
    assert "12,000 tokens (n = 0, a constant" in summary.stdout
    assert "3 succeeded" in cli("runs", "cancel", run.batch_id).stdout
    assert cli("runs", "watch", run.batch_id).returncode == 0
    for words in (("show",), ("log",), ("patch",), ("cancel",)):
        done = cli("runs", *words, "no.such")
        assert done.returncode == 1
        assert "reason: RUN_NOT_FOUND" in done.stderr
    assert "reason: BATCH_NOT_FOUND" in cli("runs", "watch", "nosuch").stderr


def test_run_that_fails_exits_1_and_says_why_and_what_to_do(cli: Cli, repository: Path) -> None:
    done = cli("run", "--repo", repository, *WRITES, "--validate", "sh -c '! grep -q two notes.txt'")
    assert done.returncode == 1
    assert "failed with exit code 1" in done.stdout
    assert "what to do: " in done.stdout
    assert "reason: VALIDATION_FAILED" in done.stdout


def test_json_is_the_runs_and_nothing_else_on_standard_output(cli: Cli, repository: Path) -> None:
    done = cli("run", "--repo", repository, *WRITES, *PASSES, "--json")
    response = Parse(done.stdout, pb.ListRunsResponse())
    assert [run.state for run in response.runs] == [pb.RUN_STATE_SUCCEEDED]
    assert "queued -> preparing" in done.stderr


def test_batch_file_runs(cli: Cli, repository: Path) -> None:
    file = repository / "batch.yaml"
    file.write_text("""\
name: from-file
defaults:
  validate: [grep -q two notes.txt]
runs:
  - {name: writes, goal: Write notes, command: [sh, -c, echo two >> notes.txt]}
  - {name: outside, goal: Write notes, scope: notes.txt, command: [sh, -c, echo two | tee -a notes.txt > other.txt]}
""")
    done = cli("run", file)
    assert done.returncode == 0, done.stderr
    assert "reverted, outside the scope: other.txt" in done.stdout


CLAUDE = """#!/bin/sh
printf '%s\\n' "$@" > "$HOME/words"
env > "$HOME/variables"
echo two >> notes.txt
"""


def test_preset_starts_the_agent_with_its_context_and_its_keys_only(cli: Cli, repository: Path) -> None:
    program = cli.home / "bin/claude"
    program.parent.mkdir()
    program.write_text(CLAUDE)
    program.chmod(0o755)
    env = {"PATH": f"{program.parent}:{os.environ['PATH']}", "ANTHROPIC_API_KEY": "k", "DATABASE_URL": "secret"}
    env["AUTOPACK_ORCHESTRATOR_SANDBOX"] = "none"  # the agent of the test tells what it got outside of its worktree
    done = cli("run", "--repo", repository, "--agent", "claude", "--goal", "Write more notes", *PASSES, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    words = (cli.home / "words").read_text()
    assert words.startswith("-p\n")
    assert "Goal: Write more notes" in words
    assert "--permission-mode\nacceptEdits" in words
    variables = (cli.home / "variables").read_text()
    assert "ANTHROPIC_API_KEY=k" in variables
    assert "secret" not in variables


def test_run_in_a_linked_worktree_finds_its_repository(cli: Cli, repository: Path) -> None:
    git(repository, "worktree", "add", "--quiet", "--detach", str(cli.home / "linked"))
    done = cli("run", "--repo", "linked", *WRITES, *PASSES)
    assert done.returncode == 0, done.stdout + done.stderr


def test_reader_that_has_seen_enough_is_no_error(cli: Cli) -> None:
    process = cli.start("config")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.wait(timeout=60)


def started(process: subprocess.Popen[str]) -> str:
    """Waits until the agent runs; returns what was told so far."""
    assert process.stderr is not None
    told = ""
    for line in process.stderr:
        told += line
        if "preparing -> running" in line:
            return told
    raise AssertionError(told)


def test_a_failed_run_is_tried_again_by_its_id_and_one_that_succeeded_is_not(cli: Cli, repository: Path) -> None:
    agent = "sh -c 'test $AUTOPACK_ATTEMPT = 2 && echo two >> notes.txt'"
    assert cli("run", "--repo", repository, "--goal", "Write", "--command", agent, *PASSES).returncode == 1
    (run,) = runs_of(cli)
    again = cli("runs", "retry", run.run_id)
    assert again.returncode == 0, again.stderr
    assert f"{run.run_id}: succeeded, attempt 2" in again.stdout
    assert git(repository, "show", f"{run.branch}-2:notes.txt") == "one\ntwo"
    refused = cli("runs", "retry", run.run_id)
    assert refused.returncode != 0
    assert "has succeeded" in refused.stderr


def test_interrupt_cancels_the_batch_and_leaves_nothing_running(cli: Cli, repository: Path) -> None:
    command = "sh -c 'setsid sleep 600 & trap \"\" TERM; sleep 600'"
    process = cli.start("run", "--repo", repository, "--goal", "Wait", "--command", command, "--runs", "3", "-j", "1")
    started(process)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    assert out.count("cancelled") >= 3
    assert [survivors(run.run_id) for run in runs_of(cli)] == [[], [], []]
    assert git(repository, "branch", "--list", "autopack/*") == ""


def test_second_interrupt_stops_waiting_and_the_next_command_ends_what_was_left(cli: Cli, repository: Path) -> None:
    command = "sh -c 'trap \"\" TERM INT; sleep 600 & sleep 600'"
    process = cli.start("run", "--repo", repository, "--goal", "Wait", "--command", command)
    started(process)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode == 130
    run = runs_of(cli)[0]
    cancelled = cli("runs", "cancel", run.run_id)
    assert cancelled.returncode == 0, cancelled.stderr
    assert survivors(run.run_id) == []
    assert runs_of(cli)[0].state == pb.RUN_STATE_CANCELLED


def test_looking_at_runs_starts_none_that_was_left_behind(cli: Cli, repository: Path) -> None:
    process = cli.start(
        "run", "--repo", repository, "--goal", "Wait", "--command", "sleep 600", "--runs", "2", "-j", "1"
    )
    started(process)
    process.kill()
    process.communicate(timeout=60)
    seen = runs_of(cli)
    assert [run.state for run in seen] == [pb.RUN_STATE_RUNNING, pb.RUN_STATE_QUEUED]
    assert [run.state for run in runs_of(cli)] == [run.state for run in seen]
    done = cli("runs", "cancel", seen[0].batch_id)
    assert done.returncode == 0, done.stderr
    assert [run.state for run in runs_of(cli)] == [pb.RUN_STATE_CANCELLED] * 2
    assert [survivors(run.run_id) for run in seen] == [[], []]


def on_terminal(cli: Cli, *words: str | Path, **env: str) -> str:
    """What the command draws on a terminal of 100 columns."""
    main, child = pty.openpty()
    variables = cli.environment(TERM="xterm-256color", COLUMNS="100", LINES="30", **env)
    process = subprocess.Popen(
        [Path(sys.executable).with_name("autopack"), *words],
        stdin=subprocess.DEVNULL, stdout=child, stderr=child, env=variables, cwd=cli.home,
    )  # fmt: skip
    os.close(child)
    drawn = b""
    while select.select([main], [], [], 120)[0]:
        try:
            piece = os.read(main, 65536)
        except OSError:  # EIO: the other end was closed
            break
        if not piece:
            break
        drawn += piece
    os.close(main)
    assert process.wait(timeout=120) == 0
    return drawn.decode("utf-8", "replace")


def test_terminal_shows_live_lines_in_colour_and_none_with_no_color(cli: Cli, repository: Path) -> None:
    slow = ("--goal", "Write", "--command", "sh -c 'sleep 1; echo two >> notes.txt'", *PASSES)
    drawn = on_terminal(cli, "run", "--repo", repository, *slow)
    assert "\x1b[32msucceeded" in drawn
    assert "agent" in drawn  # what the run is doing, while it does it
    plain = on_terminal(cli, "run", "--repo", repository, *slow, NO_COLOR="1")
    assert "\x1b[32m" not in plain
    assert "succeeded" in plain
