"""The control connection to a supervisor, and what is done about one that stands still.

Without a sandbox a command has the rights of its supervisor and may stop it (SIGSTOP): its deadline would never pass
and nobody would ever hear of its end. Whoever waits therefore asks now and then, lets it go on (SIGCONT), and in the
end kills it; what it left is then found by its environment, as after any death of a supervisor.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import struct

from .values import Progress

__all__ = ["Control", "open_control"]

ANSWER_LIMIT_S = 20.0  # an answer takes milliseconds; on a host that swaps, seconds
PATIENCE = 4  # questions in a row without an answer, or times that it was found stopped, until it is killed
_CREDENTIALS = struct.Struct("3i")


class Control(asyncio.Protocol):
    """One control connection: greets, answers in order, ends with the supervisor.

    Attributes:
        greeting: the first answer; None when the supervisor went without one.
        closed: done when the supervisor, or the connection, is gone.
        killed: why we have killed it; empty if we have not.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.greeting: asyncio.Future[Progress | None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self.killed = ""
        self._answers: list[asyncio.Future[Progress | None]] = [self.greeting]
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._pid, self._process = 0, -1
        self._missed = self._stops = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            if self._answers and not (answer := self._answers.pop(0)).done():
                answer.set_result(Progress(**json.loads(line)))

    def connection_lost(self, exc: Exception | None) -> None:
        for future in self._answers:
            if not future.done():
                future.set_result(None)
        self._answers.clear()
        if not self.closed.done():
            self.closed.set_result(None)
        if self._process >= 0:
            os.close(self._process)
            self._process = -1

    def watch(self, pid: int) -> None:
        """Take hold of the process at the other end, so that no later one with its number is ever meant."""
        with contextlib.suppress(OSError):  # it is gone, and the connection will say so
            self._pid, self._process = pid, os.pidfd_open(pid)

    async def ask(self, word: str) -> Progress | None:
        """Send one request; None when the supervisor has gone, or was killed because it does not answer."""
        if self._transport is None or self._transport.is_closing() or self.closed.done():
            return None
        answer: asyncio.Future[Progress | None] = asyncio.get_running_loop().create_future()
        self._answers.append(answer)
        self._transport.write(word.encode() + b"\n")
        return await self.answered(answer)

    async def answered(self, answer: asyncio.Future[Progress | None]) -> Progress | None:
        """Wait for an answer, such as the greeting, and see to it that there is one or that the supervisor is gone."""
        while not (await asyncio.wait([answer], timeout=ANSWER_LIMIT_S))[0]:
            # Counted, not timed: where the whole host slept, one long pause is one question without an answer.
            if self._is_stopped():
                self._stops += 1
            else:
                self._missed += 1
            if max(self._stops, self._missed) >= PATIENCE and self._process >= 0:
                self.killed = (
                    f"its supervisor stood still (found stopped {self._stops} times, without an answer "
                    f"{self._missed} times) and was killed; what it had started was found by its environment and ended"
                )
                self._send(signal.SIGKILL)
                return await answer
            self._send(signal.SIGCONT)
        self._missed = 0
        return answer.result()

    def _is_stopped(self) -> bool:
        try:
            with open(f"/proc/{self._pid}/stat", "rb") as file:
                return file.read().rpartition(b")")[2].split()[0] == b"T"
        except OSError:
            return False

    def close(self) -> None:
        """End the connection from this side."""
        if self._transport is not None:
            self._transport.close()

    def _send(self, number: signal.Signals) -> None:
        if self._process >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._process, number)


async def open_control(connection: socket.socket, pid: int | None = None) -> Control:
    """The protocol on a connected socket, to the process ``pid`` or to the one that listens at the other end."""
    connection.setblocking(False)
    if pid is None:
        pid, _, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    _, protocol = await asyncio.get_running_loop().create_connection(Control, sock=connection)
    protocol.watch(pid)
    return protocol
