from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from autopack_kit.logs import LogFormat, LogLevel, configure


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_json_lines_of_structlog_and_logging_have_the_same_shape() -> None:
    stream = io.StringIO()
    configure(LogFormat.JSON, LogLevel.INFO, stream=stream)
    structlog.get_logger("a").info("hello", n=1)
    logging.getLogger("library").warning("trouble with %s", "x")
    ours, theirs = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (ours["event"], ours["n"], ours["level"]) == ("hello", 1, "info")
    assert (theirs["event"], theirs["level"]) == ("trouble with x", "warning")
    assert ours["timestamp"].endswith("Z")


def test_json_line_of_an_error_is_one_line_with_its_traceback() -> None:
    stream = io.StringIO()
    configure(LogFormat.JSON, LogLevel.INFO, stream=stream)
    structlog.get_logger().error("bad", exc_info=ValueError("why"))
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["exception"][0]["exc_type"] == "ValueError"


def test_lines_below_the_level_are_not_written() -> None:
    stream = io.StringIO()
    configure(LogFormat.CONSOLE, LogLevel.WARNING, stream=stream)
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud")
    assert "quiet" not in stream.getvalue()
    assert "loud" in stream.getvalue()


def test_auto_writes_json_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    configure(LogFormat.AUTO, LogLevel.INFO, stream=stream)
    structlog.get_logger().info("hello")
    assert json.loads(stream.getvalue())["event"] == "hello"


def test_logger_made_before_configure_obeys_it() -> None:
    early = structlog.get_logger("early")
    stream = io.StringIO()
    configure(LogFormat.JSON, LogLevel.INFO, stream=stream)
    early.info("hello")
    assert json.loads(stream.getvalue())["event"] == "hello"


@pytest.mark.parametrize("chosen", [LogFormat.JSON, LogFormat.CONSOLE])
def test_traceback_in_the_log_never_shows_local_variables(chosen: LogFormat) -> None:
    def fail(token: str) -> None:
        raise ValueError(f"a token of {len(token)} characters")

    stream = io.StringIO()
    configure(chosen, LogLevel.INFO, stream=stream)
    try:
        fail("".join(["sec", "ret"]))
    except ValueError as error:
        structlog.get_logger().error("bad", exc_info=error)
    assert "a token of 6 characters" in stream.getvalue()
    assert "secret" not in stream.getvalue()
