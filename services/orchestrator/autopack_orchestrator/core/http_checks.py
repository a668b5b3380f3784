"""Checks of runs whose agents work behind HTTP, before anything starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from autopack_kit.errors import FieldViolation

from autopack_orchestrator.core.http import problem_with_header, problem_with_host
from autopack_orchestrator.core.model import HttpExecutor, RunSpec
from autopack_orchestrator.core.names import problem_with_name

__all__ = ["check_http"]

MAX_HEADERS = 20
MAX_CREDENTIAL_NAME = 64
MIN_INTERVAL = timedelta(milliseconds=100)  # anything closer is an attack on the server
MAX_POLL_INTERVAL = timedelta(hours=1)
MAX_REQUEST_TIMEOUT = timedelta(minutes=10)


def check_http(runs: Sequence[RunSpec], hosts: frozenset[str]) -> list[FieldViolation]:
    """Every problem of the runs' http executors.

    Args:
        hosts: that may be called, as ``host`` or ``host:port``.
    """
    return [
        FieldViolation(f"runs[{index}].http.{field}", problem)
        for index, run in enumerate(runs)
        if run.http is not None
        for field, problem in _problems(run.http, hosts)
    ]


def _problems(http: HttpExecutor, hosts: frozenset[str]) -> Iterator[tuple[str, str]]:
    if problem := problem_with_host(http.url, hosts):
        yield "url", problem
    if len(http.headers) > MAX_HEADERS:
        yield "headers", f"has more than {MAX_HEADERS}"
    seen = set[str]()
    for name, credential in list(http.headers.items())[:MAX_HEADERS]:
        problem = problem_with_header(name)
        if problem is None and name.lower() in seen:
            problem = "is named twice (case does not count)"
        if problem is not None:
            yield "headers", f"{name[:64]!r} {problem}"
        seen.add(name.lower())
        if "." in credential or problem_with_name(credential, MAX_CREDENTIAL_NAME) is not None:
            yield (
                "headers",
                f"{name[:64]!r} must be the name of a credential of this server (at most {MAX_CREDENTIAL_NAME} letters,"
                " digits, '_' and '-'), never a value",
            )
    limits = (
        ("poll_interval", http.poll_interval, MAX_POLL_INTERVAL, "1 h"),
        ("max_poll_interval", http.max_poll_interval, MAX_POLL_INTERVAL, "1 h"),
        ("request_timeout", http.request_timeout, MAX_REQUEST_TIMEOUT, "10 min"),
    )
    for field, value, most, words in limits:
        if not MIN_INTERVAL <= value <= most:
            yield field, f"must be from 100 ms to {words}"
