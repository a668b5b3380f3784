"""Where the content of a mirror comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Origin"]


@dataclass(frozen=True, slots=True)
class Origin:
    """A repository as git is told of it.

    Attributes:
        identity: what makes two of them the same; each has a mirror of its own.
        location: a path or a URL.
        env: variables that git gets for it.
        config: configuration that git gets for it.
        user_config: whether the user's own git configuration holds for it.
        remote: it is on another host.
    """

    identity: bytes
    location: str
    env: Mapping[str, str] = field(default_factory=dict)
    config: tuple[str, ...] = ()
    user_config: bool = False
    remote: bool = False
