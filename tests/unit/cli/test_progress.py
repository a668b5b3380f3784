"""What the live display shows."""

from __future__ import annotations

import io

from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_cli.progress import Board
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console


def console(height: int = 24) -> Console:
    return Console(file=io.StringIO(), width=100, height=height, force_terminal=False)


def shown(board: Board) -> list[str]:
    out = board.console
    out.print(board.render())
    assert isinstance(out.file, io.StringIO)
    return [line.rstrip() for line in out.file.getvalue().splitlines()]


def event(run: str, kind: pb.EventKind.ValueType, second: int = 0, **attributes: str) -> pb.Event:
    return pb.Event(run_id=f"b.{run}", kind=kind, time=Timestamp(seconds=second), attributes=attributes)


STATE = pb.EVENT_KIND_STATE


def test_line_shows_state_activity_and_time() -> None:
    board = Board(console(), clock=lambda: 100.0)
    board.add(pb.Run(run_id="b.fix", name="fix"))
    board.apply(event("fix", STATE, 35, to="preparing"))
    board.apply(event("fix", pb.EVENT_KIND_PHASE_STARTED, 36, phase="install"))
    lines = shown(board)
    assert lines[1].split() == ["fix", "preparing", "install", "1m05s"]
    assert lines[-1] == "1 preparing"


def test_time_stands_still_once_a_run_has_ended() -> None:
    board = Board(console(), clock=lambda: 10_000.0)
    board.apply(event("fix", STATE, 100, to="preparing"))
    board.apply(event("fix", pb.EVENT_KIND_PHASE_STARTED, 101, phase="agent"))
    board.apply(event("fix", STATE, 108, to="timed_out"))
    assert shown(board)[1].split() == ["fix", "timed", "out", "8s"]


def test_run_that_was_never_started_has_no_time() -> None:
    board = Board(console())
    board.apply(event("fix", STATE, 5, to="cancelled"))
    assert shown(board)[1].split() == ["fix", "cancelled", "0s"]


def test_runs_at_work_come_first_when_not_all_fit() -> None:
    board = Board(console(height=9), clock=lambda: 0.0)
    for number in range(1000):
        board.add(pb.Run(run_id=f"b.r{number}", name=f"r{number}"))
    board.apply(event("r900", STATE, to="running"))
    board.apply(event("r950", STATE, to="failed"))
    lines = shown(board)
    assert len(lines) == 1 + 5 + 1
    assert [line.split()[0] for line in lines[1:3]] == ["r900", "r950"]
    assert lines[-1] == "1 failed, 998 queued, 1 running"


def test_names_from_outside_cannot_steer_the_terminal() -> None:
    board = Board(console())
    board.add(pb.Run(run_id="b.x", name="\x1b[2Jx"))
    board.apply(event("x", pb.EVENT_KIND_PHASE_STARTED, phase="a\x07[bold]b"))
    text = "\n".join(shown(board))
    assert "\x1b[2J" not in text
    assert "\x07" not in text
    assert "[bold]" in text


def test_event_about_the_batch_is_no_line() -> None:
    board = Board(console())
    board.apply(pb.Event(kind=STATE, attributes={"to": "active"}))
    assert board.counts() == {}
