"""``http`` of a run in a batch file."""

from __future__ import annotations

from pathlib import Path

import pytest
from autopack_cli.batchfile import BatchFile, load


def read(folder: Path, http: str) -> BatchFile:
    path = folder / "batch.yaml"
    path.write_text(f"runs:\n  - name: a\n    goal: Do it\n    http: {http}\n")
    return load(path)


def test_a_url_or_a_mapping_becomes_an_executor(tmp_path: Path) -> None:
    short = read(tmp_path, "https://agents.example.com/v1")
    assert not short.problems
    assert short.spec.runs[0].http.url == "https://agents.example.com/v1"
    whole = read(
        tmp_path,
        "{url: 'https://agents.example.com', headers: {Authorization: agents-token}, poll_interval: 1s,"
        " max_poll_interval: 1m, request_timeout: 20s}",
    )
    assert not whole.problems
    http = whole.spec.runs[0].http
    assert dict(http.headers) == {"Authorization": "agents-token"}
    assert [http.poll_interval.seconds, http.max_poll_interval.seconds, http.request_timeout.seconds] == [1, 60, 20]
    assert whole.place_of("runs[0].http.url").line == 4


@pytest.mark.parametrize(
    ("http", "problem"),
    [
        ("{headers: {A: b}}", "runs[0].http has no url"),
        ("{url: x, retries: 3}", "'retries' is not a key of runs[0].http; known are url, headers"),
        ("{url: x, poll_interval: fast}", "runs[0].http.poll_interval"),
        ("https://a\n    agent: claude", "it needs exactly one of command, agent, http, mock"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, http: str, problem: str) -> None:
    (found,) = read(tmp_path, http).problems
    assert problem in found.message
    assert found.place.line in (4, 5)
