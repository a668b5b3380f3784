"""How a command reaches its services: the given address, else the server that runs, else one of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from autopack_client import AsyncClient, ClientTls, connect
from autopack_kit.auth import read_token
from autopack_kit.bind import Bind
from autopack_kit.errors import AutopackError
from autopack_kit.kit_settings import KitSettings
from autopack_kit.settings import load

from autopack_cli.needs import Needs
from autopack_cli.startup import started

__all__ = [
    "INTERRUPTED",
    "Connection",
    "Needs",
    "connection",
    "default_address",
    "run",
    "run_to_end",
    "running_address",
    "session",
]

T = TypeVar("T")

OF_SIGNAL = 128
INTERRUPTED = 130
"""Exit status after Ctrl-C: 128 + SIGINT, as shells give it."""


@dataclass(slots=True)
class Connection:
    """What the user said about the server, for all commands.

    Attributes:
        token_file: file with the token; None = ``AUTOPACK_TOKEN_FILE``, else that of the data directory on TCP.
        tls: certificate files; None = plaintext.
    """

    token_file: Path | None = None
    tls: ClientTls | None = None


connection = Connection()
"""Set once by the options before the command's name."""


@asynccontextmanager
async def session(address: str | None, needs: Needs) -> AsyncIterator[AsyncClient]:
    """A client for the block."""
    chosen = address or running_address()
    if chosen is not None:
        async with connect(chosen, token=_token(chosen), tls=connection.tls) as client:
            started()
            yield client
        return
    from autopack_cli.embedded import embedded  # the server's half is imported only where there is a server

    async with embedded(needs) as own, connect(own) as client:
        started()
        yield client


def default_address() -> str:
    """Where ``autopack serve --all`` listens when it is not told otherwise."""
    return f"unix:{load(KitSettings, os.environ).data_dir / 'autopack.sock'}"


def running_address() -> str | None:
    """The default address, if a server accepts connections there."""
    path = default_address().removeprefix("unix:")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except OSError:
            return None
    return f"unix:{path}"


def run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs a command's coroutine to its end; Ctrl-C ends it with status 130."""
    try:
        return asyncio.run(work())
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    except BaseExceptionGroup as group:
        # A task group wraps even a single error; a person wants the error.
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        raise error from None


def run_to_end(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Like :func:`run`, for what leaves something behind when it is just killed: SIGTERM and a closed terminal cancel
    it too, so that it puts everything away; the exit status is then that of a shell."""
    heard: list[int] = []

    async def main() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def end(number: int) -> None:
            heard.append(number)
            task.cancel()

        # What nohup has set to be ignored stays so.
        numbers = [one for one in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(one) is not signal.SIG_IGN]
        for number in numbers:
            loop.add_signal_handler(number, end, number)
        try:
            return await work()
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    try:
        return run(main)
    except asyncio.CancelledError:
        raise SystemExit(OF_SIGNAL + heard[0] if heard else INTERRUPTED) from None


def _token(address: str) -> str | None:
    named = connection.token_file or os.environ.get("AUTOPACK_TOKEN_FILE")
    if named:
        return read_token(Path(named))
    own = load(KitSettings, os.environ).data_dir / "token"
    if not address.startswith("unix:") and _is_ours(address) and own.exists():
        return read_token(own)
    return None


def _is_ours(address: str) -> bool:
    """Whether the server may be the one of this data directory: the token in it is nobody else's business."""
    try:
        return Bind.parse(address).loopback
    except AutopackError:
        return False
