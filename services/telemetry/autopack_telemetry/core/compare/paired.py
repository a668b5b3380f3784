"""Statistics of paired values.

Every function takes the effects of pairs: logarithms of ratios, or differences. Why logarithms: the tokens of agents
have heavy tails, and on the scale of logarithms Student's interval keeps its level and the test finds a change of a
factor with a third of the pairs that raw differences need.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

__all__ = [
    "Interval",
    "PairedT",
    "Wilcoxon",
    "WilcoxonMethod",
    "geometric_mean_ratio",
    "hodges_lehmann",
    "hodges_lehmann_interval",
    "holm",
    "paired_t",
    "sign_flip",
    "wilcoxon",
]

Floats: TypeAlias = NDArray[np.float64]

MAX_EXACT = 50
"""Pairs up to which Wilcoxon's distribution is taken exactly: beyond it the normal one agrees to the third digit."""
MAX_ALL_WALSH = 2_000
"""Pairs up to which all pairwise means are kept at once: two million of them, 16 MB."""
MAX_ALL_SIGNS = 20
"""Pairs up to which all 2^n signs are tried."""
SAME = 1e-12
"""Values closer than this, relative to the largest, are equal: they differ by rounding alone."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float

    def excludes(self, value: float) -> bool:
        """Whether ``value`` lies outside."""
        return value < self.low or value > self.high


@dataclass(frozen=True, slots=True)
class PairedT:
    """Student's t of paired values.

    Attributes:
        mean: of the effects.
        sd: of the effects, with n - 1.
        statistic: t; its degrees of freedom are n - 1.
        p: two-sided.
        interval: of the mean.
    """

    mean: float
    sd: float
    statistic: float
    p: float
    interval: Interval


class WilcoxonMethod(Enum):
    """How a p was worked out."""

    EXACT = "exact"
    ASYMPTOTIC = "asymptotic"


@dataclass(frozen=True, slots=True)
class Wilcoxon:
    """Wilcoxon's signed-rank test.

    Attributes:
        statistic: V, the sum of the ranks of the positive effects.
        p: two-sided.
        method: how it was worked out.
    """

    statistic: float
    p: float
    method: WilcoxonMethod


def paired_t(effects: ArrayLike, level: float = 0.95) -> PairedT | None:
    """Student's t test and interval; None below two pairs and where all effects are equal, as nothing varies then.

    Source: Student (1908); the same as R's ``t.test(x, y, paired = TRUE)``.

    >>> sleep = [-1.2, -2.4, -1.3, -1.3, 0.0, -1.0, -1.8, -0.8, -4.6, -1.4]
    >>> result = paired_t(sleep)
    >>> round(result.statistic, 7), round(result.p, 8)
    (-4.0621277, 0.00283289)
    """
    values = _checked(effects)
    if len(values) < 2 or is_constant(values):
        return None
    mean, sd = float(values.mean()), float(values.std(ddof=1))
    error = sd / math.sqrt(len(values))
    freedom = len(values) - 1
    half = float(special.stdtrit(freedom, (1 + level) / 2)) * error
    statistic = mean / error
    return PairedT(
        mean, sd, statistic, 2 * float(special.stdtr(freedom, -abs(statistic))), Interval(mean - half, mean + half)
    )


def geometric_mean_ratio(
    control: Sequence[float], treatment: Sequence[float], level: float = 0.95
) -> tuple[float, Interval | None]:
    """The geometric mean of treatment by control, with Student's interval of the log ratios.

    Raises:
        ValueError: the arms have different lengths, are empty, or hold a value that is not above zero.

    >>> ratio, interval = geometric_mean_ratio([100, 200, 400, 300, 150], [80, 150, 330, 260, 110])
    >>> f"{ratio:.3f} ({interval.low:.3f}, {interval.high:.3f})"
    '0.794 (0.729, 0.864)'
    """
    if len(control) != len(treatment) or not len(control):
        raise ValueError(f"{len(control)} and {len(treatment)} values are no pairs")
    before, after = _checked(control), _checked(treatment)
    if min(before.min(), after.min()) <= 0:
        raise ValueError("a ratio needs values above zero")
    effects = np.log(after / before)
    result = paired_t(effects, level)
    interval = Interval(math.exp(result.interval.low), math.exp(result.interval.high)) if result else None
    return math.exp(float(effects.mean())), interval


def wilcoxon(effects: ArrayLike, *, correction: bool = True) -> Wilcoxon | None:
    """Wilcoxon's signed-rank test; None if all effects are zero.

    Exact up to 50 effects without ties and zeros; else the normal distribution with the correction for ties, after
    zeros are dropped. The method is fixed here because that of libraries differs from version to version.

    Args:
        correction: for continuity, in the normal distribution.

    Source: Wilcoxon (1945); the same as R's ``wilcox.test(x, y, paired = TRUE)``.

    >>> sleep = [-1.2, -2.4, -1.3, -1.3, 0.0, -1.0, -1.8, -0.8, -4.6, -1.4]
    >>> result = wilcoxon(sleep)
    >>> result.statistic, round(result.p, 9), result.method.value
    (0.0, 0.009090698, 'asymptotic')
    """
    values = _checked(effects)
    largest = float(np.abs(values).max()) if len(values) else 0.0
    kept = values[np.abs(values) > SAME * largest]
    if not len(kept):
        return None
    ranks = _ranks(np.round(np.abs(kept) / largest, 12))
    statistic = float(ranks[kept > 0].sum())
    tied = len(np.unique(ranks)) < len(ranks)
    if len(kept) == len(values) <= MAX_EXACT and not tied:
        return Wilcoxon(statistic, _exact_p(statistic, len(kept)), WilcoxonMethod.EXACT)
    return Wilcoxon(statistic, _normal_p(statistic, ranks, correction), WilcoxonMethod.ASYMPTOTIC)


@cache
def signed_rank_counts(n: int) -> Floats:
    """How often each sum of ranks 0 ... n(n+1)/2 occurs among all 2^n signs, as probabilities."""
    counts = np.zeros(n * (n + 1) // 2 + 1)
    counts[0] = 1.0
    for rank in range(1, n + 1):
        counts[rank:] += counts[:-rank].copy()
        counts /= 2
    return counts


def hodges_lehmann(effects: ArrayLike) -> float:
    """The median of all pairwise (Walsh) means of the effects: the centre that Wilcoxon's test looks at.

    Source: Hodges and Lehmann (1963).

    Raises:
        ValueError: there are no effects.

    >>> hodges_lehmann([1.0, 2.0, 9.0])
    3.5
    """
    values = np.sort(_checked(effects))
    if not len(values):
        raise ValueError("the centre of no values")
    count = len(values) * (len(values) + 1) // 2
    low, high = (count + 1) // 2, count // 2 + 1
    if len(values) <= MAX_ALL_WALSH:
        means = _walsh(values)
        part = np.partition(means, (low - 1, high - 1))
        return float((part[low - 1] + part[high - 1]) / 2)
    return (_walsh_at(values, low) + _walsh_at(values, high)) / 2


def hodges_lehmann_interval(effects: ArrayLike, level: float = 0.95) -> tuple[Interval, float] | None:
    """The interval around :func:`hodges_lehmann` and the level that it really reaches; None if too few pairs for it.

    The ends are order statistics of the pairwise means, by the exact distribution of the signed-rank statistic up to 50
    pairs and the normal one beyond. Source: Hollander and Wolfe, Nonparametric Statistical Methods, section 3.3.

    >>> interval, reached = hodges_lehmann_interval([0.952, -0.147, 1.022, 0.43, 0.62, 0.59, 0.49, -0.08, 0.01])
    >>> f"({interval.low:.3f}, {interval.high:.3f}) {reached:.4f}"
    '(0.010, 0.786) 0.9609'
    """
    values = np.sort(_checked(effects))
    n, alpha = len(values), 1 - level
    count = n * (n + 1) // 2
    if n <= MAX_EXACT:
        below = np.cumsum(signed_rank_counts(n))
        rank = int(np.searchsorted(below, alpha / 2, side="right"))  # of the smallest mean that stays inside
        if rank == 0:
            return None
        reached = 1 - 2 * float(below[rank - 1])
    else:
        spread = math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
        rank = max(1, math.floor(count / 2 - float(-special.ndtri(alpha / 2)) * spread))
        reached = level
    if n <= MAX_ALL_WALSH:
        means = np.partition(_walsh(values), (rank - 1, count - rank))
        return Interval(float(means[rank - 1]), float(means[count - rank])), reached
    return Interval(_walsh_at(values, rank), _walsh_at(values, count - rank + 1)), reached


def sign_flip(effects: ArrayLike, *, resamples: int = 9_999, seed: int = 0) -> float:
    """Two-sided p of Fisher's randomisation test: how many choices of signs give a mean as far from zero.

    All of them up to 20 pairs, else ``resamples`` random ones from ``seed``. Source: Fisher, The Design of Experiments
    (1935), section 21.

    >>> darwin = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
    >>> round(sign_flip(darwin) * 32768)
    1726
    """
    values = _checked(effects)
    seen = abs(float(values.sum())) * (1 - 1e-12)
    if len(values) <= MAX_ALL_SIGNS:
        sums = np.zeros(1)
        for value in values:
            sums = np.concatenate((sums + value, sums - value))
        return float(np.mean(np.abs(sums) >= seen))
    signs = np.random.default_rng(seed)
    hits = sum(
        int(np.count_nonzero(np.abs(signs.choice((-1.0, 1.0), (size, len(values))) @ values) >= seen))
        for size in np.diff(np.append(np.arange(0, resamples, 500), resamples))
    )
    return (hits + 1) / (resamples + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """p values adjusted for how many there are, so that the chance of any false alarm stays at the level.

    Source: Holm (1979): p(i) (m - i + 1), made monotone, at most 1.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        highest = max(highest, min(1.0, p_values[index] * (len(p_values) - place)))
        adjusted[index] = highest
    return adjusted


