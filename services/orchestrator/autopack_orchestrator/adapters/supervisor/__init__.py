"""Supervised execution of one command: :mod:`.client` has the calls, :mod:`.runner` is the program behind them."""

from .client import Handle, attach, end_all, execution_dir, read_outcome, start, sweep
from .values import ExecutionSpec, Finished, Gone, Outcome, Progress, Reason

__all__ = [
    "ExecutionSpec",
    "Finished",
    "Gone",
    "Handle",
    "Outcome",
    "Progress",
    "Reason",
    "attach",
    "end_all",
    "execution_dir",
    "read_outcome",
    "start",
    "sweep",
]
