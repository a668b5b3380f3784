"""Files of runs in a place that every process of a cluster reaches: a directory, or an S3-compatible store."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from autopack_kit.errors import FailedPrecondition, InvalidArgument, Unavailable

__all__ = ["Listed", "Objects"]

T = TypeVar("T")

PROTOCOLS = ("file", "s3")
S3_OPTIONS: dict[str, Any] = {
    # Of botocore: seconds, and tries in all. Without them a store that is away holds a run's end for many minutes.
    "config_kwargs": {"connect_timeout": 10, "read_timeout": 30, "retries": {"max_attempts": 3}},
    "use_listings_cache": False,
}
_SETTING = "AUTOPACK_ORCHESTRATOR_OBJECT_STORE_URL"


@dataclass(frozen=True, slots=True)
class Listed:
    """An object: its key, its size in bytes, and when it was written, by the clock of the store."""

    key: str
    size: int
    written: datetime


class Objects:
    """Named bytes below one URL. An object is written once and never changed.

    Credentials of S3 are found as the AWS tools find them: in ``~/.aws``, of the instance, or in their variables.

    Raises:
        InvalidArgument: ``OBJECT_STORE_URL_INVALID``.
        FailedPrecondition: ``OBJECT_STORE_NOT_INSTALLED``.
    """

    def __init__(self, url: str) -> None:
        protocol = url.partition("://")[0]
        if "://" not in url or protocol not in PROTOCOLS:
            raise InvalidArgument(
                f"{_SETTING} is {url[:80]!r}; it must begin with file:// or s3://.",
                reason="OBJECT_STORE_URL_INVALID",
                remedy="Use s3://bucket/prefix, or file:///directory for one that all hosts share.",
            )
        options: dict[str, Any] = {"file": {"auto_mkdir": True}, "s3": S3_OPTIONS}.get(protocol, {})
        try:
            import fsspec

            self._files, self._root = fsspec.core.url_to_fs(url, **options)
        except ImportError as error:
            raise FailedPrecondition(
                f"The object store {protocol}:// needs a package that is not installed: {error}",
                reason="OBJECT_STORE_NOT_INSTALLED",
                remedy=f"Install it: pip install 'autopack[{'s3' if protocol == 's3' else 'cluster'}]'.",
            ) from error

    async def put(self, key: str, data: bytes) -> None:
        """Write an object.

        Raises:
            Unavailable: ``OBJECT_STORE_UNAVAILABLE``.
        """
        await _explained(lambda: self._files.pipe_file(self._path(key), data))

    async def put_file(self, key: str, path: Path) -> None:
        """Write an object with the content of a file.

        Raises:
            Unavailable: as :meth:`put`.
        """

        def work() -> None:
            target = self._path(key)
            self._files.makedirs(target.rpartition("/")[0], exist_ok=True)
            self._files.put_file(str(path), target)

        await _explained(work)

    async def get_file(self, key: str, path: Path) -> bool:
        """Write an object's content to a file; False if there is no such object.

        Raises:
            Unavailable: as :meth:`put`.
        """

        def work() -> bool:
            try:
                self._files.get_file(self._path(key), str(path))
            except FileNotFoundError:
                return False
            return True

        return await _explained(work)

    async def get(self, key: str, start: int, end: int) -> bytes:
        """Bytes ``start`` to ``end`` of an object.

        Raises:
            Unavailable: as :meth:`put`.
        """
        data: bytes = await _explained(lambda: self._files.cat_file(self._path(key), start=start, end=end))
        return data

    async def remove(self, keys: Sequence[str]) -> None:
        """Delete objects; one that is gone already is no error.

        Raises:
            Unavailable: as :meth:`put`.
        """

        def work() -> None:
            for key in keys:
                with contextlib.suppress(FileNotFoundError):
                    self._files.rm_file(self._path(key))

        await _explained(work)

    async def listed(self, prefix: str) -> list[Listed]:
        """Every object whose key begins with ``prefix/``.

        Raises:
            Unavailable: as :meth:`put`.
        """

        def work() -> list[Listed]:
            try:
                found: dict[str, dict[str, Any]] = self._files.find(self._path(prefix), detail=True)
            except FileNotFoundError:
                return []
            start = len(self._path(""))
            return [
                Listed(path[start:], int(about["size"]), _moment(about.get("LastModified", about.get("mtime", 0.0))))
                for path, about in found.items()
            ]

        return await _explained(work)

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"


async def _explained(work: Callable[[], T]) -> T:
    try:
        return await asyncio.to_thread(work)
    except Exception as error:  # each kind of store has errors of its own, and not all of them are OSError
        raise Unavailable(
            f"The object store cannot be used: {type(error).__name__}: {error}",
            reason="OBJECT_STORE_UNAVAILABLE",
            remedy=f"Check {_SETTING}, the permissions there, and that this host reaches it.",
        ) from error


def _moment(value: datetime | float) -> datetime:
    """S3 tells a moment, a directory seconds."""
    return value if isinstance(value, datetime) else datetime.fromtimestamp(value, UTC)
