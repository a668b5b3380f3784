"""Domain of telemetry: values, their checks, and the estimate. Pure."""
