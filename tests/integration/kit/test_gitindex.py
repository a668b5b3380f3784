"""The index of git, as every version of it is written by git itself, and as nobody should write it."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest
from autopack_kit.gitindex import CorruptIndex, tracked_directories

PATHS = ["README", "a/b/c.py", "a/b/d.py", "a-b/x", "deep/" * 30 + "f", "é/n\nl", "long/" + "n" * 200, "z"]


def git(root: Path, *words: str) -> None:
    subprocess.run(["git", "-C", root, *words], check=True, capture_output=True)


def repository(root: Path, *options: str) -> Path:
    git(root, "init", "-q", *options)
    for path in PATHS:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)
    return root


def directories() -> set[str]:
    return {"a", "a/b", "a-b", "é", "long", *("/".join(["deep"] * n) for n in range(1, 31))}


@pytest.mark.parametrize("version", ["2", "3", "4"])
@pytest.mark.parametrize("names", ["sha1", "sha256"])
def test_every_version_of_the_index_is_read(tmp_path: Path, version: str, names: str) -> None:
    root = repository(tmp_path, f"--object-format={names}")
    git(root, "config", "index.version", "2" if version == "3" else version)
    git(root, "add", "-A")
    if version == "3":  # is written where an entry has a flag that version 2 has no room for
        git(root, "rm", "-q", "--cached", "a/b/c.py")
        git(root, "add", "--intent-to-add", "a/b/c.py")
    data = (root / ".git/index").read_bytes()
    assert data[7] == int(version)
    assert tracked_directories(data) == directories()


def test_what_is_no_longer_tracked_is_not_told(tmp_path: Path) -> None:
    root = repository(tmp_path)
    git(root, "add", "README", "a-b")
    assert tracked_directories((root / ".git/index").read_bytes()) == {"a-b"}


def test_a_split_index_is_refused_because_it_is_not_the_whole_one(tmp_path: Path) -> None:
    root = repository(tmp_path)
    git(root, "add", "-A")
    git(root, "update-index", "--split-index")
    with pytest.raises(CorruptIndex):
        tracked_directories((root / ".git/index").read_bytes())


@pytest.mark.parametrize("version", ["2", "4"])
def test_a_damaged_index_is_an_error_or_an_answer_and_nothing_else(tmp_path: Path, version: str) -> None:
    root = repository(tmp_path)
    git(root, "config", "index.version", version)
    git(root, "add", "-A")
    data = (root / ".git/index").read_bytes()
    chance = random.Random(version)
    for _ in range(2_000):
        damaged = bytearray(data[: chance.randrange(len(data))] if chance.random() < 0.3 else data)
        for _ in range(chance.randrange(1, 4)):
            if damaged:
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        try:
            assert all(isinstance(directory, str) for directory in tracked_directories(bytes(damaged)))
        except CorruptIndex:
            continue


@pytest.mark.parametrize(
    "data", [b"", b"DIRC", b"DIRC\0\0\0\2\xff\xff\xff\xff", b"DIRC\0\0\0\x09" + bytes(100), b"\0" * 99]
)
def test_what_is_no_index_is_an_error(data: bytes) -> None:
    with pytest.raises(CorruptIndex):
        tracked_directories(data)
