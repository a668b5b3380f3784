"""``autopack merge``, ``gc``, ``top`` and ``resume``, and what an interrupt leaves, with real git and processes."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_cli.demo.survivors import survivors
from google.protobuf.json_format import Parse

Cli = Any
Finished = Any
HANG_S = 120


def git(path: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=path, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


def runs_of(cli: Cli) -> list[pb.Run]:
    return list(Parse(cli("runs", "list", "--json").stdout, pb.ListRunsResponse()).runs)


def until(process: subprocess.Popen[str], words: str) -> None:
    assert process.stderr is not None
    told = ""
    for line in process.stderr:
        told += line
        if words in line:
            return
    raise AssertionError(told)


def appears(path: Path) -> None:
    deadline = time.monotonic() + HANG_S
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_merge_tells_the_order_and_the_conflict_and_makes_a_branch_only_on_request(finished: Finished) -> None:
    cli, repository, three = finished.cli, finished.repository, finished.batch_id
    refs = git(repository, "for-each-ref")
    told = cli("merge", three)
    assert told.returncode == 1
    assert f"{three}.far  clean" in " ".join(told.stdout.split("\n")).replace("   ", "  ")
    assert "conflicts: notes.txt (with one)" in told.stdout
    assert "git merge --no-ff" in told.stdout
    assert git(repository, "for-each-ref") == refs
    made = cli("merge", three, "--write", "all", "--json")
    assert made.returncode == 1
    answer = Parse(made.stdout, pb.MergeBatchResponse())
    assert git(repository, "rev-parse", "all") == answer.commit
    assert git(repository, "show", "all:far.txt") == "far"
    assert git(repository, "branch", "--show-current") == "main"
    again = cli("merge", three, "--write", "main")
    assert (again.returncode, "reason: BRANCH_EXISTS" in again.stderr) == (1, True)
    assert "reason: BATCH_NOT_FOUND" in cli("merge", "nosuch").stderr


def test_gc_tells_what_would_go_and_then_removes_it(finished: Finished) -> None:
    cli = finished.cli
    assert "0 would be removed" in cli("gc", "--dry-run").stdout
    old = cli.data / "orchestrator/harvested/old.patch"
    old.parent.mkdir()
    old.write_text("x")
    os.utime(old, (1, 1))
    assert "old.patch" in cli("gc", "--dry-run").stdout
    assert old.exists()
    answer = Parse(cli("gc", "--json").stdout, pb.CollectGarbageResponse())
    assert (answer.item_count, answer.size_bytes, answer.kept_bytes > 0) == (1, 1, True)
    assert not old.exists()


def test_top_prints_one_table_where_there_is_no_terminal(cli: Cli, servers: Any, repository: Path) -> None:
    assert cli("top").stdout == "no batches\n"
    serving = servers.start("--all", "--allow-root", repository)
    process = cli.start("run", "--repo", repository, "--goal", "Wait", "--command", "sleep 600", "--name", "slow")
    until(process, "preparing -> running")
    shown = cli("top", "--address", serving.address)
    assert shown.returncode == 0
    assert "active" in shown.stdout
    run = runs_of(cli)[0]
    assert any(run.run_id in line and "running" in line for line in shown.stdout.splitlines())
    seen = json.loads(cli("top", "--json").stdout)
    assert [item["run_id"] for item in seen["runs"]] == [run.run_id]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=HANG_S)
    after = cli("top", "--once").stdout
    assert "cancelled" in after
    assert "failed" not in after


def test_ctrl_c_leaves_the_live_table_quietly(finished: Finished) -> None:
    cli, three = finished.cli, finished.batch_id
    main, child = pty.openpty()
    process = subprocess.Popen(
        [Path(sys.executable).with_name("autopack"), "top"], stdin=subprocess.DEVNULL, stdout=child, stderr=child,
        env=cli.environment(TERM="xterm-256color", COLUMNS="100", LINES="30"), cwd=cli.home,
    )  # fmt: skip
    os.close(child)
    drawn = b""
    while three.encode() not in drawn:
        assert select.select([main], [], [], HANG_S)[0]
        drawn += os.read(main, 65536)
    process.send_signal(signal.SIGINT)
    while select.select([main], [], [], HANG_S)[0]:
        try:
            drawn += os.read(main, 65536)
        except OSError:  # EIO: the other end was closed
            break
    os.close(main)
    assert process.wait(timeout=HANG_S) == 0
    assert b"Traceback" not in drawn


def test_batch_of_a_closed_terminal_is_resumed_and_ends_as_it_would_have(cli: Cli, repository: Path) -> None:
    go, begun = cli.home / "go", cli.home / "agent-begun"
    command = f"sh -c 'touch {begun}; while ! test -e {go}; do sleep 0.1; done; echo two >> notes.txt'"
    process = cli.start(
        "run", "--repo", repository, "--goal", "Write", "--command", command, "--validate", "true",
        "--sandbox", "none",
    )  # fmt: skip
    appears(begun)
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=HANG_S)
    (run,) = runs_of(cli)
    assert (run.state, run.cancel_requested) == (pb.RUN_STATE_RUNNING, False)
    go.touch()
    done = cli("resume", run.batch_id)
    assert done.returncode == 0, done.stderr
    assert run.branch in done.stdout
    (ended,) = runs_of(cli)
    assert (ended.state, ended.attempt) == (pb.RUN_STATE_SUCCEEDED, 1)
    assert git(repository, "show", f"{run.branch}:notes.txt") == "one\ntwo"
    again = cli("resume", run.batch_id, "--json")
    assert [item.run_id for item in Parse(again.stdout, pb.ListRunsResponse()).runs] == [run.run_id]
    assert "reason: BATCH_NOT_FOUND" in cli("resume", "nosuch").stderr


def test_interrupt_while_the_batch_is_being_created_cancels_it(cli: Cli, repository: Path) -> None:
    slow = cli.home / "bin/git"
    slow.parent.mkdir()
    begun = cli.home / "begun"
    real = subprocess.run(["which", "git"], capture_output=True, text=True, check=True).stdout.strip()
    slow.write_text(f'#!/bin/sh\ncase "$*" in *"clone --quiet"*) touch {begun}; sleep 3;; esac\nexec {real} "$@"\n')
    slow.chmod(0o755)
    process = cli.start(
        "run", "--repo", repository, "--goal", "Wait", "--command", "sleep 600",
        env={"PATH": f"{slow.parent}:{os.environ['PATH']}"},
    )  # fmt: skip
    appears(begun)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=HANG_S)
    assert process.returncode == 130, errors
    (run,) = runs_of(cli)
    assert run.state == pb.RUN_STATE_CANCELLED
    assert survivors(run.run_id) == []


def test_ids_are_in_one_piece_on_a_narrow_terminal(finished: Finished) -> None:
    cli, three = finished.cli, finished.batch_id
    runs = runs_of(cli)
    assert len(runs) == 3
    for columns in ("80", "40"):
        listed = cli("runs", "list", env={"COLUMNS": columns}).stdout
        for run in runs:
            assert sum(run.run_id in line for line in listed.splitlines()) == 1
        assert f"autopack/{three}" not in listed
    assert f"autopack/{three}/one" in cli("runs", "list").stdout
