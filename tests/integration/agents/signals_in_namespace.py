"""One agent with a telemetry service, in a network namespace whose only address is loopback; started by the tests.

    python signals_in_namespace.py DIRECTORY REPOSITORY AGENT PROGRAMS HOME PROTOCOL SIGNAL

PROTOCOL is http or grpc. SIGNAL is empty for what GetAgentEnvironment says, or the only signal that the agent sends.
Prints what telemetry knows of the run, and what the model's endpoint said that it used, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from autopack_api.telemetry.v1 import agents_pb2
from autopack_client import connect
from autopack_kit.auth import Authenticator, ensure_signing_key, mint_service_token
from autopack_kit.bind import Bind
from autopack_kit.kit_settings import KitSettings
from autopack_kit.server import ServerOptions
from autopack_kit.settings import load
from autopack_kit.testing import running
from autopack_orchestrator.adapters.agents import known_agents
from autopack_telemetry import create
from autopack_telemetry.settings import TelemetrySettings

from tests.integration.agents.in_namespace import EDIT, arguments, configure, environment, loopback_up, recorded_by
from tests.integration.agents.model_server import Call, ModelServer, Say, serve_model

RUN = "batch-1.one"
GOAL = "Add a subtract function to the calculator"
TIMEOUT_S = 200.0  # hang protection
_EXPORTERS = ("OTEL_LOGS_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_TRACES_EXPORTER")


def only(agent: str, signal: str, told: agents_pb2.GetAgentEnvironmentResponse) -> None:
    """Makes the agent send this signal alone."""
    chosen = {"log": _EXPORTERS[0], "metric": _EXPORTERS[1], "span": _EXPORTERS[2]}[signal]
    if agent == "claude":
        told.env.update({name: "otlp" if name == chosen else "none" for name in _EXPORTERS})
        told.env["CLAUDE_CODE_ENHANCED_TELEMETRY_BETA"] = "1"
    elif agent == "codex":
        settings = {"log": "exporter", "metric": "metrics_exporter", "span": "trace_exporter"}
        paths = {"log": "logs", "metric": "metrics", "span": "traces"}
        (exporter,) = (word for word in told.arguments if word.startswith("otel.exporter="))
        words = ["-c", 'otel.exporter="none"', "-c", 'otel.trace_exporter="none"', "-c", 'otel.metrics_exporter="none"']
        value = exporter.removeprefix("otel.exporter=").replace("/v1/logs", f"/v1/{paths[signal]}")
        del told.arguments[:]
        told.arguments.extend([*words, "-c", f"otel.{settings[signal]}={value}"])


async def carry_out(directory: Path, repo: Path, agent: str, protocol: str, signal: str, model: ModelServer) -> Any:
    """Run the agent beside the service."""
    kit = load(KitSettings, {"AUTOPACK_DATA_DIR": str(directory)})
    key = ensure_signing_key(kit.signing_key_path)
    http = Bind.parse("127.0.0.1:0") if protocol == "http" else None
    options = ServerOptions(authenticator=Authenticator(signing_key=key), http_bind=http)
    token = mint_service_token(key, "test", "default")
    service = create(TelemetrySettings(database_url=f"sqlite:///{directory}/telemetry.sqlite3"), kit)
    async with (
        running(service, bind=Bind.parse("127.0.0.1:0"), options=options, token=token) as target,
        connect(target.address, token=token) as client,
    ):
        request = agents_pb2.GetAgentEnvironmentRequest(run_id=RUN, phase_id="1", agent=agent)
        told = await client.telemetry.GetAgentEnvironment(request)
        if signal:
            only(agent, signal, told)
        preset = known_agents()[agent]
        words = [*preset.command, *told.arguments, *arguments(agent, model)]
        process = await asyncio.create_subprocess_exec(
            *(word.replace("{context}", GOAL) for word in words),
            cwd=repo,
            env={**os.environ, **preset.env, **told.env},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
        report = {"exit_code": process.returncode, "log": output.decode(errors="replace")[-4000:]}
        return report | {"told": await recorded_by(client, RUN)}


def main() -> None:
    """Carry out and report."""
    directory, repo, programs, home = (Path(sys.argv[number]) for number in (1, 2, 4, 5))
    agent, protocol, signal = sys.argv[3], sys.argv[6], sys.argv[7]
    loopback_up()
    with serve_model(Call(EDIT), Say("Done.")) as model:
        configure(agent, home)
        (home / ".codex").mkdir()
        path = f"{programs}:{os.environ['PATH']}"
        os.environ.update(environment(agent, model), HOME=str(home), PATH=path, CODEX_HOME=str(home / ".codex"))
        started = time.monotonic()
        report = asyncio.run(carry_out(directory, repo, agent, protocol, signal, model))
        report["seconds"] = time.monotonic() - started
        report["used"] = model.total()
        report["answers"] = len(model.used)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
