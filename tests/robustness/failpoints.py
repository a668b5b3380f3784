"""Places at which the server is killed with SIGKILL, and the program that serves with one of them armed.

``python failpoints.py POINT[:N] serve --all ...`` is ``autopack serve --all ...`` that dies when it passes the point
for the N-th time. The product knows nothing of it: the point is put around a function from outside.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["PASSED_BY_A_RUN", "POINTS", "Point"]

_GIT = "autopack_orchestrator.adapters.git"
_STORE = "autopack_orchestrator.adapters.store:Store"
_SUPERVISOR = "autopack_orchestrator.adapters.supervisor.client"


@dataclass(frozen=True)
class Point:
    """One place.

    Attributes:
        function: ``module:name`` or ``module:Class.name``.
        after: die after the function has done its work instead of before.
        when: only for calls with these keyword arguments: name -> value of an enum.
    """

    function: str
    after: bool = True
    when: Mapping[str, str] = field(default_factory=dict)


def _state(state: str, *, after: bool) -> Point:
    return Point(f"{_STORE}.update", after, {"to": state})


#: In the order in which a run passes them.
PASSED_BY_A_RUN = {
    "run-claimed": Point(f"{_STORE}.claim"),
    "worktree-recorded": Point(f"{_GIT}.workspace:Workspaces._add", after=False),
    "worktree-added": Point(f"{_GIT}.workspace:Workspaces._add"),
    "worktree-checked-out": Point(f"{_GIT}.checkout:write"),
    "before-running": _state("running", after=False),
    "running-stored": _state("running", after=True),
    "supervisor-spawned": Point(f"{_SUPERVISOR}:_spawn"),
    "before-validating": _state("validating", after=False),
    "validating-stored": _state("validating", after=True),
    "committed": Point(f"{_GIT}.capture:move_branch"),
    "published": Point(f"{_GIT}.mirror:Mirrors.publish"),
    "succeeded-stored": _state("succeeded", after=True),
    "worktree-removed": Point(f"{_GIT}.workspace:Workspaces.remove"),
}

#: Also while a batch is created, and while runs are taken up after a restart.
POINTS = {
    "mirror-cloned": Point(f"{_GIT}.mirror:Mirrors._clone"),
    "batch-stored": Point(f"{_STORE}.create_batch"),
    **PASSED_BY_A_RUN,
    "adopted": Point(f"{_STORE}.adopt"),
    "queued-again": _state("queued", after=True),
}


def arm(point: Point, count: int) -> None:
    """Put the point around its function."""
    module_name, _, path = point.function.partition(":")
    owner: Any = importlib.import_module(module_name)
    *classes, name = path.split(".")
    for part in classes:
        owner = getattr(owner, part)
    setattr(owner, name, _wrap(getattr(owner, name), point, count))


def _wrap(function: Callable[..., Any], point: Point, count: int) -> Callable[..., Any]:
    left = [count]

    def passed(result: object, arguments: dict[str, Any]) -> None:
        # A claim that found nothing is no step of a run.
        if point.function.endswith(".claim") and result is None:
            return
        if any(getattr(arguments.get(name), "value", "") != value for name, value in point.when.items()):
            return
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def asynchronous(*args: Any, **kwargs: Any) -> Any:
            if not point.after:
                passed(True, kwargs)
            result = await function(*args, **kwargs)
            if point.after:
                passed(result, kwargs)
            return result

        return asynchronous

    @functools.wraps(function)
    def synchronous(*args: Any, **kwargs: Any) -> Any:
        if not point.after:
            passed(True, kwargs)
        result = function(*args, **kwargs)
        if point.after:
            passed(result, kwargs)
        return result

    return synchronous


if __name__ == "__main__":
    name, _, number = sys.argv.pop(1).partition(":")
    arm(POINTS[name], int(number or 1))
    from autopack_cli.main import main

    main()
