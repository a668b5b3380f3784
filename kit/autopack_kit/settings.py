"""Settings: frozen dataclasses, read once from ``AUTOPACK_*`` variables.

A service declares what it can be told::

    @dataclass(frozen=True, slots=True)
    class ToolchainSettings:
        PREFIX: ClassVar[str] = "AUTOPACK_TOOLCHAIN"
        allowed_roots: tuple[Path, ...] = setting((), help="Directories that Detect may read.")

    load(ToolchainSettings, os.environ)      # reads AUTOPACK_TOOLCHAIN_ALLOWED_ROOTS

Types: str, int, float, bool, Path, timedelta, Enum, ``tuple[str, ...]``, ``tuple[Path, ...]``, and ``X | None``. No
setting ends in ``_PORT`` or ``_HOST``: Kubernetes sets such variables for every Service, and they are skipped here.
"""

from __future__ import annotations

import difflib
import math
import os
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar, Union

from autopack_kit.errors import FieldViolation, InvalidArgument

__all__ = [
    "RESERVED",
    "SettingDescription",
    "check_unknown",
    "describe",
    "load",
    "names",
    "parse_bool",
    "parse_duration",
    "setting",
]

T = TypeVar("T")

PREFIX = "AUTOPACK_"

#: What a run gives to its agent, or a client reads: a server started inside a run must not trip over these.
RESERVED = frozenset(
    PREFIX + name
    for name in (
        "ADDRESS", "ATTEMPT", "BATCH_ID", "CONTEXT", "CONTEXT_FILE", "CORPORA", "DIAGNOSIS_FILE", "EXEC_DIR", "GOAL",
        "PHASE_ID", "RUN_DIR", "RUN_ID", "RUN_NAME", "TOKEN", "TOKEN_FILE", "USAGE_ROLE",
        "WORKSPACE",
    )
)  # fmt: skip

#: What Kubernetes (and Docker links) set for a Service called ``autopack-...``.
_SERVICE_LINK = re.compile(r"_SERVICE_HOST$|_PORT$|_PORT_[A-Z0-9_]+$")

_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, slots=True)
class SettingDescription:
    """One setting as ``autopack config`` prints it.

    Attributes:
        name: the variable.
        value: its value in the syntax of the variable; empty for "not set".
        source: ``default`` or ``environment``.
        help: what it does, with unit and default where they are not obvious.
    """

    name: str
    value: str
    source: str
    help: str


def setting(
    default: Any = MISSING,
    *,
    help: str,
    derive: Callable[[Mapping[str, str]], Any] | None = None,
) -> Any:
    """A documented dataclass field.

    Args:
        default: the value when the variable is absent.
        help: one sentence for ``autopack config``; required, as an undocumented setting does not exist.
        derive: computes the default from the environment (for example from ``XDG_DATA_HOME``); instead of ``default``.
    """
    metadata = {"help": help, "derive": derive}
    if derive is not None:
        return field(default_factory=lambda: derive(os.environ), metadata=metadata)
    return field(default=default, metadata=metadata)


def load(cls: type[T], environ: Mapping[str, str], *, prefix: str | None = None) -> T:
    """Reads ``cls`` from ``environ``.

    Args:
        cls: a frozen dataclass of :func:`setting` fields.
        environ: the environment, usually ``os.environ``.
        prefix: what the variables start with, for example ``AUTOPACK_TOOLCHAIN``; default: ``cls.PREFIX``.

    Raises:
        InvalidArgument: ``SETTING_INVALID``, naming the variable, its value and what would be right.
    """
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for variable, spec in _variables(cls, prefix):
        raw = environ.get(variable)
        if raw is not None:
            values[spec.name] = _parse(variable, raw, hints[spec.name])
        elif (derive := spec.metadata.get("derive")) is not None:
            values[spec.name] = derive(environ)
        elif spec.default is MISSING and spec.default_factory is MISSING:
            raise InvalidArgument(
                f"{variable} is not set.",
                reason="SETTING_MISSING",
                remedy=f"Set it: {spec.metadata.get('help', '')}",
                metadata={"variable": variable},
            )
    return cls(**values)


def describe(cls: type[Any], environ: Mapping[str, str], *, prefix: str | None = None) -> list[SettingDescription]:
    """Every setting of ``cls`` with its value now, in declaration order."""
    loaded = load(cls, environ, prefix=prefix)
    return [
        SettingDescription(
            name=variable,
            value=_format(getattr(loaded, spec.name)),
            source="environment" if variable in environ else "default",
            help=spec.metadata.get("help", ""),
        )
        for variable, spec in _variables(cls, prefix)
    ]


def names(cls: type[Any], *, prefix: str | None = None) -> frozenset[str]:
    """The variables that ``cls`` reads."""
    return frozenset(variable for variable, _ in _variables(cls, prefix))


