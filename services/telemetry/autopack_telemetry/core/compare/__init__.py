"""Did a change help? Runs with it beside runs without it, in pairs by task."""
