"""``autopack resume``: back to a batch that is under way."""

from __future__ import annotations

from typing import Annotated

import typer
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb

from autopack_cli import session as sessions
from autopack_cli.attend import attend
from autopack_cli.options import Address, Json
from autopack_cli.session import Needs, session

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("resume")(resume)


def resume(
    batch: Annotated[str, typer.Argument(metavar="BATCH", help="Its id.")],
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Stay with a batch that is under way until it has ended, and show what became of it, as `run` does.

    Where no server runs, what was left behind by a closed terminal or a command that was killed is taken up and carried
    out. Exit status and Ctrl-C: as of `run`.

    \b
    autopack resume nightly-7k2q9d
    """

    async def work() -> int:
        async with session(address, Needs(carry_out=True)) as client:
            found = await client.orchestrator.GetBatch(pb.GetBatchRequest(batch_id=batch))
            return await attend(client, found.batch, as_json=as_json)

    raise typer.Exit(sessions.run(work))
