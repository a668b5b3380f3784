"""From what agents send over OpenTelemetry to usage records: pure, over plain Python values."""
