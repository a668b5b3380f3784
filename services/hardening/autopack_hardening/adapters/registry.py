"""Reads the packaged data: a file of patterns for each family, the noise, and the maps of names."""

from __future__ import annotations

import functools
import threading
import tomllib
from collections.abc import Collection, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from autopack_hardening.core.diagnosing import Diagnostician
from autopack_hardening.core.names import Names, parse_names
from autopack_hardening.core.noise import Noise, Recovery, Shown, Verdict
from autopack_hardening.core.patternfile import parse_file
from autopack_hardening.core.patterns import ALIASES, Pattern, PatternError
from autopack_hardening.core.proving import duplicates
from autopack_hardening.core.rules import check_step
from autopack_hardening.errors import unknown_disabled_pattern

__all__ = ["built_in", "diagnostician", "load_names", "load_noise", "read_patterns"]


_LOCK = threading.Lock()
"""Held while the packaged patterns are loaded: the first calls of a process often come together."""


def read_patterns(
    directory: Traversable | None = None, *, is_proven: bool = False
) -> tuple[list[Pattern], list[PatternError]]:
    """The patterns in ``directory`` (default: the packaged ones), one ``.toml`` file a family; and the bad ones.

    Args:
        directory: where the files are.
        is_proven: these expressions were checked before, one by one: it takes as long as all the rest.
    """
    directory = directory if directory is not None else _data() / "patterns"
    good: list[Pattern] = []
    bad: list[PatternError] = []
    for entry in sorted(directory.iterdir(), key=lambda entry: entry.name):
        if not entry.name.endswith(".toml"):
            continue
        try:
            found, errors = parse_file(_read(entry), entry.name, check_step, is_proven=is_proven)
        except PatternError as error:
            found, errors = [], [error]
        good += found
        bad += errors
    repeated = list(duplicates(good))
    return good, bad + repeated


def load_names() -> Names:
    """The packaged maps of names."""
    return parse_names(_read(_data() / "python_names.toml"), _read(_data() / "node_names.toml"))


def load_noise() -> Noise:
    """What is no failure although it reads like one."""
    data = _read(_data() / "noise.toml")
    return Noise(
        **{key: tuple(data[key]) for key in ("lines", "failed", "survived", "well", "all_well", "ill")},
        recovered=tuple(Recovery(one["re"], tuple(one.get("of", ()))) for one in data["recovered"]),
        passed=tuple(Verdict(one["re"], one.get("begins", "")) for one in data["passed"]),
        shown=tuple(Shown(one["command"], one["voice"]) for one in data["shown"]),
    )


def built_in(patterns: Sequence[Pattern]) -> Diagnostician:
    """``patterns`` compiled, with the packaged maps and noise; not proven."""
    return Diagnostician(patterns, load_names(), load_noise())


def diagnostician(disabled: tuple[str, ...] = ()) -> Diagnostician:
    """The packaged patterns without the ``disabled`` ones, loaded and compiled once per process, on the first call.

    They are not proven here, which takes seconds: the tests of every build do that, and ``autopack patterns test``.

    Args:
        disabled: ids, or aliases, which stand for all patterns that have them.

    Raises:
        PatternError: a packaged pattern is broken.
        InvalidArgument: ``disabled`` names a pattern that does not exist.
    """
    with _LOCK:
        return _diagnostician(disabled)


@functools.lru_cache(maxsize=8)
def _diagnostician(disabled: tuple[str, ...]) -> Diagnostician:
    if not disabled:
        good, bad = read_patterns(is_proven=True)
        if bad:
            raise bad[0]
        return built_in(good)
    patterns = _diagnostician(()).patterns
    known = {pattern.id for pattern in patterns} | set(ALIASES)
    for pattern_id in disabled:
        if pattern_id not in known:
            raise unknown_disabled_pattern(pattern_id)
    return built_in([one for one in patterns if not _is_named(one, disabled)])


def _is_named(pattern: Pattern, names: Collection[str]) -> bool:
    return pattern.id in names or any(alias in names for alias in pattern.aliases)


def _data() -> Traversable:
    return files("autopack_hardening") / "data"


def _read(entry: Traversable) -> dict[str, Any]:
    try:
        return tomllib.loads(entry.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PatternError(entry.name, "", f"is no valid TOML: {error}") from error
