"""Storage of telemetry."""
