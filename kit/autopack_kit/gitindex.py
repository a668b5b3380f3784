"""Which directories hold files that git tracks, from the bytes of ``.git/index``: no git runs, no hook, no setting.

Pure. Format: git's ``gitformat-index``, versions 2 to 4, with names of objects by SHA-1 or SHA-256.
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["MAX_INDEX_BYTES", "CorruptIndex", "tracked_directories"]

MAX_INDEX_BYTES = 64 << 20
"""Bytes of an index that is read: about 600,000 files."""

_HEADER = 12
_STAT_BYTES = 40
_LONG_NAME = 0xFFF
_EXTENDED = 0x4000
_HASH_BYTES = (20, 32)


class CorruptIndex(ValueError):
    """The bytes are no index that can be read; also one whose entries stand in another file (a split index)."""


def tracked_directories(data: bytes) -> frozenset[str]:
    """Every directory below which a file is tracked, relative, without the root. Linear in the size of ``data``.

    Raises:
        CorruptIndex: the bytes are no complete index.
    """
    for hash_bytes in _HASH_BYTES:  # only the repository's settings say which, and they are not read
        try:
            return _directories(_paths(data, hash_bytes))
        except (CorruptIndex, IndexError, ValueError):
            continue
    raise CorruptIndex("not an index of git that can be read")


def _directories(paths: Iterator[bytes]) -> frozenset[str]:
    found: set[bytes] = set()
    last = b""
    for path in paths:
        directory = path.rpartition(b"/")[0]
        if directory == last:  # paths are sorted: most have the directory of the one before
            continue
        last = directory
        while directory and directory not in found:
            found.add(directory)
            directory = directory.rpartition(b"/")[0]
    return frozenset(directory.decode("utf-8", "surrogateescape") for directory in found)


def _paths(data: bytes, hash_bytes: int) -> Iterator[bytes]:
    version, count = int.from_bytes(data[4:8], "big"), int.from_bytes(data[8:12], "big")
    if data[:4] != b"DIRC" or version not in {2, 3, 4}:
        raise CorruptIndex("no header")
    fixed = _STAT_BYTES + hash_bytes
    start, end, path = _HEADER, len(data) - hash_bytes, b""
    for _ in range(count):
        flags = data[start + fixed] << 8 | data[start + fixed + 1]
        name = start + fixed + (4 if flags & _EXTENDED else 2)
        kept = 0
        if version == 4:
            stripped, name = _offset(data, name)
            kept = len(path) - stripped
        length = flags & _LONG_NAME
        stop = data.index(0, name) if length == _LONG_NAME or version == 4 else name + length
        if stop >= end or kept < 0 or data[stop] != 0:
            raise CorruptIndex("an entry leads out of the file")
        path = path[:kept] + data[name:stop]
        # Entries are padded with one to eight NULs to a multiple of eight bytes, but in version 4.
        start = stop + 1 if version == 4 else start + ((stop - start + 8) & ~7)
        yield path
    if _is_split(data, start, end):
        raise CorruptIndex("a split index")


def _offset(data: bytes, at: int) -> tuple[int, int]:
    """A number as pack files encode offsets, and where it ends."""
    value = data[at] & 0x7F
    while data[at] & 0x80:
        at += 1
        value = (value + 1) << 7 | data[at] & 0x7F
        if value > MAX_INDEX_BYTES:
            raise CorruptIndex("a number is too large")
    return value, at + 1


def _is_split(data: bytes, start: int, end: int) -> bool:
    while start + 8 <= end:
        if data[start : start + 4] == b"link":
            return True
        start += 8 + int.from_bytes(data[start + 4 : start + 8], "big")
    return False
