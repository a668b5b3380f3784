"""Which values of a run's environment are secrets, and how they are kept out of what is shown and stored.

A secret is replaced by as many asterisks: offsets into a log stay what they are. What a program writes of it in another
form (base64, in parts) is not found; SECURITY.md says so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any

from autopack_orchestrator.core.model import RunSpec

__all__ = ["MAX_PIECE", "MAX_SECRETS", "MIN_SECRET", "hide", "hide_bytes", "run_secrets", "secret_values"]

MIN_SECRET = 8  # bytes; shorter ones (`true`, a port) are also ordinary words, and guessed in a moment anyway
MAX_PIECE = 4096  # bytes looked for as one; a longer value (a certificate chain on one line) is looked for in parts
MAX_SECRETS = 256  # a private key of 4096 bits has 52 lines; each one costs a scan of everything that is printed

#: Of a variable's name in capitals. What the scanners of secrets look for, without those that name harmless values.
_WORDS = ("TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE", "CREDENTIAL", "API_KEY", "APIKEY", "ACCESS_KEY")
_ENDINGS = ("_KEY", "_PAT", "_PASS", "_AUTH", "_DSN", "COOKIE")
#: Names of places, which errors tell and people must be able to read.
_PLACES = ("_FILE", "_PATH", "_DIR", "_SOCK")


def secret_values(environment: Mapping[str, str], more: Iterable[str] = ()) -> tuple[str, ...]:
    """What must not be shown of an environment: values of variables whose names say so, and passwords in URLs.

    A value of several lines is looked for line by line, as programs print it.

    Args:
        environment: of a command.
        more: further secrets, such as the run's own token.

    >>> secret_values({"API_TOKEN": "0123456789", "DATABASE_URL": "postgresql://me:swordfish@host/x", "LANG": "C"})
    ('0123456789', 'swordfish')
    """
    found = dict.fromkeys(_pieces(more))
    found |= dict.fromkeys(_pieces(value for name, value in environment.items() if _is_secret(name)))
    found |= dict.fromkeys(_pieces(filter(None, map(_password, environment.values()))))
    return tuple(found)[:MAX_SECRETS]


def run_secrets(spec: RunSpec, environment: Mapping[str, str], token: str) -> tuple[str, ...]:
    """The secrets of a whole run.

    Those of every command, from the start: each one's words with its variables stand in the log before it runs.

    Args:
        spec: with the variables of its commands.
        environment: that all its commands start from.
        token: the run's own.
    """
    commands = [*spec.install, *spec.validate]
    if spec.command is not None:
        commands.append(spec.command)
    if spec.doctor is not None:
        commands.append(spec.doctor.command)
    return secret_values(environment, (token, *(item for one in commands for item in secret_values(one.env))))


def _is_secret(name: str) -> bool:
    name = name.upper()
    return (any(word in name for word in _WORDS) or name.endswith(_ENDINGS)) and not name.endswith(_PLACES)


def _password(value: str) -> str:
    """Of ``scheme://user:password@host``, as far as the password may be read without doubt."""
    _, found, rest = value[:MAX_PIECE].partition("://")
    user, _, password = rest.partition("/")[0].rpartition("@")[0].partition(":")
    return password if found and user else ""


def _pieces(values: Iterable[str]) -> Iterator[str]:
    for value in values:
        for line in value.splitlines():
            line = line.strip()
            for start in range(0, len(line), MAX_PIECE):
                piece = line[start : start + MAX_PIECE]
                if len(piece.encode(errors="surrogateescape")) >= MIN_SECRET:
                    yield piece


def hide(value: Any, secrets: Sequence[str]) -> Any:
    """``value`` (text, or anything made of mappings, tuples and dataclasses) with the secrets in it replaced."""
    if not secrets or isinstance(value, Enum):
        return value
    if isinstance(value, str):
        for secret in sorted(secrets, key=len, reverse=True):  # the longer first: it may hold a shorter one
            value = value.replace(secret, "*" * len(secret))
        return value
    if isinstance(value, bytes):
        return hide_bytes(value, secrets)
    if isinstance(value, Mapping):
        return {name: hide(item, secrets) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(hide(item, secrets) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
        return dataclasses.replace(value, **{name: hide(item, secrets) for name, item in fields.items()})
    return value


def hide_bytes(data: bytes, secrets: Collection[str]) -> bytes:
    """The same for bytes, such as a log that arrives in one piece."""
    for secret in sorted((secret.encode(errors="surrogateescape") for secret in secrets), key=len, reverse=True):
        data = data.replace(secret, b"*" * len(secret))
    return data
