"""``isolation`` and ``limits`` of a batch file."""

from __future__ import annotations

from pathlib import Path

import pytest
from autopack_api.orchestrator.v1 import batch_pb2 as pb
from autopack_cli.batchfile import BatchFile, load

RUN = "runs: [{name: a, goal: Do it, command: 'true'"


def batch(tmp_path: Path, text: str) -> BatchFile:
    path = tmp_path / "batch.yaml"
    path.write_text(text)
    return load(path)


@pytest.mark.parametrize(("word", "value"), [("off", pb.NETWORK_OFF), ("'off'", pb.NETWORK_OFF), ("on", pb.NETWORK_ON)])
def test_isolation_is_read_also_where_yaml_sees_a_boolean(tmp_path: Path, word: str, value: int) -> None:
    found = batch(tmp_path, f"isolation: {{sandbox: required, network: {word}}}\n{RUN}}}]\n")
    assert not found.problems
    assert (found.spec.isolation.sandbox, found.spec.isolation.network) == (pb.SANDBOX_REQUIRED, value)


def test_limits_are_read_with_units(tmp_path: Path) -> None:
    limits = "{max_memory: 512M, max_file_size: 2GiB, max_processes: 100, max_open_files: 64, max_cpu_time: 90s}"
    found = batch(tmp_path, f"{RUN}, limits: {limits}, idle_timeout: 5m, prepare_timeout: 1h}}]\n")
    assert not found.problems
    run = found.spec.runs[0]
    assert (run.limits.max_memory_bytes, run.limits.max_file_bytes) == (512 << 20, 2 << 30)
    assert (run.limits.max_processes, run.limits.max_open_files, run.limits.max_cpu_time.seconds) == (100, 64, 90)
    assert (run.idle_timeout.seconds, run.prepare_timeout.seconds) == (300, 3600)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("isolation: {network: maybe}", "network must be on or off"),
        ("isolation: {sandbox: sometimes}", "use one of auto, required, none"),
        ("isolation: {box: auto}", "known are sandbox, network"),
        ("defaults: {limits: {max_memory: lots}}", "such as 512M"),
        ("defaults: {limits: {memory: 1G}}", "known are max_memory"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_right(tmp_path: Path, text: str, words: str) -> None:
    found = batch(tmp_path, f"{text}\n{RUN}}}]\n")
    assert any(words in problem.message for problem in found.problems), found.problems
