"""Usage from the files that agents write, for agents that send no telemetry or where it was off."""
