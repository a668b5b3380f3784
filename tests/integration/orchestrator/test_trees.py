"""Directories that runs leave behind, however they left them, are deleted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from autopack_orchestrator.adapters.sandbox import HomeRules, discard, prepare_home
from autopack_orchestrator.adapters.trees import delete_tree

DELETE = """
import sys
from pathlib import Path
from autopack_orchestrator.adapters.trees import delete_tree
delete_tree(Path(sys.argv[1]))
"""
#: Root may look into everything; without these it is its directories' owner like any other user.
LIKE_A_USER = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search")


def test_closed_and_read_only_directories_are_deleted(tmp_path: Path) -> None:
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed, and root may look into everything")
    tree = tmp_path / "tree"
    for name, mode in (("closed", 0), ("closed-too", 0), ("read-only", 0o555)):
        (tree / name / "deeper").mkdir(parents=True)
        (tree / name / "deeper" / "file").touch()
        (tree / name / "deeper").chmod(mode)
        (tree / name).chmod(mode)
    before = LIKE_A_USER if os.geteuid() == 0 else ()
    done = subprocess.run(
        [*before, sys.executable, "-c", DELETE, str(tree)], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert not tree.exists()


@pytest.mark.parametrize("delete", [delete_tree, discard])
def test_a_tree_deeper_than_the_stack_is_deleted(tmp_path: Path, delete: object) -> None:
    assert callable(delete)
    tree = tmp_path / "tree"
    tree.mkdir()
    subprocess.run(["mkdir", "-p", "d/" * 1800], cwd=tree, check=True)
    delete(tree)
    assert not tree.exists()


def test_a_link_is_deleted_and_not_what_it_leads_to(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (tmp_path / "link").symlink_to(kept)
    delete_tree(tmp_path / "link")
    delete_tree(tmp_path / "never was")
    assert os.listdir(tmp_path) == ["kept"]


def test_a_home_with_settings_that_lead_nowhere_is_prepared_without_them(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / ".agent").mkdir(parents=True)
    (home / ".agent" / "gone").symlink_to(tmp_path / "nowhere")
    (home / ".agent" / "settings").write_text("x")
    prepare_home(home, tmp_path / "private", tmp_path / "caches", HomeRules(state=(".agent", ".agent.toml")))
    assert os.listdir(tmp_path / "private" / ".agent") == ["settings"]


def test_caches_are_touched_by_each_command_that_has_them(tmp_path: Path) -> None:
    home, caches = tmp_path / "home", tmp_path / "caches"
    home.mkdir()
    rules = HomeRules(caches=(".cache/pip",))
    prepare_home(home, tmp_path / "one", caches, rules)
    os.utime(caches, (1, 1))
    prepare_home(home, tmp_path / "two", caches, rules)
    assert caches.stat().st_mtime > 1
