"""Names of runs and batches, and the branches they become."""

from __future__ import annotations

import subprocess

import pytest
from autopack_orchestrator.core.names import (
    batch_id,
    branch,
    problem_with_batch_name,
    problem_with_run_name,
    run_id,
)

GOOD = ["a", "A.b_c-1", "x" * 64, "lock", "1", "a.lock.b"]
BAD = ["", "..", "a..b", "a.", "x.lock", "a/b", "-x", ".x", "x" * 65, "a b", "é", "a\n", "a~1", "@{-1}", "a:b", "*"]


@pytest.mark.parametrize("name", GOOD)
def test_a_good_run_name_is_also_a_branch_for_git(name: str) -> None:
    assert problem_with_run_name(name) is None
    checked = subprocess.run(
        ["git", "check-ref-format", "--branch", branch("batch", name, 1)], capture_output=True, text=True, check=True
    )
    assert checked.stdout.strip() == f"autopack/batch/{name}"


@pytest.mark.parametrize("name", BAD)
def test_a_bad_run_name_is_refused_with_what_would_be_right(name: str) -> None:
    assert problem_with_run_name(name)


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a b", "a/b", "x" * 41])
def test_a_bad_batch_name_is_refused(name: str) -> None:
    assert problem_with_batch_name(name)


def test_a_retry_never_takes_the_branch_of_another_run() -> None:
    assert branch("b", "fix", 1) == "autopack/b/fix"
    assert branch("b", "fix", 2) == "autopack/b/fix-2"
    assert branch("b", "fix", 2, ["fix", "fix-2", "fix-2-retry"]) == "autopack/b/fix-2-retry-retry"


def test_ids_begin_with_the_names_a_person_gave() -> None:
    batch = batch_id("login")
    assert batch.startswith("login-")
    assert batch != batch_id("login")
    assert run_id(batch, "fix") == f"{batch}.fix"
