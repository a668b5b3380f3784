"""A run whose agent works elsewhere, behind HTTP: what it is told, and how its patch comes into the worktree."""

from __future__ import annotations

import asyncio
import json

from autopack_kit.errors import PermissionDenied

from autopack_orchestrator.adapters import git
from autopack_orchestrator.adapters.header_secrets import read_header
from autopack_orchestrator.adapters.http_agent import RemoteAgent, RemoteSpec
from autopack_orchestrator.adapters.supervisor import Outcome
from autopack_orchestrator.core.http import base_url, problem_with_host
from autopack_orchestrator.core.model import EventKind, HttpExecutor
from autopack_orchestrator.core.secrets import secret_values
from autopack_orchestrator.core.text import clean
from autopack_orchestrator.execution.capture import back_to_base
from autopack_orchestrator.execution.commands import log_line, log_text
from autopack_orchestrator.execution.context import RunContext

__all__ = ["open_remote", "take_result"]

RECORD = "http.json"
PATCH = "remote.patch"


async def open_remote(ctx: RunContext, http: HttpExecutor, timeout_s: float) -> RemoteAgent:
    """The agent of the run, not yet begun; or begun by a process that is gone, and then only asked how it is.

    Raises:
        PermissionDenied: ``HTTP_HOST``: the operator took the host back. NotFound, FailedPrecondition: a credential.
    """
    if problem := problem_with_host(http.url, frozenset(ctx.settings.http_hosts)):
        raise PermissionDenied(
            f"{http.url} is not called: it {problem}.", reason="HTTP_HOST", remedy="Ask the operator to allow the host."
        )
    url, authority, _ = base_url(http.url)
    credentials = git.Credentials(ctx.settings.credentials_dir)
    headers = {
        name: await asyncio.to_thread(read_header, credentials, ctx.run.tenant, credential, authority)
        for name, credential in http.headers.items()
    }
    # A header may be a word and the secret, such as Bearer and a token.
    ctx.secrets += secret_values({}, (word for value in headers.values() for word in value.split()))
    spec = RemoteSpec(
        url=url,
        run_id=ctx.run.run_id,
        attempt=ctx.run.attempt,
        headers=headers,
        body=_body(ctx, timeout_s),
        first=http.poll_interval,
        most=max(http.poll_interval, http.max_poll_interval),
        request_timeout_s=http.request_timeout.total_seconds(),
        timeout_s=timeout_s,
        record=ctx.directory / RECORD,
    )
    await asyncio.to_thread(log_line, ctx, f"agent: {url}")

    async def notify(message: str, state: str) -> None:
        await asyncio.to_thread(log_line, ctx, message)
        if state:
            await ctx.event(EventKind.COMMAND, message, name="agent", state=state)
        else:
            await ctx.warn("http", message)

    return RemoteAgent(spec, notify)


def _body(ctx: RunContext, timeout_s: float) -> bytes:
    spec = ctx.run.spec
    document = {
        "run_id": ctx.run.run_id,
        "attempt": ctx.run.attempt,
        "goal": spec.intention.title,
        "context": ctx.variables["AUTOPACK_CONTEXT"],
        "scope": list(spec.intention.scope),
        "repository": ctx.batch.repository,
        "base_commit": ctx.run.base_commit,
        "timeout_s": round(timeout_s),
    }
    return json.dumps(document).encode()


async def take_result(ctx: RunContext, agent: RemoteAgent, outcome: Outcome) -> None:
    """What the agent printed into the log, and what it changed into the worktree.

    Raises:
        RunFailed: PATCH_REJECTED: its patch does not apply on the base commit, or leads out of the worktree.
    """
    status = agent.status
    if status.log:
        await asyncio.to_thread(log_text, ctx, status.log)
    if outcome.error:
        await asyncio.to_thread(log_line, ctx, clean(outcome.error))
    if not status.patch:
        return
    await back_to_base(ctx)  # whoever began to apply it may have been interrupted
    file = ctx.directory / PATCH
    await asyncio.to_thread(file.write_bytes, status.patch)
    try:
        await git.apply_patch(ctx.worktree, file)
    except git.GitError as error:
        raise ctx.fail(
            "PATCH_REJECTED",
            f"The patch of the agent does not apply on the base commit: {error.result.error}.",
            f"It must be what `git diff --binary {ctx.run.base_commit[:12]}` prints, with paths inside the repository.",
        ) from error
