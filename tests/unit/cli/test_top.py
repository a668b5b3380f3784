"""What `top` draws."""

from __future__ import annotations

import io

from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_cli.cmd_gc import size_words
from autopack_cli.cmd_top import Picture, render
from autopack_cli.results import print_problems
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console


def run(name: str, state: pb.RunState.ValueType, **fields: object) -> pb.Run:
    return pb.Run(run_id=f"nightly-7k2q9d.{name}", name=name, state=state, attempt=1, **fields)  # type: ignore[arg-type]


def drawn(picture: Picture, room: int = 100) -> list[str]:
    text = io.StringIO()
    Console(file=text, width=160, markup=False).print(render(picture, 1_000.0, room))
    return text.getvalue().splitlines()


def test_runs_at_work_come_first_with_their_time_attempt_and_tokens() -> None:
    working = run("works", pb.RUN_STATE_RUNNING, activity="agent", start_time=Timestamp(seconds=935))
    batch = pb.Batch(
        batch_id="nightly-7k2q9d", state=pb.BATCH_STATE_ACTIVE, runs_by_state={"queued": 1, "running": 1},
        create_time=Timestamp(seconds=900), waiting_reason="the disk is nearly full",
    )  # fmt: skip
    picture = Picture([batch], [run("waits", pb.RUN_STATE_QUEUED), working], tokens={working.run_id: 12345})
    lines = drawn(picture)
    assert [word in lines[1] for word in ("active", "1 queued, 1 running", "1m40s", "the disk is nearly full")] == [
        True
    ] * 4
    first = next(index for index, line in enumerate(lines) if "nightly-7k2q9d.works" in line)
    assert [word in lines[first] for word in ("running", "agent", "1m05s", "12,345")] == [True] * 4
    assert "nightly-7k2q9d.waits" in lines[first + 1]


def test_what_has_no_room_is_counted() -> None:
    picture = Picture(runs=[run(f"r{number}", pb.RUN_STATE_QUEUED) for number in range(9)], more=True)
    assert drawn(picture, room=4)[-1].strip() == "and at least 5 more"


def test_nothing_to_see_is_said() -> None:
    assert drawn(Picture()) == ["no batches"]


def test_text_of_an_agent_cannot_steer_the_terminal() -> None:
    text = "\n".join(drawn(Picture(runs=[run("x", pb.RUN_STATE_RUNNING, activity="\x1b[2Jgone")])))
    assert "\x1b" not in text


def test_sizes_are_said_in_the_unit_that_fits() -> None:
    assert [size_words(count) for count in (0, 1023, 1536, 5 << 30)] == ["0 B", "1023 B", "1.5 KiB", "5.0 GiB"]


def test_a_path_with_a_line_break_looks_like_no_other_line() -> None:
    text = io.StringIO()
    out = Console(file=text, width=160, markup=False)
    print_problems(out, [pb.Run(name="one", reverted_paths=["a\n  what to do: rm -rf"])])
    assert "\n  what to do" not in text.getvalue()
    assert "what to do" in text.getvalue()
