"""What was read from a text, kept between detections: the worktrees of one repository hold the same files."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any, TypeVar
from weakref import WeakSet

__all__ = ["Recent", "forget"]

T = TypeVar("T")

MAX_TEXT = 64 << 10
"""Characters of a text whose result is kept; hand-written files are shorter."""

ENTRY = 256
"""Characters that an entry counts beside its text."""


class Recent:
    """Results of pure functions of a text, those used last; at most ``max_chars`` characters of texts are held.

    What it gives is shared by detections that run at once, so that nobody may change it. A failure is not kept.
    """

    def __init__(self, max_chars: int) -> None:
        self._left = max_chars
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._lock = Lock()
        _EVERY.add(self)

    def __len__(self) -> int:
        """How many results are held."""
        return len(self._kept)

    def clear(self) -> None:
        """Forgets all results."""
        with self._lock:
            self._left += sum(size for _, size in self._kept.values())
            self._kept.clear()

    def of(self, make: Callable[..., T], text: str, *rest: Hashable) -> T:
        """``make(text, *rest)``."""
        if len(text) > MAX_TEXT:
            return make(text, *rest)
        key = (make, text, *rest)
        with self._lock:
            known = self._kept.get(key)
            if known is not None:
                self._kept.move_to_end(key)
                found: T = known[0]
                return found
        found = make(text, *rest)
        size = len(text) + ENTRY
        with self._lock:
            if key not in self._kept:
                self._kept[key] = (found, size)
                self._left -= size
            while self._left < 0:
                self._left += self._kept.popitem(last=False)[1][1]
        return found


_EVERY: WeakSet[Recent] = WeakSet()


def forget() -> None:
    """Forgets everything that was kept, so that the next detection costs what a first look costs."""
    for recent in list(_EVERY):
        recent.clear()
