"""How a command of a run is confined: what its batch asks for, and what this host offers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autopack_orchestrator.adapters.host import Host
from autopack_orchestrator.adapters.sandbox import GitView, View, discard, prepare_home, words
from autopack_orchestrator.core.isolation import Isolation, Network, SandboxMode, resource_limits
from autopack_orchestrator.errors import network_needs_sandbox, sandbox_required, sandbox_unavailable
from autopack_orchestrator.execution.context import RunContext

__all__ = ["Confined", "check_isolation", "clean_up", "confine", "confined_environment"]

#: Files of an attempt that are ours alone; all others that lie directly in its directory are given to its commands.
_OWN_FILES = frozenset({"log", "log.tail", "patch", "prepared.json", "reporting.json"})
#: Variables that lead out of what a command in the sandbox can write; without them programs use its home and /tmp.
_LEAD_ELSEWHERE = ("TMPDIR", "TMP", "TEMP", "XDG_CACHE_HOME", "UV_CACHE_DIR", "CARGO_HOME")


@dataclass(frozen=True, slots=True)
class Confined:
    """What the supervisor is told; see :class:`~autopack_orchestrator.adapters.supervisor.ExecutionSpec`."""

    sandbox: tuple[str, ...]
    cgroups: Mapping[str, Mapping[str, str]]
    rlimits: Mapping[str, int]


def check_isolation(host: Host, isolation: Isolation) -> bool:
    """Whether commands run in the sandbox.

    Raises:
        FailedPrecondition: the host cannot give what is asked for, or must not give less than what it is set to.
    """
    if host.mode is SandboxMode.REQUIRED and isolation.sandbox is SandboxMode.NONE:
        raise sandbox_required()
    mode = SandboxMode.REQUIRED if host.mode is SandboxMode.REQUIRED else isolation.sandbox or host.mode
    inside = mode is not SandboxMode.NONE and host.sandbox.available
    if mode is SandboxMode.REQUIRED and not inside:
        raise sandbox_unavailable(host.sandbox.problem)
    if isolation.network is Network.OFF and not (inside and host.sandbox.network_off):
        why = "the batch asks for none" if mode is SandboxMode.NONE else host.sandbox.problem
        raise network_needs_sandbox(why or "this kernel gives it no network of its own")
    return inside


async def confine(ctx: RunContext, cwd: Path, files: tuple[Path, ...] = ()) -> Confined:
    """How the next command of the run is confined; warns once if it is in no sandbox although it would have been.

    Args:
        ctx: the run.
        cwd: where the command runs, in its worktree.
        files: which it must be able to read wherever they are.

    Raises:
        FailedPrecondition: this host cannot give what the batch asks for.
    """
    inside = await sandboxed(ctx)
    groups, limits = ctx.host.cgroups, ctx.run.spec.limits
    return Confined(
        sandbox=await asyncio.to_thread(_words, ctx, cwd, files) if inside else (),
        cgroups=groups.groups(limits, sandboxed=inside),
        rlimits=resource_limits(
            limits, memory_in_group=groups.memory is not None, processes_in_group=groups.processes is not None
        ),
    )


async def sandboxed(ctx: RunContext) -> bool:
    """Whether the run's commands run in the sandbox; see :func:`confine`."""
    isolation = ctx.run.spec.isolation
    inside = check_isolation(ctx.host, isolation)
    if not inside and (isolation.sandbox or ctx.host.mode) is SandboxMode.AUTO:
        await ctx.warn("sandbox", f"The commands of this run are in no sandbox: {ctx.host.sandbox.problem}")
    return inside


def confined_environment(host: Host, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a command in the sandbox: nothing that leads to where it cannot write."""
    found = {name: value for name, value in environment.items() if name not in _LEAD_ELSEWHERE}
    if host.home is None:
        found["HOME"] = "/tmp"  # noqa: S108  # the run's own
    return found


async def clean_up(ctx: RunContext) -> None:
    """Remove the run's private home and temporary files."""
    for path in (ctx.directory / "tmp", ctx.directory / "home", *ctx.directory.glob("git-*")):
        await asyncio.to_thread(discard, path)


def _words(ctx: RunContext, cwd: Path, files: tuple[Path, ...]) -> tuple[str, ...]:
    host, tree, directory = ctx.host, ctx.worktree, ctx.directory
    temporary = directory / "tmp"
    temporary.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary.chmod(0o1777)  # whoever a command becomes; the directory above is ours alone
    caches = ctx.layout.caches(ctx.run.tenant)
    home = host.home and tuple(prepare_home(host.home, directory / "home", caches, host.rules))
    given = [Path(entry) for entry in os.scandir(directory) if entry.name not in _OWN_FILES and entry.is_file()]
    view = View(
        workspace=tree.path,
        temporary=temporary,
        home=home or (),
        hidden=host.hidden,
        readable=(*host.shown, *sorted(given), *files),
        git=None
        if tree.git_dir is None
        else GitView(tree.mirror.path, tree.git_dir, tree.branch, directory / f"git-{tree.run_id}"),
        network=ctx.run.spec.isolation.network is Network.ON,
    )
    return words(host.sandbox, view, cwd)
