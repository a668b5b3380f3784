from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from autopack_api.common.v1 import common_pb2
from autopack_kit.commands import Command, Script
from autopack_kit.convert import (
    command_from_proto,
    command_to_proto,
    duration_from_proto,
    duration_to_proto,
    relative_path,
    timestamp_from_proto,
    timestamp_to_proto,
)
from autopack_kit.errors import InvalidArgument
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp


@pytest.mark.parametrize(
    "command",
    [
        Command.of("npm", "test"),
        Command.of("pytest", "-k", "a b", cwd="sub/dir", env={"CI": "1"}),
        Command(argv=("make",), timeout=timedelta(seconds=1, microseconds=5)),
        Command(script=Script(("bash", "-e"), "make && make test")),
    ],
)
def test_command_survives_the_wire(command: Command) -> None:
    assert command_from_proto(command_to_proto(command)) == command


def argv(*words: str, **fields: object) -> common_pb2.Command:
    return common_pb2.Command(argv=common_pb2.Argv(words=words), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (common_pb2.Command(), "steps[1]"),
        (argv(), "steps[1].argv.words"),
        (argv(""), "steps[1].argv.words"),
        (argv("a", "b\0"), "steps[1].argv.words[1]"),
        (argv("a", "x" * 32769), "steps[1].argv.words[1]"),
        (argv(*["a"] * 1025), "steps[1].argv.words"),
        (argv("a", cwd="/etc"), "steps[1].cwd"),
        (argv("a", cwd="a/../.."), "steps[1].cwd"),
        (argv("a", env={"A=B": "1"}), "steps[1].env"),
        (argv("a", env={"": "1"}), "steps[1].env"),
        (argv("a", env={"A": "\0"}), "steps[1].env[A]"),
        (argv("a", env={f"V{index}": "" for index in range(257)}), "steps[1].env"),
        (argv("a", timeout=Duration()), "steps[1].timeout"),
        (argv("a", timeout=Duration(seconds=1, nanos=-1)), "steps[1].timeout"),
        (common_pb2.Command(script=common_pb2.Script(text="x")), "steps[1].script.interpreter"),
        (common_pb2.Command(script=common_pb2.Script(interpreter=["sh"])), "steps[1].script.text"),
        (common_pb2.Command(script=common_pb2.Script(interpreter=["sh"], text="x" * 65537)), "steps[1].script.text"),
    ],
)
def test_command_that_breaks_a_limit_is_an_error_about_its_field(message: common_pb2.Command, field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        command_from_proto(message, "steps[1]")
    assert caught.value.violations[0].field == field


@pytest.mark.parametrize(("text", "path"), [(".", "."), ("a//b/./c/", "a/b/c"), ("a..b", "a..b")])
def test_relative_path_inside_the_workspace_is_normalised(text: str, path: str) -> None:
    assert relative_path(text, "cwd") == path


@pytest.mark.parametrize("text", ["", "/", "/a", "..", "a/..", "a\\b", "a\0", "a/" * 3000])
def test_relative_path_that_leaves_or_confuses_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        relative_path(text, "cwd")


def test_duration_and_timestamp_survive_the_wire() -> None:
    assert duration_from_proto(duration_to_proto(timedelta(seconds=-1.5))) == timedelta(seconds=-1.5)
    instant = datetime(2024, 2, 29, 12, 0, 0, 123456, tzinfo=UTC)
    assert timestamp_from_proto(timestamp_to_proto(instant)) == instant


def test_timestamp_without_a_time_zone_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="time zone"):
        timestamp_to_proto(datetime(2024, 1, 1))


@pytest.mark.parametrize("message", [Timestamp(seconds=2**60), Timestamp(nanos=-1), Timestamp(seconds=-(2**60))])
def test_timestamp_out_of_range_is_an_error_about_its_field(message: Timestamp) -> None:
    with pytest.raises(InvalidArgument) as caught:
        timestamp_from_proto(message, "since")
    assert caught.value.violations[0].field == "since"


@pytest.mark.parametrize("message", [Duration(seconds=2**60), Duration(nanos=2**30)])
def test_duration_out_of_range_is_an_error_about_its_field(message: Duration) -> None:
    with pytest.raises(InvalidArgument) as caught:
        duration_from_proto(message, "wait")
    assert caught.value.violations[0].field == "wait"
