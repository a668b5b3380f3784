"""``python -m autopack_toolchain unix:/path/of/a/socket``: this service alone, for its own user on this machine.

A TCP address needs tokens and certificates; ``autopack serve toolchain`` has the options for them.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys

from autopack_kit.auth import Transport
from autopack_kit.bind import Bind
from autopack_kit.errors import AutopackError
from autopack_kit.server import Server, serve

from . import create


def main() -> int:
    """Serves until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m autopack_toolchain", description="Serve the toolchain service.")
    parser.add_argument("address", help="unix:/path of the socket to listen on; it gets mode 0600")
    arguments = parser.parse_args()
    try:
        bind = Bind.parse(arguments.address)
        if bind.transport is not Transport.UNIX:
            parser.error("only unix: addresses here; `autopack serve toolchain --address HOST:PORT` serves TCP")
        asyncio.run(serve([create()], bind, ready=_print_address))
    except AutopackError as error:
        print(error, file=sys.stderr)
        return 1
    return os.EX_OK


def _print_address(server: Server) -> None:
    print(f"listening on {server.address}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
