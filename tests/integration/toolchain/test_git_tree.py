"""What the walk of a git repository leaves out and what it keeps, and that a snapshot by the client keeps the same."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from autopack_client.snapshots import snapshot
from autopack_toolchain import Budget, DirectoryTree, SnapshotFile, SnapshotTree
from autopack_toolchain.adapters.filesystem import open_allowed
from autopack_toolchain.convert import snapshot_spec_to_proto
from autopack_toolchain.core.registry import default_registry

SPEC = snapshot_spec_to_proto(default_registry(), 32)


def git(root: Path, *words: str) -> None:
    identity = ("-c", "user.name=n", "-c", "user.email=e@example.invalid")
    subprocess.run(["git", *identity, "-C", root, *words], check=True, capture_output=True)


def write(root: Path, *paths: str, text: str = "") -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    root.mkdir()
    git(root, "init", "-q")
    return root


def listed(root: Path) -> list[str]:
    """The files of a directory; by its snapshot, whether the sender prunes or not, they must be the same."""
    with DirectoryTree(root) as tree:
        paths = list(tree.paths)
    sent = snapshot(root, SPEC)
    files = [SnapshotFile(f.path, f.size, f.mode, f.content if f.HasField("content") else None) for f in sent.files]
    assert list(SnapshotTree(files, tracked=sent.tracked_directories).paths) == paths
    return paths


def all_files(root: Path) -> list[SnapshotFile]:
    """What a sender who prunes nothing sends."""
    return [
        SnapshotFile(str(path.relative_to(root)), path.stat().st_size, content=path.read_bytes())
        for path in root.rglob("*")
        if path.is_file()
    ]


def test_ignored_directories_are_left_out_and_nested_ignore_files_have_the_last_word(repository: Path) -> None:
    write(repository, ".gitignore", text="/private\ncache*/\n*.log\n!web/cache-keys/\n")
    write(repository, "web/.gitignore", text="generated\n")
    write(
        repository, "private/a", "web/private/b", "web/cache1/c", "web/cache-keys/d", "web/generated/e", "generated/f"
    )
    expected = [".gitignore", "generated/f", "web/.gitignore", "web/cache-keys/d", "web/private/b"]
    assert listed(repository) == expected
    assert list(SnapshotTree(all_files(repository)).paths) == expected


def test_what_an_agent_has_just_created_is_listed_before_it_is_added(repository: Path) -> None:
    write(repository, "src/a.py")
    git(repository, "add", "-A")
    write(repository, "new/package.json")
    assert listed(repository) == ["new/package.json", "src/a.py"]


def test_an_ignored_directory_with_tracked_files_is_entered_but_not_what_is_untracked_in_it(repository: Path) -> None:
    write(repository, ".gitignore", text="tools/\n")
    write(repository, "tools/kept/a", "tools/kept/b", "tools/scratch/c")
    git(repository, "add", "-f", "tools/kept/a", ".gitignore")
    assert listed(repository) == [".gitignore", "tools/kept/a", "tools/kept/b"]


@pytest.mark.parametrize("name", ["build", "dist", "target", "out", "vendor", "coverage"])
def test_a_directory_of_a_generic_name_is_entered_if_git_tracks_something_in_it(repository: Path, name: str) -> None:
    write(repository, "go.mod", f"{name}/package.json", f"pkg/{name}/package.json")
    git(repository, "add", name, "go.mod")
    assert listed(repository) == sorted([f"{name}/package.json", "go.mod"])


@pytest.mark.parametrize(
    "mark", ["vendor/modules.txt", "build/CMakeCache.txt", "target/maven-status/x", "out/CACHEDIR.TAG"]
)
def test_a_tracked_directory_of_a_generic_name_that_bears_the_mark_of_a_tool_is_left_out(
    repository: Path, mark: str
) -> None:
    directory = mark.partition("/")[0]
    write(repository, "go.mod", f"{directory}/package.json", mark)
    git(repository, "add", "-A")
    assert listed(repository) == ["go.mod"]


def test_without_git_a_generic_name_alone_leaves_nothing_out(tmp_path: Path) -> None:
    write(tmp_path, "build/package.json", "node_modules/x/package.json")
    assert listed(tmp_path) == ["build/package.json"]


def test_a_linked_worktree_is_read_with_its_own_index(repository: Path) -> None:
    write(repository, "build/a")
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "m")
    tree = repository.parent / "linked"
    git(repository, "worktree", "add", "-q", str(tree))
    write(tree, "dist/b")
    with open_allowed(str(tree), [repository.parent], Budget()) as found:
        assert found.paths == (".git", "build/a")


def test_an_index_outside_of_the_allowed_roots_is_not_read(repository: Path) -> None:
    write(repository, "a")
    git(repository, "add", "-A")
    tree = repository.parent / "hostile"
    write(tree, "build/a")
    write(tree, ".git", text=f"gitdir: {repository}/.git\n")
    with open_allowed(str(tree), [tree], Budget()) as found:
        assert "build/a" in found.paths  # with the index, which does not have it, it would not be
    with open_allowed(str(tree), [repository.parent], Budget()) as found:
        assert "build/a" not in found.paths


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "content", ["", "gitdir: ", "gitdir: .", "gitdir: /dev", "gitdir: a\0b", "x" * 10_000, "gitdir: ../.."]
)
def test_a_git_file_that_leads_nowhere_is_no_repository(tmp_path: Path, content: str) -> None:
    write(tmp_path, "build/a")
    write(tmp_path, ".git", text=content)
    os.mkfifo(tmp_path / "index")
    assert "build/a" in listed(tmp_path)


@pytest.mark.timeout(60)
def test_an_index_that_is_a_fifo_a_link_or_damaged_is_not_there(repository: Path) -> None:
    write(repository, "build/a")
    index = repository / ".git/index"
    os.mkfifo(index)
    assert listed(repository) == ["build/a"]
    index.unlink()
    index.symlink_to("/dev/zero")
    assert listed(repository) == ["build/a"]
    index.unlink()
    index.write_bytes(b"DIRC\0\0\0\2\0\0\0\7")
    assert listed(repository) == ["build/a"]


def test_nothing_that_a_repository_configures_is_run(repository: Path) -> None:
    write(repository, "build/a", ".gitignore", text="build\n")
    git(repository, "add", "-f", "build/a")
    pwned = repository.parent / "pwned"
    for name in ("core.fsmonitor", "core.sshCommand", "core.hooksPath"):
        git(repository, "config", name, f"touch {pwned}")
    assert listed(repository) == [".gitignore", "build/a"]
    assert not pwned.exists()


def test_a_clone_inside_is_another_repository(repository: Path) -> None:
    git(repository, "init", "-q", "inner")
    write(repository, "inner/setup.py", "a.py")
    assert listed(repository) == ["a.py"]


def test_ignore_files_that_are_links_or_huge_are_not_read(repository: Path, tmp_path: Path) -> None:
    write(tmp_path, "patterns", text="a\n")
    (repository / ".gitignore").symlink_to(tmp_path / "patterns")
    write(repository, "a/x", "b/y")
    write(repository, "b/.gitignore", text="# \n" * 40_000 + "c\n")
    write(repository, "b/c/z")
    assert listed(repository) == ["a/x", "b/.gitignore", "b/c/z", "b/y"]


def test_more_patterns_than_are_affordable_are_told(repository: Path) -> None:
    for number in range(12):
        write(repository, f"d{number}/.gitignore", text="".join(f"x{n}*\n" for n in range(500)))
    with DirectoryTree(repository) as tree:
        assert [warning.reason for warning in tree.warnings] == ["TOO_MANY_IGNORE_PATTERNS"]
