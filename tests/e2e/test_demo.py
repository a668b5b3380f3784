"""The demo as a newcomer sees it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from autopack_cli.demo.survivors import survivors

Cli = Any
NAMES = (
    "clean-success", "missing-dependency", "undeclared-package", "outside-scope", "something-else", "hangs",
    "wrong-directory",
)  # fmt: skip
NODE_NAMES = ("node-missing-dependency", "both-projects")


# `make demo` itself stands in CI.
@pytest.mark.long
def test_demo_ends_every_run_as_it_should_and_shows_where_everything_is(cli: Cli) -> None:
    place = cli.home / "demo"
    done = cli("demo", "--dir", place, timeout=170)
    assert done.returncode == 0, done.stdout + done.stderr
    names = [*NAMES, *(NODE_NAMES if shutil.which("npm") else ("missing-dependency-2",))]
    assert f"{len(names)} of {len(names)} runs ended as they should" in done.stdout
    assert done.stdout.count("\nok ") == len(names) >= 8
    assert "tokens avoided; one call is taken as 12,000 tokens (n = 0, a constant" in done.stdout
    branches = subprocess.run(
        ["git", "-C", place / "repositories/python", "branch", "--list", "autopack/*"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert len(branches) == 4 + ("missing-dependency-2" in names)
    for name in names:
        assert (place / "results" / f"{name}.log").stat().st_size > 0
    assert "def discounted_total" in (place / "results/clean-success.patch").read_text()
    assert not (cli.data / "orchestrator").exists()  # the user's own data is left alone


@pytest.mark.long
def test_demo_without_node_says_so_and_still_runs_eight(cli: Cli) -> None:
    tools = cli.home / "bin"
    tools.mkdir()
    for name in ("git", "sh"):
        (tools / name).symlink_to(shutil.which(name) or "")
    (tools / "python3").symlink_to(os.path.realpath(sys.executable))  # never a version manager's shim
    done = cli("demo", "--json", env={"PATH": str(tools)}, timeout=170)
    assert done.returncode == 0, done.stderr
    runs = json.loads(done.stdout)["runs"]
    assert len(runs) == 8
    assert "node-missing-dependency: skipped, node is not installed; a Python run takes its place." in done.stderr
    assert [survivors(run["run_id"]) for run in runs] == [[]] * 8


def test_demo_refuses_a_directory_with_files(cli: Cli) -> None:
    (cli.home / "full").mkdir()
    Path(cli.home / "full/file").write_text("mine")
    done = cli("demo", "--dir", "full")
    assert done.returncode == 1
    assert "reason: DIRECTORY_NOT_EMPTY" in done.stderr