def is_constant(values: Floats) -> bool:
    """Whether the values differ by rounding alone."""
    return bool(np.ptp(values) <= SAME * max(1.0, float(np.abs(values).max())))


def _checked(values: ArrayLike) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not np.isfinite(array).all():
        raise ValueError("a list of finite numbers is needed")
    return array


def _ranks(values: Floats) -> Floats:
    """Ranks from 1; equal values share the mean of theirs."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[places])


def _exact_p(statistic: float, n: int) -> float:
    below = np.cumsum(signed_rank_counts(n))
    smaller = int(min(statistic, n * (n + 1) / 2 - statistic))
    return min(1.0, 2 * float(below[smaller]))


def _normal_p(statistic: float, ranks: Floats, correction: bool) -> float:
    n = len(ranks)
    _, ties = np.unique(ranks, return_counts=True)
    variance = n * (n + 1) * (2 * n + 1) / 24 - float((ties.astype(float) ** 3 - ties).sum()) / 48
    away = statistic - n * (n + 1) / 4
    distance = max(0.0, abs(away) - (0.5 if correction else 0.0))
    return float(min(1.0, 2 * special.ndtr(-distance / math.sqrt(variance))))


def _walsh(values: Floats) -> Floats:
    rows, columns = np.triu_indices(len(values))
    return np.asarray((values[rows] + values[columns]) / 2)


def _walsh_at(values: Floats, rank: int) -> float:
    """The pairwise mean of a rank (from 1) without making them all: bisection over how many lie at or below a value."""
    places = np.arange(len(values))
    low, high = float(values[0]), float(values[-1])
    for _ in range(100):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        # Of each value the partners from itself on: values are sorted, so partners at or below 2m - value come first.
        partners = np.searchsorted(values, 2 * middle - values, side="right")
        if int(np.maximum(partners - places, 0).sum()) >= rank:
            high = middle
        else:
            low = middle
    return high
