"""Which version of an agent is installed, from what its installer left beside it: nothing is started for it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

__all__ = ["installed_version"]

_VERSION = re.compile(r"v?(\d+\.\d+[0-9A-Za-z.+-]{0,40})")
MAX_PACKAGE_BYTES = 1 << 20
MAX_DISTRIBUTIONS = 2_000
_LEVELS = 5  # from bin/agent.js to package.json


def installed_version(program: str, search_path: str) -> str:
    """The version of a program; empty if it is not installed or its installer does not say. Reads files.

    Known are packages of npm, environments of Python, and installers that name a directory after the version, as those
    of Claude Code and of Homebrew do.
    """
    found = shutil.which(program, path=search_path)
    if found is None:
        return ""
    try:
        file = Path(found).resolve(strict=True)
        return _version(program, file, file.stat().st_mtime_ns)
    except OSError:
        return ""


@lru_cache(maxsize=64)
def _version(program: str, file: Path, changed: int) -> str:  # asked anew when the program was replaced
    return next((version for version in (*_npm(program, file), *_python(program, file), *_named(file)) if version), "")


def _npm(program: str, file: Path) -> Iterator[str]:
    for directory in list(file.parents)[:_LEVELS]:
        package = directory / "package.json"
        if not package.is_file() or package.stat().st_size > MAX_PACKAGE_BYTES:
            continue
        try:
            content = json.loads(package.read_bytes())
        except ValueError:
            continue
        names = content.get("bin") if isinstance(content, dict) else None
        if isinstance(names, str) or (isinstance(names, dict) and program in names):
            yield _clean(content.get("version"))


def _python(program: str, file: Path) -> Iterator[str]:
    pattern = re.compile(rf"^{re.escape(program)}\s*=", re.MULTILINE)
    places = file.parent.parent.glob("lib/python3*/site-packages/*.dist-info/entry_points.txt")
    for entry_points, _ in zip(places, range(MAX_DISTRIBUTIONS), strict=False):
        if pattern.search(entry_points.read_text(errors="replace")):
            yield _clean(entry_points.parent.name.removesuffix(".dist-info").rpartition("-")[2])


def _named(file: Path) -> Iterator[str]:
    for part in reversed(file.parts):
        yield _clean(part)


def _clean(text: object) -> str:
    match = _VERSION.fullmatch(text) if isinstance(text, str) else None
    return "" if match is None else match[1]
