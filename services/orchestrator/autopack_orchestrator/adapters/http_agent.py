"""An agent behind HTTP: begun, asked how it is until it has ended, and ended when it must be.

It has the three methods of a supervised command (``wait``, ``cancel``, ``detach``), so that it is attended like one.
The contract is in :mod:`autopack_orchestrator.core.http` and in the README.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import httpx
from autopack_kit.errors import AutopackError, FailedPrecondition

from autopack_orchestrator.adapters.supervisor import Outcome, Reason
from autopack_orchestrator.core.codec import dumps, loads
from autopack_orchestrator.core.http import (
    MAX_ANSWER_BYTES,
    BadAnswer,
    Judgement,
    RemoteState,
    RemoteStatus,
    idempotency_key,
    judge,
    read_status,
    retry_after,
    run_path,
)
from autopack_orchestrator.core.retry import backoff

__all__ = ["RemoteAgent", "RemoteSpec"]

CANCEL_LIMIT_S = 10.0  # a cancel that is not heard by then is reported as such; the run ends anyway
CANCEL_FIRST = timedelta(milliseconds=500)
CONNECT_TIMEOUT_S = 10.0
MAX_SHOWN = 300
_ENDED_ALREADY = frozenset({"404", "405", "409", "410"})  # nothing is left to cancel, or nothing can be

Notify = Callable[[str, str], Awaitable[None]]
"""Tells of something: what is shown to a person, and the state of the agent, empty for a difficulty on the way."""


@dataclass(frozen=True, slots=True)
class RemoteSpec:
    """What is asked for, where and how patiently.

    Attributes:
        url: what ``/runs/{id}/execute`` is put behind.
        headers: their values are secrets: they stand in no message.
        body: of the first request, JSON.
        first, most: pause before the second question, and the longest one.
        request_timeout_s: of one question, with its answer.
        timeout_s: of the whole; if another process began it, what that one had is what counts.
        record: file in which it is noted when the agent was begun, until when it may work, and that it was accepted.
    """

    url: str
    run_id: str
    attempt: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes
    first: timedelta
    most: timedelta
    request_timeout_s: float
    timeout_s: float
    record: Path


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class _Record:
    """Times are seconds since the epoch: another process may read them."""

    since: float
    deadline: float
    accepted: bool = False


class _Again(Exception):
    """Ask again, after ``seconds`` at least."""

    def __init__(self, why: str, seconds: float = 0.0) -> None:
        super().__init__(why)
        self.seconds = seconds


class RemoteAgent:
    """One attempt of a run on a server elsewhere. Begins, or goes on, with the first :meth:`wait`.

    Attributes:
        status: the last that was heard of it.
    """

    def __init__(self, spec: RemoteSpec, notify: Notify) -> None:
        self.status = RemoteStatus(RemoteState.PENDING)
        self._spec = spec
        self._notify = notify
        self._task: asyncio.Task[Outcome] | None = None
        self._cancelled = False
        self._ending = False
        self._said = ""

    async def wait(self) -> Outcome:
        """Until the agent has ended. May be cancelled and called again; it goes on meanwhile.

        Raises:
            FailedPrecondition: ``HTTP_REFUSED``, ``HTTP_BAD_ANSWER``: asking again cannot help.
        """
        if self._task is None:
            self._task = asyncio.create_task(self._work(), name=f"autopack-http-{self._spec.run_id}")
        return await asyncio.shield(self._task)

    async def cancel(self) -> None:
        """End it: the other side is told (``DELETE /runs/{id}``), for 10 s at most. :meth:`wait` then returns.

        May be called again, also while it ends by itself: that interrupts nothing.
        """
        if self._task is not None and not self._cancelled and not self._ending:
            self._task.cancel()
        self._cancelled = True

    async def detach(self) -> None:
        """Ask no more and leave it running, for whoever takes the run up."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _work(self) -> Outcome:
        record = await asyncio.to_thread(self._read_record)
        since, limit = record.since, record.deadline - time.time()
        async with await self._client() as client:
            try:
                async with asyncio.timeout(max(limit, 0.0)):
                    if not record.accepted:
                        await self._begin(client, record)
                    await self._follow(client)
            except TimeoutError:
                await self._end(client)
                return Outcome(Reason.TIMEOUT, duration_s=time.time() - since)
            except AutopackError:
                await self._end(client)
                raise
            except asyncio.CancelledError:
                if not self._cancelled:
                    raise
                await self._end(client)
                return Outcome(Reason.CANCELLED, duration_s=time.time() - since)
        return self._outcome(time.time() - since)

    async def _begin(self, client: httpx.AsyncClient, record: _Record) -> None:
        # Written first: who finds it knows how much time is left. Until it is accepted, asking twice is asking once.
        await asyncio.to_thread(self._write_record, record)
        await self._until_taken(client, "POST", "/execute", self._spec.body)
        await asyncio.to_thread(self._write_record, replace(record, accepted=True))
        await self._notify("the agent's server has accepted the run", "ACCEPTED")

    async def _follow(self, client: httpx.AsyncClient) -> None:
        number, shown = 0, ""
        while True:
            number += 1
            await asyncio.sleep(self._pause(number))
            answer = await self._until_taken(client, "GET", "/status")
            try:
                self.status = await asyncio.to_thread(read_status, answer.body)
            except BadAnswer as error:
                raise _refused("HTTP_BAD_ANSWER", f"The answer of {self._spec.url} cannot be used: {error}.") from error
            if self.status.state.value != shown:
                shown = self.status.state.value
                await self._notify(f"the agent's server says {shown}", shown)
            if self.status.state.terminal:
                return

    async def _until_taken(self, client: httpx.AsyncClient, method: str, path: str, body: bytes = b"") -> _Answer:
        """The answer, asked for as often as it takes."""
        number = 0
        while True:
            number += 1
            try:
                return await self._ask(client, method, path, body)
            except _Again as again:
                if str(again) != self._said:
                    self._said = str(again)
                    await self._notify(f"{method} {self._spec.url}: {again}; it is tried again", "")
                await asyncio.sleep(max(again.seconds, self._pause(number)))

    async def _ask(self, client: httpx.AsyncClient, method: str, path: str, body: bytes = b"") -> _Answer:
        """One request and its whole answer.

        Raises:
            _Again: the other side cannot answer now, or the answer did not arrive whole.
            FailedPrecondition: it will not.
        """
        url = f"{self._spec.url}{run_path(self._spec.run_id)}{path}"
        headers = {"Content-Type": "application/json"} if body else None
        try:
            async with (
                asyncio.timeout(self._spec.request_timeout_s),
                client.stream(method, url, content=body or None, headers=headers) as response,
            ):
                return await self._read(response, method)
        except TimeoutError as error:
            raise _Again(f"no answer within {self._spec.request_timeout_s:g} s") from error
        except httpx.TransportError as error:
            raise _Again(f"{type(error).__name__}: {str(error)[:MAX_SHOWN]}".rstrip(": ")) from error
        except httpx.HTTPError as error:
            raise _refused("HTTP_BAD_ANSWER", f"{method} {url} failed: {str(error)[:MAX_SHOWN]}.") from error

    async def _read(self, response: httpx.Response, method: str) -> _Answer:
        verdict = judge(response.status_code)
        phrase = f"{response.status_code} {response.reason_phrase[:MAX_SHOWN]}".strip()
        if verdict is Judgement.AGAIN:
            raise _Again(f"answered {phrase}", retry_after(response.headers.get("Retry-After", ""), datetime.now(UTC)))
        if verdict is Judgement.REFUSED:
            raise _refused("HTTP_REFUSED", f"{method} {response.url.path}: {self._spec.url} answered {phrase}.", phrase)
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise _refused("HTTP_BAD_ANSWER", f"{self._spec.url} answered compressed, which it was asked not to do.")
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                size = MAX_ANSWER_BYTES >> 20
                raise _refused("HTTP_ANSWER_TOO_LARGE", f"The answer of {self._spec.url} is larger than {size} MiB.")
        return _Answer(response.status_code, bytes(body))

    async def _end(self, client: httpx.AsyncClient) -> None:
        """Tell the other side that nobody waits for it any more, as well as that can be done in 10 s."""
        self._ending = True
        number = 0
        try:
            async with asyncio.timeout(CANCEL_LIMIT_S):
                while True:
                    number += 1
                    try:
                        await self._ask(client, "DELETE", "")
                    except _Again as again:
                        pause = backoff(CANCEL_FIRST, timedelta(seconds=CANCEL_LIMIT_S), number, random.random())  # noqa: S311
                        await asyncio.sleep(max(again.seconds, pause.total_seconds()))
                        continue
                    await self._notify("the agent's server was told to end the run", "CANCELLED")
                    return
        except TimeoutError:
            await self._notify(f"{self._spec.url} could not be told within {CANCEL_LIMIT_S:g} s to end the run", "")
        except FailedPrecondition as error:
            if error.metadata.get("status") not in _ENDED_ALREADY:
                await self._notify(f"{self._spec.url} did not take the order to end the run: {error.message}", "")

    def _outcome(self, seconds: float) -> Outcome:
        status = self.status
        if status.state.succeeded:
            return Outcome(Reason.EXITED, exit_code=0, duration_s=seconds)
        reason = {RemoteState.TIMEOUT: Reason.TIMEOUT, RemoteState.CANCELLED: Reason.CANCELLED}.get(status.state)
        if reason is not None:
            return Outcome(reason, error=status.message, duration_s=seconds)
        return Outcome(Reason.EXITED, exit_code=status.exit_code or 1, error=status.message, duration_s=seconds)

    def _pause(self, number: int) -> float:
        spec = self._spec
        return backoff(spec.first, spec.most, number, random.random()).total_seconds()  # noqa: S311  jitter

    async def _client(self) -> httpx.AsyncClient:
        secure = self._spec.url.startswith("https:")
        return httpx.AsyncClient(
            headers={
                **self._spec.headers,
                "Accept": "application/json",
                "Accept-Encoding": "identity",  # a small answer cannot become a large one
                "Idempotency-Key": idempotency_key(self._spec.run_id, self._spec.attempt),
                "User-Agent": "autopack",
            },
            # A context that checks nothing is made in no time, and a plain connection does not use it.
            verify=await asyncio.to_thread(_tls) if secure else False,
            timeout=httpx.Timeout(self._spec.request_timeout_s, connect=CONNECT_TIMEOUT_S),
            follow_redirects=False,  # the headers are for this host alone
            trust_env=False,  # neither a proxy nor a .netrc of whoever started this server
        )

    def _read_record(self) -> _Record:
        try:
            return loads(self._spec.record.read_text(), _Record)
        except FileNotFoundError:
            now = time.time()
            return _Record(since=now, deadline=now + self._spec.timeout_s)

    def _write_record(self, record: _Record) -> None:
        draft = self._spec.record.with_suffix(".new")
        draft.write_text(dumps(record))
        draft.rename(self._spec.record)


@cache
def _tls() -> ssl.SSLContext:
    """The certificates of this machine, also those that SSL_CERT_FILE names."""
    return ssl.create_default_context()


def _refused(reason: str, message: str, phrase: str = "") -> FailedPrecondition:
    status = phrase[:3]
    remedies = {
        "401": "Check the credential that the batch names in `headers`.",
        "403": "Check the credential that the batch names in `headers`.",
        "404": "Check the URL; the agent's server may have forgotten the run.",
    }
    remedy = remedies.get(status, "Look into the log of the agent's server; it does not keep to the contract.")
    if status.startswith("3"):
        remedy = "Redirects are not followed: name the URL that it leads to."
    return FailedPrecondition(message, reason=reason, remedy=remedy, metadata={"status": status} if status else {})
