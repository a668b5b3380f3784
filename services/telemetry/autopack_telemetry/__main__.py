"""``python -m autopack_telemetry``: serve the telemetry service alone."""

from __future__ import annotations

import sys

from autopack_kit.main import main

from autopack_telemetry import create
from autopack_telemetry.settings import TelemetrySettings

if __name__ == "__main__":
    sys.exit(main("telemetry", create, TelemetrySettings))
