"""What goes into a snapshot and what stays out."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from autopack_api.toolchain.v1.toolchain_pb2 import GetSnapshotSpecResponse
from autopack_client.snapshots import snapshot

SPEC = GetSnapshotSpecResponse(
    content_patterns=["package.json", "*.toml"],
    pruned_directories=[".git", "node_modules"],
    max_files=100,
    max_content_bytes=1000,
    max_total_bytes=1500,
)


def spec(**changes: int) -> GetSnapshotSpecResponse:
    result = GetSnapshotSpecResponse()
    result.CopyFrom(SPEC)
    for name, value in changes.items():
        setattr(result, name, value)
    return result


def write(root: Path, path: str, content: bytes = b"") -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def test_every_path_is_sent_sorted_and_content_only_where_asked(tmp_path: Path) -> None:
    write(tmp_path, "z/package.json", b"{}")
    write(tmp_path, "src/main.py", b"print()")
    write(tmp_path, "pyproject.toml", b"\xff[project]")
    result = snapshot(tmp_path, SPEC)
    assert [file.path for file in result.files] == ["pyproject.toml", "src/main.py", "z/package.json"]
    assert [file.content for file in result.files if file.HasField("content")] == [b"\xff[project]", b"{}"]
    assert result.files[1].size == len(b"print()")
    assert not result.truncated


def test_pruned_directories_are_left_out_at_any_depth(tmp_path: Path) -> None:
    write(tmp_path, "a/node_modules/x/package.json", b"{}")
    write(tmp_path, ".git/config")
    write(tmp_path, "a/b.py")
    assert [file.path for file in snapshot(tmp_path, SPEC).files] == ["a/b.py"]


def test_executable_bit_is_kept(tmp_path: Path) -> None:
    write(tmp_path, "gradlew").chmod(0o755)
    assert snapshot(tmp_path, SPEC).files[0].mode & stat.S_IXUSR


def test_links_are_never_followed_and_told_where_they_bear_the_name_of_a_manifest(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write(root, "real/package.json", b"{}")
    write(tmp_path, "secret.toml", b"secret")
    (root / "pyproject.toml").symlink_to(tmp_path / "secret.toml")
    (root / "package.json").symlink_to("real/package.json")
    (root / "loop").symlink_to("loop")
    (root / "up").symlink_to(tmp_path)
    result = snapshot(root, SPEC)
    assert [(file.path, stat.S_ISLNK(file.mode), file.HasField("content")) for file in result.files] == [
        ("package.json", True, False),
        ("pyproject.toml", True, False),
        ("real/package.json", False, True),
    ]


def test_fifo_and_directory_named_as_a_manifest_are_told_and_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pyproject.toml")
    os.mkfifo(tmp_path / "other")
    (tmp_path / "package.json").mkdir()
    result = snapshot(tmp_path, SPEC)
    assert [(file.path, stat.S_IFMT(file.mode)) for file in result.files] == [
        ("package.json", stat.S_IFDIR),
        ("pyproject.toml", stat.S_IFIFO),
    ]
    assert not any(file.HasField("content") for file in result.files)


def test_large_file_is_sent_without_content(tmp_path: Path) -> None:
    with write(tmp_path, "a.toml").open("r+b") as file:
        file.truncate(200 << 20)
    result = snapshot(tmp_path, SPEC)
    assert result.files[0].size == 200 << 20
    assert not result.files[0].HasField("content")
    assert not result.truncated


def test_content_over_the_total_is_left_out_and_told(tmp_path: Path) -> None:
    write(tmp_path, "a.toml", b"a" * 900)
    write(tmp_path, "b.toml", b"b" * 900)
    result = snapshot(tmp_path, SPEC)
    assert [file.HasField("content") for file in result.files] == [True, False]
    assert result.truncated


def test_more_files_than_the_limit_are_cut_and_told(tmp_path: Path) -> None:
    for number in range(12):
        write(tmp_path, f"d{number}/f.py")
    result = snapshot(tmp_path, spec(max_files=10))
    assert len(result.files) == 10
    assert result.truncated


def test_name_that_is_not_utf8_is_left_out(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff.toml")).write_bytes(b"")
    write(tmp_path, "a.toml")
    assert [file.path for file in snapshot(tmp_path, SPEC).files] == ["a.toml"]


def test_missing_root_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        snapshot(tmp_path / "none", SPEC)