def check_unknown(environ: Mapping[str, str], known: Iterable[str]) -> None:
    """Refuses ``AUTOPACK_*`` variables that nothing reads: a misspelt setting is a setting that silently does nothing.

    Called once per process with the names of all settings classes, so that one environment can serve all five services.

    Raises:
        InvalidArgument: ``SETTING_UNKNOWN``, with every unknown variable and the nearest known one.
    """
    known_names = sorted(set(known) | RESERVED)
    unknown = [name for name in sorted(environ) if _is_ours(name) and name not in known_names]
    if not unknown:
        return
    sentences = [f"{name} is not a setting{_hint(name, known_names)}" for name in unknown]
    raise InvalidArgument(
        " ".join(sentences),
        reason="SETTING_UNKNOWN",
        remedy="Correct or unset it; `autopack config` lists every setting.",
        metadata={"variables": ",".join(unknown)},
        violations=[FieldViolation(name, text) for name, text in zip(unknown, sentences, strict=True)],
    )


def parse_bool(text: str) -> bool:
    """``true/1/yes/on`` or ``false/0/no/off``, in any case.

    Raises:
        ValueError: anything else.
    """
    word = text.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError("use one of true, 1, yes, on, false, 0, no, off")


def parse_duration(text: str) -> timedelta:
    """A number with a unit: ``250ms``, ``30s``, ``5m``, ``2h``, ``7d``.

    Raises:
        ValueError: anything else, a bare number included, because its unit would be a guess.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError("use a number with a unit, such as 250ms, 30s, 5m, 2h or 7d")
    return timedelta(seconds=float(match[1]) * _SECONDS[match[2]])


def _variables(cls: type[Any], prefix: str | None) -> list[tuple[str, Field[Any]]]:
    stem = (prefix if prefix is not None else cls.PREFIX).rstrip("_")
    pairs = [(f"{stem}_{spec.name.upper()}", spec) for spec in fields(cls)]
    for variable, _ in pairs:
        if _SERVICE_LINK.search(variable):
            raise TypeError(f"{cls.__name__}: {variable} looks like a Kubernetes service link; choose another name")
    return pairs


def _is_ours(name: str) -> bool:
    if not name.startswith(PREFIX) or name.startswith("AUTOPACK_TEST_"):
        return False
    return not _SERVICE_LINK.search(name)


def _hint(name: str, known: list[str]) -> str:
    # Without the prefix: it makes any two names look alike.
    stems = [word.removeprefix(PREFIX) for word in known]
    nearest = difflib.get_close_matches(name.removeprefix(PREFIX), stems, n=1, cutoff=0.6)
    return f"; did you mean {PREFIX}{nearest[0]}?" if nearest else "."


def _parse(variable: str, raw: str, hint: Any) -> Any:
    try:
        return _convert(raw, hint)
    except ValueError as error:
        raise InvalidArgument(
            f"{variable} is {raw[:200]!r}, which cannot be used.",
            reason="SETTING_INVALID",
            remedy=f"{str(error).capitalize()}.",
            metadata={"variable": variable, "value": raw[:200]},
            violations=[FieldViolation(variable, str(error))],
        ) from error


def _convert(raw: str, hint: Any) -> Any:
    origin = typing.get_origin(hint)
    if origin in (Union, types.UnionType):
        inner = [arg for arg in typing.get_args(hint) if arg is not type(None)]
        return None if not raw.strip() else _convert(raw, inner[0])
    if origin is tuple:
        item = typing.get_args(hint)[0]
        separator = os.pathsep if item is Path else ","
        return tuple(_convert(part.strip(), item) for part in raw.split(separator) if part.strip())
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _enum(raw, hint)
    converter = _CONVERTERS.get(hint)
    if converter is None:
        raise TypeError(f"settings cannot have type {hint!r}")
    return converter(raw)


def _enum(raw: str, hint: type[Enum]) -> Enum:
    word = raw.strip().lower()
    for member in hint:
        if word in (str(member.value).lower(), member.name.lower()):
            return member
    raise ValueError("use one of " + ", ".join(str(member.value) for member in hint))


def _int(raw: str) -> int:
    try:
        return int(raw.strip())
    except ValueError:
        raise ValueError("use a whole number") from None


def _float(raw: str) -> float:
    try:
        number = float(raw.strip())
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError("use a finite number")
    return number


def _path(raw: str) -> Path:
    if not raw.strip() or "\0" in raw:
        raise ValueError("use a path; unset the variable for the default")
    return Path(raw).expanduser()


_CONVERTERS: dict[Any, Callable[[str], Any]] = {
    str: str,
    int: _int,
    float: _float,
    bool: parse_bool,
    Path: _path,
    timedelta: parse_duration,
}


def _format(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case timedelta():
            return _format_duration(value)
        case Enum():
            return str(value.value)
        case tuple():
            separator = os.pathsep if value and isinstance(value[0], Path) else ","
            return separator.join(_format(item) for item in value)
        case _:
            return str(value)


def _format_duration(value: timedelta) -> str:
    seconds = value.total_seconds()
    for unit in ("d", "h", "m", "s"):
        count = seconds / _SECONDS[unit]
        if count >= 1 and count == int(count):
            return f"{int(count)}{unit}"
    return "0s" if not seconds else f"{round(seconds * 1000)}ms"
