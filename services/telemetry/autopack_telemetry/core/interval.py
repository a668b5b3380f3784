"""The interval of a median from order statistics: it holds whatever the distribution, and needs no model of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["LEVEL", "MedianInterval", "median_interval", "median_ranks"]

LEVEL = 0.95
"""The probability with which an interval contains the median is at least this."""


@dataclass(frozen=True, slots=True)
class MedianInterval:
    """An interval of a median.

    Attributes:
        low: its lower end, one of the observations.
        high: its upper end, one of the observations.
        confidence: the probability with which such an interval contains the median: exact for a continuous
            distribution, and at least this for one with ties.
    """

    low: int
    high: int
    confidence: float


def median_interval(values: Sequence[int]) -> MedianInterval | None:
    """The shortest interval of symmetric ranks that covers the median with :data:`LEVEL`; None below 6 values.

    Each observation falls below the median with probability 1/2, so the number that do is binomial, and the interval
    from the k-th smallest to the k-th largest misses the median if fewer than k of them fall on one side (David and
    Nagaraja, Order Statistics, 3rd ed., section 7.1).

    >>> median_interval([60, 10, 50, 20, 40, 30])
    MedianInterval(low=10, high=60, confidence=0.96875)
    >>> median_interval([1, 2, 3, 4, 5]) is None
    True
    """
    found = median_ranks(len(values))
    if found is None:
        return None
    rank, confidence = found
    ordered = sorted(values)
    return MedianInterval(ordered[rank - 1], ordered[-rank], confidence)


@lru_cache(maxsize=4096)
def median_ranks(n: int) -> tuple[int, float] | None:
    """The largest k such that the k-th smallest and the k-th largest of ``n`` values enclose the median with
    :data:`LEVEL`, and the probability that they do; None if not even the extremes do."""
    # In whole numbers, because 2^-n is no float from n = 1075 on: miss <= (1 - 0.95) / 2 of all 2^n outcomes.
    allowed = 2**n // 40
    k, ways, below, confidence_ways = 0, 1, 1, 0
    while below <= allowed:
        confidence_ways = below
        k += 1
        ways = ways * (n - k + 1) // k
        below += ways
    if k == 0:
        return None
    return k, 1.0 - 2 * confidence_ways / 2**n
