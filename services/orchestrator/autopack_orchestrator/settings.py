"""Settings of the orchestrator."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

from autopack_kit.settings import setting

from autopack_orchestrator.adapters.agents import known_agents
from autopack_orchestrator.core.isolation import SandboxMode

__all__ = ["OrchestratorSettings", "roots_of"]

#: Keys of model providers that agents other than the known ones use; nothing else of the server's environment is ever
#: offered to a run by default.
PROVIDER_KEYS = frozenset(
    {"AZURE_OPENAI_API_KEY", "DEEPSEEK_API_KEY", "GROQ_API_KEY", "MISTRAL_API_KEY", "OPENROUTER_API_KEY"}
)


def _passable_env(_: Mapping[str, str]) -> tuple[str, ...]:
    known = {name for agent in known_agents().values() for name in agent.pass_env}
    return tuple(sorted(known | PROVIDER_KEYS))


def _concurrency(_: Mapping[str, str]) -> int:
    return max(4, os.cpu_count() or 1)


@dataclass(frozen=True, slots=True)
class OrchestratorSettings:
    """``AUTOPACK_ORCHESTRATOR_*``."""

    PREFIX: ClassVar[str] = "AUTOPACK_ORCHESTRATOR"

    database_url: str = setting(
        "", help="Where batches and runs are kept; default: orchestrator.sqlite3 in the data directory."
    )
    allowed_roots: tuple[Path, ...] = setting(
        (), help="Directories whose repositories may be used, ':' between them; TENANT=DIR is for that tenant alone."
    )
    remote_hosts: tuple[str, ...] = setting(
        (),
        help="Hosts whose repositories may be used, for example git.example.com,git.example.com:2222; default: none.",
    )
    credentials_dir: Path | None = setting(
        None, help="Directory of files with a token or an ssh key each, which batches name; and known_hosts for ssh."
    )
    max_upload_bytes: int = setting(1 << 30, help="Size of an uploaded bundle at most.")
    upload_keep: timedelta = setting(timedelta(days=1), help="How long an uploaded bundle can be used for new batches.")
    keep_results: timedelta = setting(
        timedelta(days=30), help="How long an ended batch is kept, with its events, logs and patches."
    )
    keep_bytes: int = setting(
        20 << 30,
        help="Size of all logs and patches at most; those of the batches that ended first go before their time.",
    )
    cache_bytes: int = setting(
        20 << 30,
        help="Size of the package caches of all tenants at most; beyond it those go that were unused for longest.",
    )
    max_concurrent_runs: int = setting(
        derive=_concurrency, help="Runs at once at most, over all batches; default: cores, at least 4."
    )
    max_concurrent_runs_per_tenant: int | None = setting(
        None, help="Of these, runs of one tenant at once at most; default: no limit of its own."
    )
    max_concurrent_runs_per_repository: int | None = setting(
        None, help="Of these, runs on one repository at once at most; default: no limit of its own."
    )
    min_free_disk_bytes: int = setting(
        2 << 30, help="No run starts while less is free below the data directory; at most 5 % of the disk."
    )
    min_free_memory_bytes: int = setting(
        512 << 20, help="No run starts while less memory is available; at most 5 % of what there is."
    )
    fence_grace: timedelta = setting(
        timedelta(seconds=120), help="How long an agent works on without its orchestrator before it is ended."
    )
    sandbox: SandboxMode = setting(
        SandboxMode.AUTO,
        help="What batches get that do not say: auto, none, or required: then no batch runs without one.",
    )
    sandbox_hidden: tuple[str, ...] = setting(
        (),
        help="Further paths that commands in the sandbox do not see, absolute or in the home directory; ',' between.",
    )
    sandbox_writable: tuple[str, ...] = setting(
        (), help="Paths in the home directory that commands in the sandbox see as they are and may change; ',' between."
    )
    cluster_fence_grace: timedelta = setting(
        timedelta(seconds=5),
        help="Instead, with --engine cluster: how long agents work on when their worker is gone or out of touch.",
    )
    stale_after: timedelta = setting(
        timedelta(seconds=15), help="Silence of a worker after which others take its runs; beyond the fence by 7 s."
    )
    worker_drain: timedelta = setting(
        timedelta(seconds=20), help="What a worker that is to stop leaves its runs to end; then others begin them anew."
    )
    object_store_url: str = setting(
        "", help="Where logs and patches are kept for all of a cluster: s3://bucket/prefix or file:///shared/directory."
    )
    output_cap_bytes: int = setting(64 << 20, help="Bytes kept of what one command prints.")
    passable_env: tuple[str, ...] = setting(
        derive=_passable_env,
        help="Variables of this server that a batch may pass to its runs by name; default: what the known agents need.",
    )
    http_hosts: tuple[str, ...] = setting(
        (),
        help="Hosts whose agents runs may be given to, for example agents.example.com,localhost:8080; default: none.",
    )
    toolchain_address: str = setting("", help="Address of the toolchain service; default: this server.")
    hardening_address: str = setting("", help="Address of the hardening service; default: this server.")
    intention_address: str = setting("", help="Address of the intention service; default: this server.")
    telemetry_address: str = setting("", help="Address of the telemetry service; default: this server.")
    peer_ca_file: Path | None = setting(None, help="CA certificate of the other services; turns TLS on.")
    peer_certificate_file: Path | None = setting(None, help="Client certificate for the other services (mTLS).")
    peer_key_file: Path | None = setting(None, help="Private key of that certificate.")


def roots_of(roots: Sequence[Path], tenant: str) -> tuple[Path, ...]:
    """The directories among ``roots`` (of the setting) that a tenant's batches may name.

    ``/srv/shared`` is for all tenants, ``team-a=/srv/a`` for the tenant ``team-a`` alone.

    >>> roots_of([Path("/srv/shared"), Path("team-a=/srv/a"), Path("team-b=/srv/b")], "team-a")
    (PosixPath('/srv/shared'), PosixPath('/srv/a'))
    """
    found = []
    for root in roots:
        owner, separator, directory = str(root).partition("=")
        if root.is_absolute() or not separator:
            found.append(root)
        elif owner == tenant:
            found.append(Path(directory).expanduser())
    return tuple(found)
