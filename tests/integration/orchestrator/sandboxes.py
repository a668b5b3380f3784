"""The sandbox of this host for tests, and the reason to skip where there is none."""

from __future__ import annotations

import functools

import pytest
from autopack_orchestrator.adapters import cgroups
from autopack_orchestrator.adapters.cgroups import Cgroups
from autopack_orchestrator.adapters.sandbox import Sandbox, probe

__all__ = ["control_groups", "needs_cgroups", "needs_sandbox", "sandbox"]


@functools.cache
def sandbox() -> Sandbox:
    """What was probed, once."""
    return probe()


@functools.cache
def control_groups() -> Cgroups:
    """What was probed, once."""
    return cgroups.probe()


needs_sandbox = pytest.mark.skipif(not sandbox().available, reason=f"no sandbox: {sandbox().problem}")
needs_cgroups = pytest.mark.skipif(
    control_groups().memory is None or control_groups().processes is None,
    reason=f"no control groups: {control_groups().problem}",
)
