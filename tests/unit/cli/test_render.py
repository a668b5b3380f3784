"""What is printed about errors, runs and estimates."""

from __future__ import annotations

import io
import time

import pytest
from autopack_api.common.v1 import common_pb2
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_api.telemetry.v1 import telemetry_pb2
from autopack_cli.cmd_stats import describe_estimate
from autopack_cli.render import clean, command_line, elapsed, enum_word, local_time, print_error, print_json, table
from autopack_cli.results import all_succeeded, steps_words
from autopack_kit.errors import FieldViolation, InvalidArgument, Unavailable
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console


def test_error_is_one_block_with_remedy_and_fields(capsys: pytest.CaptureFixture[str]) -> None:
    violations = [FieldViolation("runs[2].name", "is not a branch name")]
    error = InvalidArgument(
        "The batch\x1b[31m is bad.", reason="BATCH_INVALID", remedy="Fix it.", violations=violations
    )
    print_error(error)
    assert capsys.readouterr().err.splitlines() == [
        "error: The batch\ufffd[31m is bad.",
        "  runs[2].name: is not a branch name",
        "  what to do: Fix it.",
        "  reason: BATCH_INVALID",
    ]


def test_field_that_the_message_names_already_is_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    violations = [FieldViolation("command.cwd", "'../..' must be relative")]
    print_error(InvalidArgument("command.cwd '../..' must be relative.", reason="BAD", violations=violations))
    assert capsys.readouterr().err.splitlines() == [
        "error: command.cwd '../..' must be relative.",
        "  reason: BAD",
    ]


def test_moment_is_told_in_the_time_zone_of_the_person(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC-05:30")  # POSIX counts westward: this is five and a half hours ahead
    time.tzset()
    try:
        assert f"{local_time(Timestamp(seconds=0)):%H:%M}" == "05:30"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_words_are_not_broken_on_a_narrow_terminal() -> None:
    rows = table("run", "state", "drift")
    rows.add_row("nightly-7k2q9d.fix-the-login-loop", "succeeded", "too little to judge")
    out = Console(file=io.StringIO(), width=40)
    out.print(rows)
    assert isinstance(out.file, io.StringIO)
    assert "succeeded" in out.file.getvalue()


def test_error_of_grpc_itself_gets_a_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(Unavailable("connections to all backends failing", reason="RPC_UNAVAILABLE"))
    assert "what to do: Check --address" in capsys.readouterr().err


def test_json_keeps_the_names_of_the_proto_files(capsys: pytest.CaptureFixture[str]) -> None:
    print_json(pb.GetRunResponse(run=pb.Run(run_id="b.r", patch_bytes=3)))
    assert '"run_id": "b.r"' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.9, "0s"), (59, "59s"), (65, "1m05s"), (3599, "59m59s"), (7620, "2h07m")]
)
def test_elapsed(seconds: float, text: str) -> None:
    assert elapsed(seconds) == text


def test_command_is_quoted_and_says_where() -> None:
    argv = common_pb2.Command(argv=common_pb2.Argv(words=["sh", "-c", "a b"]), cwd="web")
    assert command_line(argv) == "sh -c 'a b'  (in web)"
    assert command_line(argv, "web") == "sh -c 'a b'"
    script = common_pb2.Command(script=common_pb2.Script(interpreter=["bash", "-e"], text="rm -rf /"))
    assert command_line(script) == "bash -e <script>"


def test_number_that_is_newer_than_this_command_is_shown_as_itself() -> None:
    assert enum_word(pb.RunState, 77, "RUN_STATE_") == "77"
    assert enum_word(pb.RunState, pb.RUN_STATE_TIMED_OUT, "RUN_STATE_") == "timed out"


def test_text_keeps_lines_and_letters_of_all_languages() -> None:
    assert clean("naïve\n日本\t|") == "naïve\n日本    |"


def test_steps_are_counted_by_outcome() -> None:
    outcomes = [pb.STEP_OUTCOME_PASSED, pb.STEP_OUTCOME_FIXED, pb.STEP_OUTCOME_PASSED]
    run = pb.Run(steps=[pb.StepResult(outcome=outcome) for outcome in outcomes])
    assert steps_words(run) == "2 passed, 1 fixed"
    assert steps_words(pb.Run()) == "-"


def test_only_success_of_every_run_is_success() -> None:
    good, lost = pb.Run(state=pb.RUN_STATE_SUCCEEDED), pb.Run(state=pb.RUN_STATE_LOST)
    assert all_succeeded([good, good])
    assert not all_succeeded([good, lost])


def test_estimate_tells_n_and_source() -> None:
    measured = telemetry_pb2.Estimate(tokens=9500, n=7, source=telemetry_pb2.ESTIMATE_SOURCE_RUN_LOCAL)
    assert describe_estimate(measured) == "9,500 tokens (n = 7, median of this run's own doctor calls)"
    measured.low, measured.high, measured.confidence_level = 8_000, 21_000, 0.984375
    assert describe_estimate(measured).startswith("9,500 tokens, 8,000 to 21,000 with 98.4% confidence (n = 7, ")
