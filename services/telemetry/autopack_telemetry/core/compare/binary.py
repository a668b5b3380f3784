"""Statistics of success in pairs: both, one side alone, or neither."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from autopack_telemetry.core.compare.paired import Interval

__all__ = [
    "McNemar",
    "binomial_p",
    "mcnemar",
    "mcnemar_asymptotic",
    "newcombe_independent",
    "newcombe_paired",
    "wilson",
]


@dataclass(frozen=True, slots=True)
class McNemar:
    """McNemar's test, two-sided.

    Attributes:
        exact_p: by the binomial distribution.
        mid_p: the same with half the weight of what was seen; never above its level in Fagerland's 9,595 scenarios.
    """

    exact_p: float
    mid_p: float


def binomial_p(successes: int, n: int, rate: float) -> float:
    """Two-sided exact p of a rate: all outcomes that are no more likely than what was seen.

    Source: Clopper and Pearson (1934) for the distribution; the same as R's ``binom.test``.

    >>> round(binomial_p(1, 8, 0.5), 7)
    0.0703125
    """
    if n == 0:
        return 1.0
    counts = np.arange(n + 1)
    logs = special.gammaln(n + 1) - special.gammaln(counts + 1) - special.gammaln(n - counts + 1)
    chances = np.exp(logs + special.xlogy(counts, rate) + special.xlog1py(n - counts, -rate))
    return float(min(1.0, chances[chances <= chances[successes] * (1 + 1e-7)].sum()))


def mcnemar(control_only: int, treatment_only: int) -> McNemar:
    """McNemar's test of the pairs in which one side alone succeeded.

    Source: Fagerland, Lydersen and Laake (2013), "The McNemar test for binary matched-pairs data".

    >>> result = mcnemar(1, 7)
    >>> round(result.exact_p, 7), round(result.mid_p, 7)
    (0.0703125, 0.0390625)
    """
    n, fewer = control_only + treatment_only, min(control_only, treatment_only)
    if n == 0:
        return McNemar(1.0, 1.0)
    tail = float(special.bdtr(fewer, n, 0.5))
    at = tail - (float(special.bdtr(fewer - 1, n, 0.5)) if fewer else 0.0)
    exact = min(1.0, 2 * tail)
    # Where both are equal, the two tails overlap in what was seen, which counts once.
    return McNemar(exact, min(1.0, 2 * tail - at))


def mcnemar_asymptotic(control_only: int, treatment_only: int, *, correction: bool = False) -> tuple[float, float]:
    """McNemar's chi-squared statistic and its p: what other programs print. Read the mid-p instead.

    Source: McNemar (1947); the correction for continuity of Edwards (1948). The same as R's ``mcnemar.test``.

    >>> statistic, p = mcnemar_asymptotic(150, 86)
    >>> round(statistic, 6), f"{p:.6e}"
    (17.355932, '3.099293e-05')
    """
    n = control_only + treatment_only
    if n == 0:
        return 0.0, 1.0
    away = max(0.0, abs(control_only - treatment_only) - (1 if correction else 0))
    statistic = away * away / n
    return statistic, float(special.chdtrc(1, statistic))


def wilson(successes: int, n: int, level: float = 0.95) -> Interval:
    """Wilson's interval of a rate.

    Source: Wilson (1927), "Probable inference, the law of succession, and statistical inference".

    Raises:
        ValueError: there are no trials, or more successes than trials.

    >>> interval = wilson(56, 70)
    >>> round(interval.low, 7), round(interval.high, 7)
    (0.6918336, 0.8769526)
    """
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"{successes} successes of {n}")
    z = float(-special.ndtri((1 - level) / 2))
    rate = successes / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return Interval(max(0.0, centre - half), min(1.0, centre + half))


def newcombe_paired(
    both: int, control_only: int, treatment_only: int, neither: int, level: float = 0.95
) -> tuple[float, Interval]:
    """The difference of two paired rates (treatment minus control) with Newcombe's square-and-add interval.

    Source: Newcombe (1998), "Improved confidence intervals for the difference between binomial proportions based on
    paired data", method 10: Wilson's limits, and their correlation phi with the correction of n/2.

    Raises:
        ValueError: there are no pairs.

    >>> difference, interval = newcombe_paired(59, 16, 6, 80)
    >>> f"{difference:.7f} ({interval.low:.7f}, {interval.high:.7f})"
    '-0.0621118 (-0.1186212, -0.0046251)'
    """
    n = both + control_only + treatment_only + neither
    if n == 0:
        raise ValueError("the rates of no pairs")
    control, treatment = both + control_only, both + treatment_only
    difference = (treatment - control) / n
    before, after = wilson(control, n, level), wilson(treatment, n, level)
    phi = _phi(both, control_only, treatment_only, neither)
    rate_before, rate_after = control / n, treatment / n
    down, up = rate_after - after.low, before.high - rate_before
    low = difference - math.sqrt(max(0.0, down * down - 2 * phi * down * up + up * up))
    rise, fall = after.high - rate_after, rate_before - before.low
    high = difference + math.sqrt(max(0.0, rise * rise - 2 * phi * rise * fall + fall * fall))
    return difference, Interval(max(-1.0, low), min(1.0, high))


def newcombe_independent(
    control: int, controls: int, treatment: int, treatments: int, level: float = 0.95
) -> tuple[float, Interval]:
    """The difference of two rates of runs that are no pairs (treatment minus control), with Newcombe's interval.

    Source: Newcombe (1998), "Interval estimation for the difference between independent proportions", method 10.

    Raises:
        ValueError: an arm is empty.

    >>> difference, interval = newcombe_independent(48, 80, 56, 70)
    >>> f"{difference:.4f} ({interval.low:.4f}, {interval.high:.4f})"
    '0.2000 (0.0524, 0.3339)'
    """
    before, after = wilson(control, controls, level), wilson(treatment, treatments, level)
    rate_before, rate_after = control / controls, treatment / treatments
    difference = rate_after - rate_before
    low = difference - math.hypot(rate_after - after.low, before.high - rate_before)
    high = difference + math.hypot(after.high - rate_after, rate_before - before.low)
    return difference, Interval(low, high)


def _phi(both: int, control_only: int, treatment_only: int, neither: int) -> float:
    """Correlation of the two sides, where it is positive made smaller by half the number of pairs, not below zero."""
    n = both + control_only + treatment_only + neither
    margins = (both + control_only) * (treatment_only + neither) * (both + treatment_only) * (control_only + neither)
    if margins == 0:
        return 0.0
    product = both * neither - control_only * treatment_only
    corrected = max(product - n / 2, 0.0) if product > 0 else float(product)
    return corrected / math.sqrt(margins)
