"""Trees that are too large, too deep or endless: each gets a bounded answer that says what is missing."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import autopack_toolchain
import pytest
from autopack_client.snapshots import snapshot
from autopack_toolchain import Budget, Detection, SnapshotFile, SnapshotTree, detect_tree
from autopack_toolchain.convert import snapshot_spec_to_proto
from autopack_toolchain.core.registry import default_registry

SPEC = snapshot_spec_to_proto(default_registry(), 32)


def reasons(detection: Detection) -> list[str]:
    return [warning.reason for warning in detection.warnings]


def by_snapshot(root: Path) -> Detection:
    sent = snapshot(root, SPEC)
    files = (SnapshotFile(f.path, f.size, f.mode, f.content if f.HasField("content") else None) for f in sent.files)
    return detect_tree(SnapshotTree(files, truncated=sent.truncated, tracked=sent.tracked_directories))


def grow(root: Path, files: int, *, per_directory: int = 200) -> None:
    """That many empty files, and one project at the top."""
    root.mkdir()
    (root / "go.mod").write_text("module a\n")
    for start in range(0, files - 1, per_directory):
        directory = root / f"d{start:06}"
        directory.mkdir()
        at = os.open(directory, os.O_RDONLY)
        for number in range(start, min(start + per_directory, files - 1)):
            os.close(os.open(f"f{number}.go", os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=at))
        os.close(at)


def test_a_large_tree_is_read_whole_within_its_budget_and_cut_with_a_warning_beyond_it(tmp_path: Path) -> None:
    grow(tmp_path / "tree", 20_000)
    whole = autopack_toolchain.detect(tmp_path / "tree", Budget(max_files=20_000))
    assert [project.workdir for project in whole.projects] == ["."]
    assert reasons(whole) == []
    cut = autopack_toolchain.detect(tmp_path / "tree", Budget(max_files=19_999))
    assert [project.workdir for project in cut.projects] == ["."]
    assert reasons(cut) == ["TREE_TRUNCATED"]


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_tree_of_two_hundred_thousand_files_is_read_whole_and_sent_in_part(tmp_path: Path) -> None:
    grow(tmp_path / "tree", 200_000)
    whole = autopack_toolchain.detect(tmp_path / "tree")
    assert [project.workdir for project in whole.projects] == ["."]
    assert reasons(whole) == []
    (tmp_path / "tree/z.go").touch()
    assert reasons(autopack_toolchain.detect(tmp_path / "tree")) == ["TREE_TRUNCATED"]
    assert reasons(by_snapshot(tmp_path / "tree")) == ["TREE_TRUNCATED"]


def test_many_projects_give_the_nearest_and_a_warning(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"p{number}/deeper").mkdir(parents=True)
        (tmp_path / f"p{number}/deeper/go.mod").write_text("module a\n")
    (tmp_path / "go.mod").write_text("module a\n")
    found = autopack_toolchain.detect(tmp_path)
    assert len(found.projects) == 200
    assert found.projects[0].workdir == "."
    assert reasons(found) == ["TOO_MANY_PROJECTS"]


def test_no_time_left_ends_the_walk_with_a_warning(tmp_path: Path) -> None:
    grow(tmp_path / "tree", 500, per_directory=1)
    found = autopack_toolchain.detect(tmp_path / "tree", Budget(max_seconds=0))
    assert reasons(found) == ["TREE_TRUNCATED"]
    assert "0 seconds" in found.warnings[0].message


def test_hundreds_of_levels_of_directories_are_entered_down_to_the_limit(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text("module a\n")
    below = tmp_path
    for _ in range(300):
        below /= "d" * 10
        below.mkdir()
        (below / "a.go").touch()
    by_path = autopack_toolchain.detect(tmp_path)
    assert reasons(by_path) == ["TREE_TOO_DEEP"]
    assert by_path.warnings[0].paths == ("/".join(["d" * 10] * 33),)
    assert by_snapshot(tmp_path) == by_path


def test_links_in_circles_and_to_the_root_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/go.mod").write_text("module a\n")
    (tmp_path / "a/b/up").symlink_to("../..")
    (tmp_path / "a/root").symlink_to("/")
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "x").symlink_to("y")
    (tmp_path / "y").symlink_to("x")
    by_path = autopack_toolchain.detect(tmp_path)
    assert [project.workdir for project in by_path.projects] == ["a/b"]
    assert reasons(by_path) == []
    assert by_snapshot(tmp_path) == by_path


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "name", ["package.json", ".gitignore", "Makefile", "pyproject.toml", "justfile", ".travis.yml"]
)
def test_what_bears_the_name_of_a_manifest_and_is_none_is_told_by_path_and_by_snapshot(
    tmp_path: Path, name: str
) -> None:
    for kind in ("fifo", "socket", "directory", "link"):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "go.mod").write_text("module a\n")
    os.mkfifo(tmp_path / "fifo" / name)
    with socket.socket(socket.AF_UNIX) as bound:
        at = os.getcwd()
        os.chdir(tmp_path / "socket")  # the path of a socket must be short
        try:
            bound.bind(name)
        finally:
            os.chdir(at)
    (tmp_path / "directory" / name).mkdir()
    (tmp_path / "directory" / name / "x").touch()
    (tmp_path / "link" / name).symlink_to("/dev/zero")
    by_path = autopack_toolchain.detect(tmp_path)
    assert {warning.paths[0]: warning.reason for warning in by_path.warnings} == {
        f"{kind}/{name}": "NOT_A_FILE" for kind in ("fifo", "socket", "directory", "link")
    }
    assert [project.ecosystem for project in by_path.projects] == ["go"] * 4
    assert by_snapshot(tmp_path) == by_path


def test_names_that_a_shell_would_run_stay_words_of_their_own(tmp_path: Path) -> None:
    names = ["$(touch pwned)", "; touch pwned", "`touch pwned`", "a'b\"c", "-rf", "a\nb", "*", "~", "é ü"]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "go.mod").write_text("module a\n\nrequire b v1\n")
        (tmp_path / name / "a_test.go").touch()
    by_path = autopack_toolchain.detect(tmp_path)
    assert sorted(project.workdir for project in by_path.projects) == sorted(names)
    steps = [step.command for project in by_path.projects for step in project.steps]
    assert all(command.script is None for command in steps)
    assert {word for command in steps for word in command.argv}.isdisjoint(names)
    assert by_snapshot(tmp_path) == by_path
