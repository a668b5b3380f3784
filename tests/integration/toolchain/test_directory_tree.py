"""The walk of a real directory: what it leaves out, where it stops, and that it cannot be led astray."""

from __future__ import annotations

import os
from pathlib import Path

import autopack_toolchain
import pytest
from autopack_toolchain import Budget, Detection, DirectoryTree, SnapshotFile, SnapshotTree, detect_tree
from autopack_toolchain.errors import SourceNotADirectory, SourceNotFound


def write(root: Path, *paths: str, text: str = "") -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def reasons(detection: Detection) -> dict[str, tuple[str, ...]]:
    return {warning.reason: warning.paths for warning in detection.warnings}


def test_vendored_directories_environments_and_other_repositories_are_not_entered(tmp_path: Path) -> None:
    write(tmp_path, "go.mod", text="module a\n")
    for directory in ("node_modules/b", ".venv/lib", "third_party/c", "src/__pycache__"):
        write(tmp_path, f"{directory}/package.json", text='{"name": "b"}')
    write(tmp_path, "env/pyvenv.cfg", "env/lib/setup.py", "clone/.git/HEAD", "clone/setup.py", "cache/CACHEDIR.TAG")
    write(tmp_path, "cache/setup.py")
    with DirectoryTree(tmp_path) as tree:
        assert tree.paths == ("go.mod",)


def test_a_snapshot_of_a_directory_gives_the_answer_of_the_directory(tmp_path: Path) -> None:
    write(tmp_path, "pyproject.toml", text='[project]\nname = "a"\n[tool.pytest.ini_options]\n')
    write(tmp_path, "tests/test_a.py", "ui/yarn.lock", "ui/test/a.test.js", "node_modules/x/package.json")
    write(tmp_path, "ui/package.json", text='{"name": "ui", "scripts": {"test": "jest"}}')
    write(tmp_path, "api/pom.xml", text="<project><broken></project>")
    write(tmp_path, "env/pyvenv.cfg", "env/setup.py")
    os.mkfifo(tmp_path / "setup.py")
    files = []
    for directory, _, names in os.walk(tmp_path):
        for name in names:
            path = Path(directory, name)
            mode = path.lstat().st_mode
            content = path.read_bytes() if path.is_file() else None
            files.append(SnapshotFile(str(path.relative_to(tmp_path)), path.lstat().st_size, mode, content))
    by_path = autopack_toolchain.detect(tmp_path)
    assert [(p.workdir, p.ecosystem) for p in by_path.projects] == [(".", "python"), ("ui", "node")]
    assert {"NOT_A_FILE", "BROKEN_MANIFEST"} <= reasons(by_path).keys()
    assert detect_tree(SnapshotTree(files)) == by_path


def test_links_are_not_followed_whether_they_lead_out_or_in_a_circle(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    write(outside, "package.json", text='{"name": "secret"}')
    root = tmp_path / "root"
    write(root, "go.mod", text="module a\n")
    (root / "link").symlink_to(outside, target_is_directory=True)
    (root / "loop").symlink_to(".", target_is_directory=True)
    (root / "package.json").symlink_to(outside / "package.json")
    (root / "Cargo.toml").symlink_to("Cargo.toml")
    detection = autopack_toolchain.detect(root)
    assert [p.ecosystem for p in detection.projects] == ["go"]
    assert {w.paths[0] for w in detection.warnings} == {"package.json", "Cargo.toml"}


def test_a_directory_replaced_by_a_link_after_the_walk_is_not_read(tmp_path: Path) -> None:
    write(tmp_path / "outside", "package.json", text='{"name": "secret"}')
    write(tmp_path / "root", "sub/package.json", text='{"name": "mine"}')
    with DirectoryTree(tmp_path / "root") as tree:
        (tmp_path / "root/sub").rename(tmp_path / "root/moved")
        (tmp_path / "root/sub").symlink_to(tmp_path / "outside", target_is_directory=True)
        assert tree.paths == ("sub/package.json",)
        assert tree.read("sub/package.json") is None
        assert tree.stat("sub/package.json") is None


@pytest.mark.timeout(60)
def test_manifests_that_are_fifos_directories_or_huge_are_warnings(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "package.json")
    (tmp_path / "pyproject.toml").mkdir()
    with (tmp_path / "pom.xml").open("wb") as sparse:
        sparse.truncate(200 << 20)
    write(tmp_path, "go.mod", text="module a\n")
    detection = autopack_toolchain.detect(tmp_path)
    assert [p.ecosystem for p in detection.projects] == ["go"]
    found = {w.paths[0]: w.message for w in detection.warnings}
    assert "a FIFO" in found["package.json"]
    assert "a directory" in found["pyproject.toml"]
    assert "209,715,200 bytes" in found["pom.xml"]


@pytest.mark.skipif(os.geteuid() == 0, reason="the super-user may read everything")
def test_files_and_directories_that_may_not_be_read_are_warnings(tmp_path: Path) -> None:
    write(tmp_path, "go.mod", "closed/go.mod", text="module a\n")
    write(tmp_path, "package.json", text="{}")
    (tmp_path / "package.json").chmod(0)
    (tmp_path / "closed").chmod(0)
    try:
        found = reasons(autopack_toolchain.detect(tmp_path))
    finally:
        (tmp_path / "closed").chmod(0o700)
    assert found == {"MANIFEST_NOT_READ": ("package.json",), "DIRECTORY_NOT_READ": ("closed",)}


def test_budgets_of_files_and_depth_end_the_walk_with_a_warning(tmp_path: Path) -> None:
    write(tmp_path, *(f"d/{n}.txt" for n in range(20)), "a/b/c/d/e.txt")
    with DirectoryTree(tmp_path, Budget(max_files=10, max_depth=3)) as tree:
        assert len(tree.paths) == 10
        assert {w.reason for w in tree.warnings} == {"TREE_TRUNCATED", "TREE_TOO_DEEP"}


def test_names_with_newlines_and_shell_characters_are_data_and_others_than_utf8_are_left_out(tmp_path: Path) -> None:
    odd = "a\n$(touch pwned) 'x'"
    write(tmp_path, f"{odd}/go.mod", text="module a\n")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.txt")).write_text("")
    detection = autopack_toolchain.detect(tmp_path)
    assert [p.workdir for p in detection.projects] == [odd]
    assert reasons(detection) == {"NAME_NOT_UTF8": ()}


def test_an_empty_directory_gives_an_empty_answer(tmp_path: Path) -> None:
    assert autopack_toolchain.detect(tmp_path) == Detection((), ())


def test_a_source_that_is_missing_or_a_file_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    write(tmp_path, "file")
    with pytest.raises(SourceNotFound, match="Check the spelling"):
        autopack_toolchain.detect(tmp_path / "none")
    with pytest.raises(SourceNotADirectory, match="Name the directory"):
        autopack_toolchain.detect(tmp_path / "file")


def test_directories_that_open_but_cannot_be_listed_do_not_end_the_walk() -> None:
    # As the super-user nothing but the kernel's own directories behaves so, for example those of processes that end.
    detection = autopack_toolchain.detect("/proc", Budget(max_files=20_000))
    assert reasons(detection).keys() & {"DIRECTORY_NOT_READ", "TREE_TRUNCATED", "TREE_TOO_DEEP"}
