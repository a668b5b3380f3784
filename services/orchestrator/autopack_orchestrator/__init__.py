"""Run N agents at once: isolated, bounded, cancellable, crash-safe, each with a result one can merge.

    from autopack_orchestrator import create

``create(settings, ...)`` makes the service for :class:`autopack_kit.server.Server`. The values that it thinks in are in
:mod:`autopack_orchestrator.core.model`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from autopack_orchestrator.core.checks import check_batch
from autopack_orchestrator.core.model import BatchSpec, Budget, Doctor, Intention, RunSpec, RunState

if TYPE_CHECKING:
    from autopack_kit.kit_settings import KitSettings

    from autopack_orchestrator.service import OrchestratorService
    from autopack_orchestrator.settings import OrchestratorSettings

__all__ = ["BatchSpec", "Budget", "Doctor", "Intention", "RunSpec", "RunState", "check_batch", "create"]


def create(
    settings: OrchestratorSettings | None = None,
    kit: KitSettings | None = None,
    *,
    carry_out: bool = True,
    role: str = "local",
) -> OrchestratorService:
    """The service for a server of ``autopack_kit``; what is not given is read from the environment.

    Args:
        settings: of the orchestrator.
        kit: of the process: where its data and its signing key are.
        carry_out: False for a server that only answers, such as the one of a command that lists runs.
        role: ``local`` carries runs out, ``cluster`` says to workers which may start, ``worker`` is one of these.
    """
    # Imported here so that a user of the values alone needs neither grpc nor SQL.
    from autopack_kit.auth import ensure_signing_key
    from autopack_kit.kit_settings import KitSettings
    from autopack_kit.settings import load

    from autopack_orchestrator.adapters.peers import PeerAddresses, client_tls
    from autopack_orchestrator.execution.engines import Role
    from autopack_orchestrator.execution.orchestrator import Orchestrator
    from autopack_orchestrator.service import OrchestratorService
    from autopack_orchestrator.settings import OrchestratorSettings

    settings = settings or load(OrchestratorSettings, os.environ)
    kit = kit or load(KitSettings, os.environ)
    peers = PeerAddresses(
        toolchain=settings.toolchain_address,
        hardening=settings.hardening_address,
        intention=settings.intention_address,
        telemetry=settings.telemetry_address,
        tls=client_tls(settings.peer_ca_file, settings.peer_certificate_file, settings.peer_key_file),
    )
    orchestrator = Orchestrator(
        settings,
        root=kit.data_dir / "orchestrator",
        peers=peers,
        signing_key=ensure_signing_key(kit.signing_key_path),
        environment=os.environ,
        carry_out=carry_out,
        role=Role(role),
        secrets=[
            path
            for path in (
                kit.data_dir,
                kit.tokens_path,
                kit.signing_key_path,
                kit.tls_key_file,
                settings.peer_key_file,
            )
            if path is not None
        ],
    )
    return OrchestratorService(orchestrator)
