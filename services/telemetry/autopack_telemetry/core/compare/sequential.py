"""What stays true however often one looks: confidence sequences and e-values.

A p value that is looked at after every pair gives false alarms in a third of the comparisons in which nothing changed.
What is computed here may be looked at after every pair, and the comparison stopped when it is decided.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from autopack_telemetry.core.compare.paired import Floats

__all__ = ["beta_binomial_e_value", "confidence_sequence", "running_e_values", "running_t"]


def beta_binomial_e_value(first: int, second: int) -> float:
    """Evidence against "either is as likely": E = 2^n b! c! / (n + 1)! with n = b + c.

    Under that hypothesis its mean is 1 at every time, so it reaches 1/alpha at any time with a probability of at most
    alpha. Source: the uniform mixture of binomial likelihood ratios (Ville 1939; Robbins 1970).

    >>> round(beta_binomial_e_value(1, 7), 7)
    3.5555556
    """
    return math.exp(_log_e(np.asarray(float(first)), np.asarray(float(second))))


def running_e_values(firsts: Sequence[bool]) -> Floats:
    """:func:`beta_binomial_e_value` after each of a row of observations, each of them the first kind or the second.

    >>> [round(float(e), 3) for e in running_e_values([True, True, True])]
    [1.0, 1.333, 2.0]
    """
    first = np.cumsum(np.asarray(firsts, dtype=np.float64))
    return np.exp(_log_e(first, np.arange(1, len(first) + 1) - first))


def confidence_sequence(effects: ArrayLike, *, expected: int, level: float = 0.95) -> tuple[Floats, Floats, Floats]:
    """Means, lower and upper ends after each pair: an interval that holds at all times together.

    It is asymptotic: trust it from about eight pairs on. It is narrowest at about ``expected`` pairs. The ends after
    the first pair are infinite.

    Source: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and asymptotic
    confidence sequences" (2024): half width s sqrt(2 (n rho^2 + 1) / (n rho)^2 ln(sqrt(n rho^2 + 1) / alpha)) with
    rho = sqrt((-2 ln alpha + ln(-2 ln alpha + 1)) / expected).

    >>> means, low, high = confidence_sequence([0.1, -0.2, 0.3, 0.2, 0.1, -0.1, 0.2, 0.1], expected=30)
    >>> f"{means[-1]:.4f} ({low[-1]:.4f}, {high[-1]:.4f})"
    '0.0875 (-0.1006, 0.2756)'
    """
    alpha = 1 - level
    means, sds = _running(effects)
    n = np.arange(1, len(means) + 1, dtype=np.float64)
    squared = (-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / expected
    grown = n * squared + 1
    half = sds * np.sqrt(2 * grown / (n * n * squared) * np.log(np.sqrt(grown) / alpha))
    return means, means - half, means + half


def running_t(effects: ArrayLike, *, level: float = 0.95) -> tuple[Floats, Floats, Floats]:
    """Means and the ends of Student's interval after each pair: each right by itself, but not all together."""
    means, sds = _running(effects)
    n = np.arange(1, len(means) + 1, dtype=np.float64)
    half = np.full_like(means, np.inf)
    half[1:] = special.stdtrit(n[1:] - 1, (1 + level) / 2) * sds[1:] / np.sqrt(n[1:])
    return means, means - half, means + half


def _running(effects: ArrayLike) -> tuple[Floats, Floats]:
    """Mean and standard deviation after each value; of the first the deviation is infinite."""
    values = np.asarray(effects, dtype=np.float64)
    n = np.arange(1, len(values) + 1, dtype=np.float64)
    around = values - values.mean() if len(values) else values  # or squares of large means would drown what varies
    sums, squares = np.cumsum(around), np.cumsum(around**2)
    sds = np.full_like(values, np.inf)
    if len(values) > 1:
        sds[1:] = np.sqrt(np.maximum(0.0, (squares[1:] - sums[1:] ** 2 / n[1:]) / (n[1:] - 1)))
    return np.cumsum(values) / n, sds


def _log_e(first: Floats, second: Floats) -> Floats:
    n = first + second
    result = n * math.log(2) + special.gammaln(first + 1) + special.gammaln(second + 1) - special.gammaln(n + 2)
    return np.asarray(result, dtype=np.float64)
