"""Structured logs on standard error: for people on a terminal, as JSON elsewhere."""

from __future__ import annotations

import logging
import sys
from enum import Enum
from typing import Any, TextIO

import structlog

__all__ = ["LogFormat", "LogLevel", "configure"]


class LogFormat(Enum):
    """AUTO is CONSOLE on a terminal and JSON elsewhere."""

    AUTO = "auto"
    CONSOLE = "console"
    JSON = "json"


class LogLevel(Enum):
    """The least severe level that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


# Never the local variables of a traceback (the default of both renderers): payloads and tokens live there.
_TRACEBACKS = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)


def configure(format: LogFormat, level: LogLevel, *, stream: TextIO | None = None) -> None:
    """Sets up structlog and routes the standard library's logging through it; once per process, before serving."""
    target = stream if stream is not None else sys.stderr
    as_json = format is LogFormat.JSON or (format is LogFormat.AUTO and not target.isatty())
    number = logging.getLevelNamesMapping()[level.name]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    final: list[Any] = (
        [structlog.processors.ExceptionRenderer(_TRACEBACKS), structlog.processors.JSONRenderer()]
        if as_json
        else [structlog.dev.ConsoleRenderer(colors=target.isatty(), exception_formatter=structlog.dev.plain_traceback)]
    )
    structlog.configure(
        processors=[*shared, *final],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(target),
        cache_logger_on_first_use=False,  # module-level loggers exist before this call
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *final],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Libraries are heard when something is wrong; their chatter is not ours to sell.
    root.setLevel(max(number, logging.WARNING))
