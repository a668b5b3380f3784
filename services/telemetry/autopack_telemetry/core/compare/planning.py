"""How many pairs a comparison needs, and what the pairs at hand can show."""

from __future__ import annotations

import math

from scipy import optimize, special

__all__ = [
    "MAX_PAIRS",
    "mcnemar_pairs",
    "pairs_needed",
    "smallest_detectable_effect",
    "smallest_detectable_ratio",
    "t_power",
]

MAX_PAIRS = 1_000_000
"""Beyond this no comparison of agents is made."""
LARGE = 2_000
"""Degrees of freedom from which the normal distribution stands for the t distributions: they agree to 0.0002."""

FAR = 36.0
"""Shift from which the library's noncentral t loses its way; there the spread of the mean is nothing beside that of the
standard deviation, which alone decides."""


def t_power(n: float, effect: float, alpha: float = 0.05) -> float:
    """Power of the two-sided paired t test, both tails.

    Args:
        n: pairs, above 1.
        effect: mean by standard deviation of the effects.

    Source: the noncentral t distribution; Cohen (1988).

    >>> round(t_power(20, 0.5), 7)
    0.5645044
    """
    freedom, shift = n - 1, abs(effect) * math.sqrt(n)
    if freedom >= LARGE:
        limit = float(-special.ndtri(alpha / 2))
        return float(special.ndtr(shift - limit) + special.ndtr(-limit - shift))
    limit = float(-special.stdtrit(freedom, alpha / 2))
    if shift > FAR:
        return float(special.gammainc(freedom / 2, freedom * (shift / limit) ** 2 / 2))
    # In the wrong direction from a shift of 4 on below 1e-5, and not worth what the library makes of it.
    other = float(special.nctdtr(freedom, shift, -limit)) if shift < 4 else 0.0
    return 1 - float(special.nctdtr(freedom, shift, limit)) + other


def pairs_needed(ratio: float, sd: float, power: float = 0.8, alpha: float = 0.05) -> int:
    """The fewest pairs, at least two, that find a ratio with a probability of ``power``.

    Args:
        ratio: of treatment to control; above 0, not 1.
        sd: standard deviation of the log ratios.

    Raises:
        ValueError: an argument is out of range, or more than :data:`MAX_PAIRS` are needed.

    >>> pairs_needed(0.8, 0.7)
    80
    """
    if not ratio > 0 or ratio == 1 or not sd > 0:
        raise ValueError("ratio must be above 0 and not 1, sd above 0")
    effect = abs(math.log(ratio)) / sd
    if t_power(MAX_PAIRS, effect, alpha) < power:
        raise ValueError(f"more than {MAX_PAIRS:,} pairs would be needed")
    low, high = 1, 2
    while t_power(high, effect, alpha) < power:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if t_power(middle, effect, alpha) >= power else (middle, high)
    return high


def smallest_detectable_effect(n: int, sd: float, power: float = 0.8, alpha: float = 0.05) -> float:
    """The smallest mean effect that ``n`` pairs show with a probability of ``power``, on the scale of ``sd``.

    Raises:
        ValueError: fewer than two pairs, or no spread.
    """
    if n < 2 or not sd > 0:
        raise ValueError("at least two pairs with some spread are needed")
    high = 1.0
    while t_power(n, high, alpha) < power:
        high *= 2
    return float(optimize.brentq(lambda effect: t_power(n, effect, alpha) - power, 0, high, xtol=1e-12)) * sd


def smallest_detectable_ratio(n: int, sd: float, power: float = 0.8, alpha: float = 0.05) -> float:
    """The same for log ratios: the largest ratio below 1 that would be seen. Its inverse is the smallest rise.

    >>> round(smallest_detectable_ratio(80, 0.7), 3)
    0.801
    """
    return math.exp(-smallest_detectable_effect(n, sd, power, alpha))


def mcnemar_pairs(control_only: float, treatment_only: float, power: float = 0.8, alpha: float = 0.05) -> int:
    """Pairs that McNemar's test needs, from the shares of pairs in which one side alone succeeds.

    Source: Connor (1987), "Sample size for testing differences in proportions for the paired-sample design".

    Raises:
        ValueError: the shares are equal, or no shares.

    >>> mcnemar_pairs(0.25, 0.05)
    57
    """
    discordant, difference = control_only + treatment_only, abs(control_only - treatment_only)
    if not 0 < difference <= discordant <= 1:
        raise ValueError("two different shares are needed, together at most 1")
    level, found = float(-special.ndtri(alpha / 2)), float(special.ndtri(power))
    root = level * math.sqrt(discordant) + found * math.sqrt(discordant - difference**2)
    return math.ceil((root / difference) ** 2)
