"""``autopack compare``: real runs of two batches, and the reports about them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from autopack_api.telemetry.v1 import compare_pb2 as pb
from google.protobuf.json_format import Parse

Cli = Any
EXAMPLES = Path(__file__).parents[2] / "examples"

TASKS = ("one", "two")


def batch(cli: Cli, repository: Path, name: str, command: str) -> str:
    """Runs a batch with a run for each task; its id."""
    path = cli.home / f"{name}.yaml"
    runs = "".join(f"  - {{name: {task}, goal: Write, command: [sh, -c, {json.dumps(command)}]}}\n" for task in TASKS)
    defaults = "{prepare: none, validate: [grep -q more notes.txt], fail_on_pre_existing: true}"
    path.write_text(f"name: {name}\nrepo: {repository}\ndefaults: {defaults}\nruns:\n{runs}")
    done = cli("run", path, "--json")
    return str(json.loads(done.stdout)["runs"][0]["batch_id"])


def test_two_batches_are_compared_by_the_names_of_their_runs(cli: Cli, repository: Path) -> None:
    before = batch(cli, repository, "before", "echo more >> notes.txt")
    after = batch(cli, repository, "after", "echo nothing of use > other.txt")
    arms = ("--control-batch", before, "--treatment-batch", after, "--primary", "wall_time")
    done = cli("compare", *arms, "--json", "--fail-on", "inconclusive")
    response = Parse(done.stdout, pb.CompareRunsResponse())
    assert (done.returncode, response.verdict) == (3, pb.VERDICT_TOO_FEW_PAIRS)
    assert sorted(pair.task for pair in response.pairs) == sorted(TASKS)
    assert response.metrics[0].metric == pb.COMPARISON_METRIC_WALL_TIME
    assert (response.metrics[0].n, response.metrics[0].left_out) == (2, 0)
    assert (response.success.control_only, response.success.treatment_rate) == (2, 0)
    checks = {check.id: check.status for check in response.checks}
    assert checks["commit"] == checks["spec"] == pb.CHECK_STATUS_PASS
    assert checks["missing_telemetry"] == pb.CHECK_STATUS_WARN  # a shell script uses no tokens
    tokens = cli("compare", *arms[:4])
    assert tokens.returncode == 0
    assert "Too few pairs for a test (0 of at least 5), numbers only: no pair can be compared." in tokens.stdout


def test_the_example_is_found_better_and_its_reports_are_written(cli: Cli) -> None:
    recorded = subprocess.run(
        [sys.executable, EXAMPLES / "comparison.py"], env=cli.environment(), capture_output=True, text=True, check=True
    )
    assert recorded.stdout == "recorded 24 runs of 12 tasks\n"
    reports = ("--markdown", cli.home / "report.md", "--html", cli.home / "report.html")
    done = cli("compare", "--design", EXAMPLES / "comparison.toml", *reports, "--fail-on", "worse")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Better: short prompt total tokens x0.7")
    assert "tokens saved, measured:" in done.stdout
    sentence = done.stdout.splitlines()[0]
    assert sentence in (cli.home / "report.html").read_text()
    assert (cli.home / "report.md").read_text().startswith("# short prompt against long prompt\n")
    assert sum(line.startswith("| task-") for line in (cli.home / "report.md").read_text().splitlines()) == 12
    one = cli("compare", "-c", "before.task-1", "-t", "after.task-1", "--html", cli.home / "no/such/place.html")
    assert one.returncode == 2
    assert "cannot be written" in one.stderr


def test_questions_that_cannot_be_answered_are_refused(cli: Cli) -> None:
    for words, code, text in (
        (("compare",), 2, "control_run_ids"),
        (("compare", "-c", "a", "-t", "b"), 1, "RUN_NOT_FOUND"),
        (("compare", "-c", "a", "--design", EXAMPLES / "comparison.toml"), 2, "leave the other options out"),
        (("compare", "-c", "a", "-t", "b", "--primary", "tokens"), 2, "total_tokens"),
        (("power", "--sd", "0.7"), 2, "either --ratio or --pairs"),
        (("power", "--ratio", "1", "--sd", "0.7"), 2, "must be above 0 and not 1"),
    ):
        done = cli(*words)
        assert (done.returncode, text in done.stderr) == (code, True), done.stderr
    assert cli("power", "--ratio", "0.8", "--sd", "0.7").stdout.startswith("80 pairs find a ratio of 0.8 ")
    assert "ratio of 0.63 or less" in cli("power", "--pairs", "20", "--sd", "0.7").stdout
