"""What did every phase cost, and what was avoided?

Pure functions and values for Python users; the gRPC service is :func:`create`::

    from autopack_telemetry import median

    median([8_000, 9_000, 21_000, 60_000])    # 15000, the mean of the middle two

Of the statistics of comparisons, each names its source::

    from autopack_telemetry import mcnemar, pairs_needed

    pairs_needed(0.8, sd=0.7)                 # 80 pairs find a saving of 20 % with a probability of 80 %
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from autopack_kit.settings import load

from autopack_telemetry.core.estimate import Estimate, EstimateSource, ModelClass, estimate_of, fallback, median
from autopack_telemetry.core.model import (
    Avoided,
    PhaseOutcome,
    PhaseRecord,
    RunSummary,
    Tokens,
    UsageRecord,
    UsageRole,
)

if TYPE_CHECKING:
    from autopack_kit.kit_settings import KitSettings

    from autopack_telemetry.core.compare.binary import (
        mcnemar,
        mcnemar_asymptotic,
        newcombe_independent,
        newcombe_paired,
        wilson,
    )
    from autopack_telemetry.core.compare.paired import (
        geometric_mean_ratio,
        hodges_lehmann,
        hodges_lehmann_interval,
        holm,
        paired_t,
        sign_flip,
        wilcoxon,
    )
    from autopack_telemetry.core.compare.planning import (
        mcnemar_pairs,
        pairs_needed,
        smallest_detectable_ratio,
        t_power,
    )
    from autopack_telemetry.core.compare.sequential import (
        beta_binomial_e_value,
        confidence_sequence,
        running_e_values,
    )
    from autopack_telemetry.service import TelemetryService
    from autopack_telemetry.settings import TelemetrySettings

__all__ = [
    "Avoided",
    "Estimate",
    "EstimateSource",
    "ModelClass",
    "PhaseOutcome",
    "PhaseRecord",
    "RunSummary",
    "Tokens",
    "UsageRecord",
    "UsageRole",
    "beta_binomial_e_value",
    "confidence_sequence",
    "create",
    "estimate_of",
    "fallback",
    "geometric_mean_ratio",
    "hodges_lehmann",
    "hodges_lehmann_interval",
    "holm",
    "mcnemar",
    "mcnemar_asymptotic",
    "mcnemar_pairs",
    "median",
    "newcombe_independent",
    "newcombe_paired",
    "paired_t",
    "pairs_needed",
    "running_e_values",
    "sign_flip",
    "smallest_detectable_ratio",
    "t_power",
    "wilcoxon",
    "wilson",
]

_STATISTICS = {
    "binary": ("mcnemar", "mcnemar_asymptotic", "newcombe_independent", "newcombe_paired", "wilson"),
    "paired": (
        "geometric_mean_ratio", "hodges_lehmann", "hodges_lehmann_interval", "holm", "paired_t", "sign_flip",
        "wilcoxon",
    ),
    "planning": ("mcnemar_pairs", "pairs_needed", "smallest_detectable_ratio", "t_power"),
    "sequential": ("beta_binomial_e_value", "confidence_sequence", "running_e_values"),
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """The statistics of comparisons, loaded when they are asked for: scipy takes a second, and servers start often."""
    for module, names in _STATISTICS.items():
        if name in names:
            return getattr(import_module(f"autopack_telemetry.core.compare.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def create(settings: TelemetrySettings | None = None, kit: KitSettings | None = None) -> TelemetryService:
    """The service for a server of ``autopack_kit``; what is not given is read from the environment.

    Args:
        settings: of telemetry.
        kit: of the process: where the key is that signs the tokens of runs.
    """
    # Imported here so that a user of the functions alone needs neither grpc nor a database.
    from autopack_kit.kit_settings import KitSettings

    from autopack_telemetry.service import TelemetryService
    from autopack_telemetry.settings import TelemetrySettings

    return TelemetryService(settings or load(TelemetrySettings, os.environ), kit or load(KitSettings, os.environ))
