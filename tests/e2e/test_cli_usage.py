"""Files of agents, sessions and sums, each command with a server of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from autopack_api.telemetry.v1 import agents_pb2, telemetry_pb2
from google.protobuf.json_format import Parse

Cli = Any

GOLDEN = Path(__file__).parents[1] / "unit/telemetry/golden_files"


def test_files_of_agents_are_imported_once_and_seen_in_sessions_and_sums(cli: Cli) -> None:
    first = cli(
        "import", GOLDEN / "mini-swe-agent.traj.json", GOLDEN / "gemini.json", "--run", "b.fix", "--phase", "agent"
    )
    assert first.returncode == 0
    assert "mini-swe-agent  2    0             4,343   input 203, cache read 4,030, output 110" in first.stdout
    content = (GOLDEN / "gemini.json").read_bytes()
    again = cli("import", "-", "--run", "b.fix", "--format", "gemini-result", "--json", input=content)
    answer = Parse(again.stdout, agents_pb2.ImportUsageResponse())
    assert (answer.recorded, answer.duplicates) == (0, 1)

    listed = cli("usage", "sessions", "--run", "b.fix", "--json")
    found = Parse(listed.stdout, agents_pb2.ListSessionsResponse()).sessions
    assert {(item.agent, item.signal, item.mismatch) for item in found} == {
        ("mini-swe-agent", agents_pb2.USAGE_SIGNAL_FILE, False),
        ("gemini", agents_pb2.USAGE_SIGNAL_FILE, False),
    }
    shown = cli("usage", "sessions").stdout
    assert "gemini" in shown
    assert "b.fix" in shown
    assert cli("usage", "sessions", "--unattributed").stdout == "no sessions\n"

    stats = cli("stats", "b.fix")
    assert "of this, reported by agents" in stats.stdout
    assert "$0.0066" in stats.stdout
    assert "avoided (estimates" in stats.stdout
    sums = Parse(cli("stats", "b.fix", "--json").stdout, telemetry_pb2.GetRunSummaryResponse())
    assert sums.usage_records == 3
    assert sums.tokens.output == 220


def test_files_that_cannot_be_imported_are_named_and_the_others_are_imported(cli: Cli) -> None:
    (cli.home / "notes.txt").write_text("hello\n")
    words = ("import", "notes.txt", "missing.jsonl", GOLDEN / "codex-exec.jsonl", "--run", "b.fix", "--json")
    done = cli(*words)
    assert done.returncode == 1
    answers = json.loads(done.stdout)
    assert answers[:2] == [None, None]
    assert answers[2]["recorded"] == 1
    assert "error: notes.txt: " in done.stderr
    assert "reason: FORMAT_UNKNOWN" in done.stderr
    assert "error: missing.jsonl: " in done.stderr


def test_questions_that_cannot_be_right_are_refused(cli: Cli) -> None:
    both = cli("usage", "sessions", "--run", "b.fix", "--unattributed")
    assert (both.returncode, "reason: INVALID_FIELD" in both.stderr) == (2, True)
    twice = cli("import", "-", "-", "--run", "b.fix")
    assert (twice.returncode, "standard input more than once" in twice.stderr) == (2, True)
    assert cli("import", GOLDEN / "gemini.json").returncode == 2  # whose usage it is, is never guessed
