"""The contract of the http executor: where it may go, what answers mean, and what is waited."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from autopack_orchestrator.core.http import (
    BadAnswer,
    Judgement,
    RemoteState,
    base_url,
    judge,
    problem_with_header,
    problem_with_host,
    read_status,
    retry_after,
    run_path,
)
from autopack_orchestrator.core.http_checks import check_http
from autopack_orchestrator.core.model import HttpExecutor, Intention, RunSpec

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HOSTS = frozenset({"agents.example.com", "agents.example.com:8443", "localhost:8080", "[::1]:9"})


@pytest.mark.parametrize(
    "url",
    [
        "https://agents.example.com",
        "https://agents.example.com:443/v1/",
        "https://AGENTS.example.com:8443/x",
        "http://localhost:8080",
        "http://[::1]:9/a",
    ],
)
def test_an_allowed_host_is_called(url: str) -> None:
    assert problem_with_host(url, HOSTS) is None


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "is required"),
        ("https://other.example.com", "AUTOPACK_ORCHESTRATOR_HTTP_HOSTS"),
        ("https://agents.example.com:9", "AUTOPACK_ORCHESTRATOR_HTTP_HOSTS"),
        ("https://agents.example.com.evil.example", "AUTOPACK_ORCHESTRATOR_HTTP_HOSTS"),
        ("http://agents.example.com", "this very machine only"),
        ("https://token@agents.example.com", "no user, password or token"),
        ("https://user:secret@agents.example.com", "no user, password or token"),
        ("https://agents.example.com/?key=1", "neither '?'"),
        ("https://agents.example.com:port", "cannot be read"),
        ("ftp://agents.example.com", "https://"),
        ("https:///path", "https://"),
        ("https://agents.example.com/\nHost: x", "printable ASCII"),
        ("https://agents.example.com/" + "a" * 3000, "at most 2048"),
    ],
)
def test_another_url_is_refused_with_its_reason_and_without_its_secret(url: str, why: str) -> None:
    problem = problem_with_host(url, HOSTS)
    assert problem is not None
    assert why in problem
    assert "secret" not in problem


def test_no_host_is_allowed_unless_the_operator_names_it() -> None:
    assert problem_with_host("https://agents.example.com", frozenset()) is not None


def test_the_path_of_a_run_is_put_behind_the_url_and_cannot_leave_it() -> None:
    assert (
        base_url("https://agents.example.com:443/v1/")[0] + run_path("b.one")
        == "https://agents.example.com/v1/runs/b.one"
    )
    assert run_path("a/../b") == "/runs/a%2F..%2Fb"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, Judgement.TAKEN), (202, Judgement.TAKEN), (408, Judgement.AGAIN), (429, Judgement.AGAIN),
        (500, Judgement.AGAIN), (502, Judgement.AGAIN), (503, Judgement.AGAIN), (400, Judgement.REFUSED),
        (401, Judgement.REFUSED), (404, Judgement.REFUSED), (301, Judgement.REFUSED), (307, Judgement.REFUSED),
        (501, Judgement.REFUSED),
    ],
)  # fmt: skip
def test_busy_and_broken_pass_and_refusals_do_not(status: int, expected: Judgement) -> None:
    assert judge(status) is expected


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0), (" 7 ", 7.0), ("0", 0.0), ("", 0.0), ("soon", 0.0), ("-5", 0.0), ("1.5", 0.0),
        ("99999999999999999999", 86400.0), ("Fri, 02 Jan 2026 03:04:35 GMT", 30.0),
        ("Fri, 02 Jan 2026 03:00:00 GMT", 0.0), ("Fri, 02 Jan 2099 03:00:00 GMT", 86400.0), ("²", 0.0),
        ("Fri, 02 Jan 2026 03:00:00 +99999999999999999999", 0.0), ("02 Jan 99999999999 03:00:00", 0.0),
    ],
)  # fmt: skip
def test_retry_after_is_a_number_or_a_date_and_bounded(value: str, seconds: float) -> None:
    assert retry_after(value, NOW) == seconds


@pytest.mark.parametrize("name", ["COMPLETE", "SUCCEEDED", "FAILED", "CANCELLED", "TIMEOUT"])
def test_the_terminal_states_end_a_run(name: str) -> None:
    assert RemoteState[name].terminal


def test_a_status_carries_state_message_log_and_patch() -> None:
    found = read_status(json.dumps({"state": "complete", "message": "m", "log": "l", "patch": "p\n"}).encode())
    assert (found.state, found.message, found.log, found.patch) == (RemoteState.COMPLETE, "m", "l", b"p\n")
    binary = base64.b64encode(b"\xff\n").decode()
    document = {"state": "FAILED", "patch": binary, "patch_encoding": "base64", "exit_code": 3, "unknown": [1]}
    found = read_status(json.dumps(document).encode())
    assert (found.patch, found.exit_code) == (b"\xff\n", 3)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not JSON"),
        (b'{"state": "RUNN', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", "its state"),
        (b'{"state": "DONE"}', "its state 'DONE'"),
        (b'{"state": "FAILED", "message": 1}', "its message"),
        (b'{"state": "COMPLETE", "patch": "\\ud800"}', "surrogate"),
        (b'{"state": "COMPLETE", "patch": "?", "patch_encoding": "base64"}', "not base64"),
        (b'{"state": "COMPLETE", "patch": "x", "patch_encoding": "gzip"}', "patch_encoding"),
    ],
)
def test_an_answer_that_is_none_of_the_contract_is_refused_with_the_reason(data: bytes, why: str) -> None:
    with pytest.raises(BadAnswer, match=why):
        read_status(data)


@pytest.mark.parametrize("name", ["Host", "content-length", "Idempotency-Key", "X Y", "X:Y", "", "Ä"])
def test_headers_that_are_ours_or_none_cannot_be_set(name: str) -> None:
    assert problem_with_header(name) is not None


def run(**fields: object) -> RunSpec:
    http = HttpExecutor(url="https://agents.example.com", **fields)  # type: ignore[arg-type]  # of one field each
    return RunSpec(name="one", intention=Intention(title="x"), http=http)


def test_a_good_executor_has_no_problems() -> None:
    assert check_http([run(headers={"Authorization": "agents-token", "X-Org": "org"})], HOSTS) == []


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"headers": {"Authorization": "Bearer abc"}}, "headers"),
        ({"headers": {"Authorization": "../key"}}, "headers"),
        ({"headers": {"Authorization": ""}}, "headers"),
        ({"headers": {"X-A": "a", "x-a": "a"}}, "headers"),
        ({"headers": {f"X-{number}": "a" for number in range(21)}}, "headers"),
        ({"poll_interval": timedelta(milliseconds=99)}, "poll_interval"),
        ({"max_poll_interval": timedelta(hours=2)}, "max_poll_interval"),
        ({"request_timeout": timedelta(0)}, "request_timeout"),
    ],
)
def test_each_problem_names_its_field(fields: dict[str, object], field: str) -> None:
    assert {found.field for found in check_http([run(**fields)], HOSTS)} == {f"runs[0].http.{field}"}
