"""``autopack capabilities``: what the host of the orchestrator offers to run commands with."""

from __future__ import annotations

import typer
from autopack_api.orchestrator.v1.orchestrator_pb2 import GetCapabilitiesRequest, GetCapabilitiesResponse

from autopack_cli.options import Address, Json
from autopack_cli.render import clean, console, print_json, table
from autopack_cli.session import Needs, run, session

__all__ = ["register"]

GIB = 1 << 30


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("capabilities")(capabilities)


def capabilities(address: Address = None, as_json: Json = False) -> None:
    """Tell what the orchestrator's host offers to run commands with, found out by trying.

    \b
    autopack capabilities --json
    """

    async def work() -> GetCapabilitiesResponse:
        async with session(address, Needs(services=("orchestrator",))) as client:
            return await client.orchestrator.GetCapabilities(GetCapabilitiesRequest())

    found = run(work)
    if as_json:
        print_json(found)
        return
    rows = table("what", "here")
    for name, words in _rows(found):
        rows.add_row(name, clean(words))
    console().print(rows)
    for note in found.notes:
        console().print(f"note: {clean(note)}", soft_wrap=True)


def _rows(found: GetCapabilitiesResponse) -> list[tuple[str, str]]:
    sandbox, groups = found.sandbox, found.cgroups
    limited = [name for name, works in (("memory", groups.memory), ("processes", groups.processes)) if works]
    agents = [f"{agent.name} {agent.version}".strip() for agent in found.agents]
    return [
        ("sandbox", f"bubblewrap {sandbox.version}" if sandbox.available else f"no: {sandbox.problem}"),
        ("sandbox by default", sandbox.default_mode),
        ("process namespace", _yes(sandbox.pid_namespace)),
        ("network can be off", _yes(sandbox.network_off)),
        ("control groups", f"v{groups.version}: {', '.join(limited)}" if limited else f"no: {groups.problem}"),
        ("limits of a process", ", ".join(name.removeprefix("RLIMIT_").lower() for name in found.rlimits)),
        ("pidfd", _yes(found.pidfd)),
        ("git", found.git_version or "no: runs need git on the PATH"),
        ("free disk", f"{found.free_disk_bytes / GIB:.1f} GiB"),
        ("agents", ", ".join(agents) or "none of those that Autopack knows is on the PATH"),
    ]


def _yes(works: bool) -> str:
    return "yes" if works else "no"
