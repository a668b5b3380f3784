"""What one doctor call costs: the true median of what such calls did cost, or a constant that says it is one.

The source is tried in order: at least :data:`MIN_OBSERVATIONS` calls of the same run, then the last
:data:`GLOBAL_OBSERVATIONS` calls of any run of the tenant, then a constant. Calls that failed or used no token are no
observations: they would pull the median towards a call that never happened. Where the class of the model is known, only
calls of that class are looked at, in the run and elsewhere: a cheap call says nothing of a strong one.

Beside the median stands its interval from order statistics (:mod:`.interval`); below six observations there is none.
"""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from autopack_telemetry.core.interval import median_interval

__all__ = [
    "GLOBAL_OBSERVATIONS",
    "MIN_OBSERVATIONS",
    "RUN_OBSERVATIONS",
    "Estimate",
    "EstimateSource",
    "ModelClass",
    "choose",
    "estimate_of",
    "fallback",
    "median",
]

MIN_OBSERVATIONS = 3
"""Below this a median is any single call's whim."""
GLOBAL_OBSERVATIONS = 100
"""Recent enough to follow the models in use, enough for a steady median."""
RUN_OBSERVATIONS = 10_000
"""Latest calls of the same run that are looked at: more than any run makes, and a bound on memory."""


class ModelClass(Enum):
    """Classes of models by price; the value is what the database keeps."""

    UNKNOWN = "unknown"
    CHEAP = "cheap"
    STRONG = "strong"


class EstimateSource(Enum):
    """Where an estimate comes from, best first; the value is what the database keeps."""

    RUN_LOCAL = "run_local"
    GLOBAL = "global"
    FALLBACK = "fallback"


#: Tokens of one doctor call where nothing was observed: what such calls cost on average when this was first measured.
_FALLBACK = {ModelClass.CHEAP: 10_000, ModelClass.STRONG: 15_000, ModelClass.UNKNOWN: 12_000}


@dataclass(frozen=True, slots=True)
class Estimate:
    """Tokens of a call that was not made.

    Attributes:
        tokens: the median of the observations, or a constant.
        n: observations; 0 for a constant.
        source: where they come from.
        low: lower end of the interval of the median; None where the observations are too few for one.
        high: upper end of it.
        confidence_level: probability with which such an interval holds the median.
    """

    tokens: int
    n: int
    source: EstimateSource
    low: int | None = None
    high: int | None = None
    confidence_level: float | None = None


def median(values: Sequence[int]) -> int:
    """The median; of an even number of values the mean of the middle two, a half rounded to the even neighbour.

    Rounding halves to even favours neither direction.

    Raises:
        ValueError: there are no values.

    >>> median([60_000, 8_000, 9_000, 21_000])
    15000
    >>> median([1, 2]), median([2, 3])
    (2, 2)
    """
    if not values:
        raise ValueError("the median of no values")
    return round(statistics.median(values))


def estimate_of(observations: Sequence[int], source: EstimateSource) -> Estimate | None:
    """The estimate from ``observations``, tokens of one call each; None if they are too few."""
    usable = [tokens for tokens in observations if tokens > 0]
    if len(usable) < MIN_OBSERVATIONS:
        return None
    found = median_interval(usable)
    if found is None:
        return Estimate(median(usable), len(usable), source)
    return Estimate(median(usable), len(usable), source, found.low, found.high, found.confidence)


def fallback(model_class: ModelClass) -> Estimate:
    """The constant of a class of models."""
    return Estimate(_FALLBACK[model_class], 0, EstimateSource.FALLBACK)


async def choose(
    observe: Callable[[str | None, int], Awaitable[Sequence[int]]], run_id: str, model_class: ModelClass
) -> Estimate:
    """The best estimate there is.

    Args:
        observe: the tokens of the last calls, at most as many as the second argument says, of a run, or of any (None).
        run_id: the run whose own calls are looked at first; empty for none.
        model_class: of the call, for the constant.
    """
    if run_id:
        local = estimate_of(await observe(run_id, RUN_OBSERVATIONS), EstimateSource.RUN_LOCAL)
        if local is not None:
            return local
    overall = estimate_of(await observe(None, GLOBAL_OBSERVATIONS), EstimateSource.GLOBAL)
    return overall or fallback(model_class)
