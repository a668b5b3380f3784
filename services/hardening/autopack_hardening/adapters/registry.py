"""Reads the packaged data: one pattern a file, and the maps of names."""

from __future__ import annotations

import functools
import tomllib
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from autopack_hardening.core.diagnosing import Diagnostician
from autopack_hardening.core.names import Names, parse_names
from autopack_hardening.core.patterns import Pattern, PatternError, parse_pattern
from autopack_hardening.core.rules import RULES
from autopack_hardening.errors import unknown_disabled_pattern

__all__ = ["diagnostician", "load_names", "load_patterns"]


def load_patterns(directory: Traversable | None = None) -> list[Pattern]:
    """The patterns in ``directory`` (default: the packaged ones), one ``.toml`` file each, by file name.

    Raises:
        PatternError: naming the file and the pattern's id.
    """
    directory = directory if directory is not None else files("autopack_hardening") / "data" / "patterns"
    names = sorted(
        (entry for entry in directory.iterdir() if entry.name.endswith(".toml")), key=lambda entry: entry.name
    )
    return [parse_pattern(_read(entry), entry.name, tuple(RULES)) for entry in names]


def load_names() -> Names:
    """The packaged maps of names."""
    data = files("autopack_hardening") / "data"
    return parse_names(_read(data / "python_names.toml"), _read(data / "node_names.toml"))


@functools.lru_cache(maxsize=8)
def diagnostician(disabled: tuple[str, ...] = ()) -> Diagnostician:
    """The packaged patterns without the ``disabled`` ones, compiled and proven once per process.

    Raises:
        PatternError: a packaged pattern is broken.
        InvalidArgument: ``disabled`` names a pattern that does not exist.
    """
    patterns = load_patterns()
    known = [pattern.id for pattern in patterns]
    for pattern_id in disabled:
        if pattern_id not in known:
            raise unknown_disabled_pattern(pattern_id, known)
    return Diagnostician([pattern for pattern in patterns if pattern.id not in disabled], load_names())


def _read(entry: Traversable) -> dict[str, Any]:
    try:
        return tomllib.loads(entry.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PatternError(entry.name, "", f"is no valid TOML: {error}") from error
