"""Autopack from Python.

    from autopack_client import connect_sync
    from autopack_api.toolchain.v1 import toolchain_pb2

    with connect_sync("unix:/run/user/1000/autopack.sock") as client:
        response = client.toolchain.Detect(toolchain_pb2.DetectRequest(path="/src/shop"))

A failed call raises :class:`AutopackError`: ``message``, ``reason``, ``remedy``, ``violations``.
"""

from __future__ import annotations

from autopack_kit.errors import AutopackError
from autopack_kit.tls import ClientTls

from autopack_client.client import AsyncClient, Client, connect, connect_sync
from autopack_client.watch import get_patch, read_log, watch_batch

__all__ = [
    "AsyncClient",
    "AutopackError",
    "Client",
    "ClientTls",
    "connect",
    "connect_sync",
    "get_patch",
    "read_log",
    "watch_batch",
]
