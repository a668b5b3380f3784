"""Numbers of things, in English."""

from __future__ import annotations

__all__ = ["counted", "of_count", "times"]


def counted(count: int, one: str, many: str = "") -> str:
    """A number with its noun, and with what else changes with it.

    >>> counted(1, "pair"), counted(0, "pair"), counted(2, "pair lies", "pairs lie")
    ('1 pair', '0 pairs', '2 pairs lie')
    """
    return f"{count} {of_count(count, one, many or f'{one}s')}"


def of_count(count: int, one: str, many: str) -> str:
    """The form of a word for that number.

    >>> of_count(1, "it counts", "they count")
    'it counts'
    """
    return one if count == 1 else many


def times(count: int) -> str:
    """How often.

    >>> times(1), times(2)
    ('once', '2 times')
    """
    return of_count(count, "once", f"{count} times")
