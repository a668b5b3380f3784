"""The engine beyond one machine: a dispatcher that admits runs, a queue that delivers their ids, workers."""
