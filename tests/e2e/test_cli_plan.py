"""``autopack plan`` with a server of its own for the duration of the command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from autopack_api.toolchain.v1 import toolchain_pb2 as pb
from autopack_cli.demo.repositories import make_python
from google.protobuf.json_format import Parse

Cli = Any

ISSUE = """# Carts that were abandoned are counted twice

Fix `shop/cart.py` and add a test. Do not touch README.md.
"""


@pytest.fixture
def shop(cli: Cli) -> Path:
    path = Path(cli.home) / "shop"
    make_python(path)
    (path / "issue.md").write_text(ISSUE)
    return path


def test_plan_says_what_where_and_how_it_is_checked(cli: Cli, shop: Path) -> None:
    done = cli("plan", "issue.md", cwd=shop)
    assert done.returncode == 0, done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines[0].startswith("Carts that were abandoned are counted twice")
    assert lines[1].startswith("bugfix")
    assert any(line.startswith("do Fix `shop/cart.py`") for line in lines)
    assert any(line.startswith("+ shop/cart.py") for line in lines)
    assert any(line.startswith("+ tests/test_cart.py") for line in lines)
    assert any(line.startswith("! /README.md") for line in lines)
    assert any(line.startswith("test python -m unittest") or line.startswith("test python -m pytest") for line in lines)
    assert any(line.startswith("budget 200,000 tokens (default)") for line in lines)


def test_plan_of_standard_input_as_json_is_the_response_by_path_and_by_snapshot(cli: Cli, shop: Path) -> None:
    by_path = cli("plan", "-", "--repo", shop, "--json", input=ISSUE.encode())
    by_snapshot = cli("plan", "-", "--repo", shop, "--snapshot", "--json", input=ISSUE.encode())
    plan = Parse(by_path.stdout, pb.NormalizePlanResponse())
    assert plan == Parse(by_snapshot.stdout, pb.NormalizePlanResponse())
    assert plan.plan.phases[0].category.category == pb.PLAN_CATEGORY_BUGFIX


def test_plan_shows_why_when_asked(cli: Cli, shop: Path) -> None:
    done = cli("plan", "issue.md", "--why", cwd=shop)
    assert "PATH_EXISTS" in done.stdout
    assert "TEXT_FORBIDS" in done.stdout
    assert "PATH_EXISTS" not in cli("plan", "issue.md", cwd=shop).stdout


def test_plan_of_phases_prints_each_with_what_it_waits_for(cli: Cli, shop: Path) -> None:
    text = b"## Phase 1: Fix\n- fix shop/cart.py\n## Phase 2: Docs (depends on 1)\n- update the README\n"
    done = cli("plan", "-", "--repo", shop, input=text)
    assert "1-fix" in done.stdout
    assert "after 1-fix" in done.stdout
    assert "budget of all:" in done.stdout


@pytest.mark.parametrize(
    ("data", "status", "reason"),
    [
        (b"Hello\n", 2, "NO_DELIVERABLE"),
        (b"", 2, "INVALID_FIELD"),
        (b"- add \xff\xfe\n", 2, "PLAN_NOT_UTF8"),
        (b"## Phase 1\n- add a\n## Phase 2 (depends on 9)\n- add b\n", 2, "UNKNOWN_PHASE"),
        (b"- add x\n" * 40_000, 2, "PLAN_TOO_LONG"),
    ],
)
def test_a_text_that_is_no_plan_says_what_to_write(cli: Cli, shop: Path, data: bytes, status: int, reason: str) -> None:
    done = cli("plan", "-", "--repo", shop, input=data)
    assert done.returncode == status
    assert f"reason: {reason}" in done.stderr
    assert done.stdout == ""


def test_missing_files_and_directories_say_what_to_do(cli: Cli, shop: Path) -> None:
    for words in (("plan", "none.md"), ("plan", "."), ("plan", "-", "--repo", "nowhere")):
        done = cli(*words, cwd=shop, input=ISSUE.encode())
        assert done.returncode == 1
        assert "what to do: " in done.stderr
