"""The other four services, as the orchestrator asks them. The only place that calls them.

Every method raises :class:`AutopackError` when the service cannot answer; whether that ends a run, is a warning or is
waited out is the caller's decision, because it differs: isolation and state fail closed, advice fails soft.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from autopack_client import AsyncClient, ClientTls, connect
from autopack_client.evidence import Evidence
from autopack_client.profile import Profile
from autopack_client.snapshots import snapshot
from autopack_kit.auth import mint_service_token
from autopack_kit.errors import NotFound, Unavailable
from autopack_kit.identity import DEFAULT_TENANT

from autopack_orchestrator import convert_peers as convert
from autopack_orchestrator.core.judge import Usage
from autopack_orchestrator.core.model import Intention
from autopack_orchestrator.core.plan import DetectedProject
from autopack_orchestrator.core.records import Estimate, PhaseRecord, Reporting, RunRecord

__all__ = ["Context", "Detection", "DriftJudgement", "PeerAddresses", "Peers", "client_tls"]

CALL_TIMEOUT_S = 30.0  # none of them works longer than a second on what a run asks; the rest is a queue or a restart


@dataclass(frozen=True, slots=True)
class PeerAddresses:
    """Where the other services are, and how to speak to them."""

    toolchain: str
    hardening: str
    intention: str
    telemetry: str
    tls: ClientTls | None = None


def client_tls(ca: Path | None, certificate: Path | None, key: Path | None) -> ClientTls | None:
    """How to speak TLS to the other services; None = plaintext."""
    return ClientTls(ca=ca, certificate=certificate, key=key) if ca or certificate else None


@dataclass(frozen=True, slots=True)
class Detection:
    """The projects of a worktree.

    Attributes:
        response: the toolchain's own answer, for those who need all of it.
    """

    projects: tuple[DetectedProject, ...]
    warnings: tuple[str, ...]
    response: convert.DetectResponse


@dataclass(frozen=True, slots=True)
class Context:
    """What an agent is told."""

    text: str
    source_sha256: str


@dataclass(frozen=True, slots=True)
class DriftJudgement:
    """What the intention service says of one step; verdicts are ``on_goal``, ``watch``, ``drift``, ...

    ``z`` is None without a background.
    """

    step_verdict: str
    run_verdict: str
    z: float | None
    shared_terms: tuple[str, ...]
    unexplained_terms: tuple[str, ...]
    off_goal_files: tuple[str, ...]
    advisories: tuple[str, ...]


@dataclass(slots=True)
class Peers:
    """The other services on behalf of one tenant: what is recorded is that tenant's, and nothing else is read.

    Attributes:
        signing_key: of the token that says for whom is asked; empty = none is sent.
        tenant: for whom.
    """

    addresses: PeerAddresses
    signing_key: bytes = b""
    tenant: str = DEFAULT_TENANT
    _clients: dict[tuple[str, str], AsyncClient] = field(default_factory=dict)
    _spec: convert.SnapshotSpec | None = None

    def of(self, tenant: str) -> Peers:
        """The same services for another tenant; connections are shared, and closed with this one."""
        return replace(self, tenant=tenant)

    async def close(self) -> None:
        """Close every connection."""
        async with AsyncExitStack() as stack:
            for client in self._clients.values():
                stack.push_async_callback(client.close)
        self._clients.clear()

    def _client(self, service: str) -> AsyncClient:
        address: str = getattr(self.addresses, service)
        if not address:
            raise Unavailable(
                f"No {service} service is known: it is not served here, and no address is set.",
                reason="SERVICE_UNKNOWN",
                remedy=f"Set AUTOPACK_ORCHESTRATOR_{service.upper()}_ADDRESS.",
                metadata={"service": service},
            )
        key = (address, self.tenant)
        if key not in self._clients:
            self._clients[key] = connect(address, token=self._token(address), tls=self.addresses.tls)
        return self._clients[key]

    def _token(self, address: str) -> Callable[[], str] | None:
        # Whoever owns the socket is the default tenant already.
        if not self.signing_key or (address.startswith("unix:") and self.tenant == DEFAULT_TENANT):
            return None
        return partial(mint_service_token, self.signing_key, "orchestrator", self.tenant)

    async def detect(self, workspace: Path) -> Detection:
        """The projects of a worktree, by snapshot: the toolchain service may be on another host."""
        service = self._client("toolchain").toolchain
        if self._spec is None:
            self._spec = await service.GetSnapshotSpec(convert.snapshot_spec_request(), timeout=CALL_TIMEOUT_S)
        files = await asyncio.to_thread(snapshot, workspace, self._spec)
        response = await service.Detect(convert.detect_request(files), timeout=CALL_TIMEOUT_S)
        return Detection(convert.projects(response), tuple(w.message for w in response.warnings), response)

    async def build_context(self, intention: Intention) -> Context:
        """The text to give to an agent."""
        service = self._client("intention").intention
        response = await service.BuildContext(convert.context_request(intention), timeout=CALL_TIMEOUT_S)
        return Context(response.text, response.source_sha256)

    async def put_profile(self, profile: Profile) -> str:
        """Store what a repository usually talks about; returns its id."""
        service = self._client("intention").intention
        response = await service.PutProfile(convert.profile_request(profile), timeout=CALL_TIMEOUT_S)
        return response.profile_id

    async def check_drift(
        self,
        intention: Intention,
        profile_id: str,
        evidence: Evidence,
        *,
        note: str,
        earlier_z: Sequence[float],
        final: bool,
    ) -> DriftJudgement:
        """Judge one step."""
        service = self._client("intention").intention
        request = convert.drift_request(intention, profile_id, evidence, note, earlier_z, final)
        response = await service.CheckDrift(request, timeout=CALL_TIMEOUT_S)
        return DriftJudgement(
            step_verdict=convert.verdict_name(response.step_verdict),
            run_verdict=convert.verdict_name(response.run_verdict),
            z=convert.finite(response.z),
            shared_terms=tuple(response.shared_terms),
            unexplained_terms=tuple(response.unexplained_terms),
            off_goal_files=tuple(file.path for file in response.off_goal_files),
            advisories=tuple(map(convert.advisory_name, response.advisories)),
        )

    async def diagnose(self, failure: convert.Failure) -> convert.DiagnoseResponse:
        """Why a command failed, with fixes that :mod:`autopack_client.mitigate` can apply."""
        service = self._client("hardening").hardening
        return await service.Diagnose(convert.diagnose_request(failure), timeout=CALL_TIMEOUT_S)

    async def record_outcome(self, outcome_id: str, pattern_id: str, outcome: str, run_id: str) -> None:
        """Record whether a mitigation helped; recording it again is not counted."""
        service = self._client("hardening").hardening
        request = convert.outcome_request(outcome_id, pattern_id, outcome, run_id)
        await service.RecordOutcome(request, timeout=CALL_TIMEOUT_S)

    async def record_phase(self, record: PhaseRecord) -> None:
        """Record one phase; recording it again replaces it."""
        service = self._client("telemetry").telemetry
        await service.RecordPhases(convert.phase_request(record), timeout=CALL_TIMEOUT_S)

    async def record_run(self, record: RunRecord) -> None:
        """Record what is known of a run."""
        service = self._client("telemetry").telemetry
        await service.RecordRuns(convert.run_request(record), timeout=CALL_TIMEOUT_S)

    async def reporting(self, run_id: str, phase_id: str, agent: str) -> Reporting:
        """What makes ``agent`` report what it uses, for this run and phase."""
        service = self._client("telemetry").telemetry
        request = convert.agent_environment_request(run_id, phase_id, agent)
        return convert.reporting(agent, await service.GetAgentEnvironment(request, timeout=CALL_TIMEOUT_S))

    async def import_usage(self, run_id: str, phase_id: str, file_format: int, content: bytes) -> tuple[str, ...]:
        """Record what the file of an agent says; returns the warnings."""
        service = self._client("telemetry").telemetry
        request = convert.import_request(run_id, phase_id, file_format, content)
        return tuple((await service.ImportUsage(request, timeout=CALL_TIMEOUT_S)).warnings)

    async def usage(self, run_id: str) -> Usage:
        """What a run has used so far. Nothing recorded yet is nothing used."""
        service = self._client("telemetry").telemetry
        try:
            response = await service.GetRunSummary(convert.summary_request(run_id), timeout=CALL_TIMEOUT_S)
        except NotFound:
            return Usage()
        return Usage(convert.total_tokens(response.tokens), response.cost_microusd)

    async def estimate(self, run_id: str) -> Estimate:
        """What one doctor call of this run would have cost."""
        service = self._client("telemetry").telemetry
        response = await service.EstimateAvoidedTokens(convert.estimate_request(run_id), timeout=CALL_TIMEOUT_S)
        return convert.estimate(response.estimate)
