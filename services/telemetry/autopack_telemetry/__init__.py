"""What did every phase cost, and what was avoided?

Pure functions and values for Python users; the gRPC service is :func:`create`::

    from autopack_telemetry import median

    median([8_000, 9_000, 21_000, 60_000])    # 15000, the mean of the middle two
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

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
    "create",
    "estimate_of",
    "fallback",
    "median",
]


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
