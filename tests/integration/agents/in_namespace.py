"""One batch with one agent, in a network namespace whose only address is loopback; started by the tests.

    python in_namespace.py DIRECTORY REPOSITORY AGENT PROGRAMS HOME STATUS

Prints what became of the run as JSON. STATUS is what the model provider answers: 200, or that it is overloaded.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import socket
import struct
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from autopack_api.common.v1.common_pb2 import TokenUsage
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_api.orchestrator.v1.batch_pb2 import AgentPreset
from autopack_api.telemetry.v1 import agents_pb2, telemetry_pb2
from autopack_client import AsyncClient
from google.protobuf.duration_pb2 import Duration

from tests.integration.agents.model_server import KINDS, Call, ModelServer, Say, Turn, serve_model
from tests.service.orchestrator.bench import argv, bench, run, shell

EDIT = "printf '\\ndef sub(a, b):\\n    return a - b\\n' >> src/calc.py"
BLOCK = """I add it.

src/calc.py
```python
<<<<<<< SEARCH
    return a + b
=======
    return a + b


def sub(a, b):
    return a - b
>>>>>>> REPLACE
```
"""
SCRIPTS: dict[str, tuple[Turn, ...]] = {
    "aider": (Say(BLOCK),),  # it asks for blocks of text, not for tools
    "mini-swe-agent": (Call(EDIT), Call("echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT")),
}
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1


def loopback_up() -> None:
    """What ``ip link set lo up`` does."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 0)
        (flags,) = struct.unpack_from("16xh", fcntl.ioctl(control, SIOCGIFFLAGS, request))
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def environment(agent: str, model: ModelServer) -> dict[str, str]:
    """What a person would have set in the environment of the orchestrator."""
    url = f"http://127.0.0.1:{model.port}"
    return {
        "claude": {"ANTHROPIC_API_KEY": "test", "ANTHROPIC_BASE_URL": url, "CLAUDE_CODE_MAX_RETRIES": "1"},
        "codex": {"CODEX_API_KEY": "test"},
        "gemini": {"GEMINI_API_KEY": "test", "GOOGLE_GEMINI_BASE_URL": url, "GEMINI_MODEL": "gemini-2.5-flash"},
        "aider": {"OPENAI_API_KEY": "test", "OPENAI_API_BASE": f"{url}/v1", "AIDER_MODEL": "openai/gpt-4o"},
        "mini-swe-agent": {
            "OPENAI_API_KEY": "test",
            "OPENAI_API_BASE": f"{url}/v1",
            "MSWEA_MODEL_NAME": "openai/gpt-4o",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        },
        "openhands": {"LLM_API_KEY": "test", "LLM_BASE_URL": f"{url}/v1", "LLM_MODEL": "openai/gpt-4o"},
        "generic": {"OPENAI_BASE_URL": f"{url}/v1"},
    }[agent]


def arguments(agent: str, model: ModelServer) -> list[str]:
    """What a person would have written behind the agent's name."""
    if agent == "codex":
        provider = f'{{name="scripted",base_url="http://127.0.0.1:{model.port}/v1",env_key="CODEX_API_KEY"}}'
        # A model that it does not know is given plain tools.
        return ["-m", "scripted", "-c", 'model_provider="scripted"', "-c", f"model_providers.scripted={provider}"]
    if agent == "generic":
        return [sys.executable, str(Path(__file__).with_name("small_agent.py")), "{context}"]
    return []


def configure(agent: str, home: Path) -> None:
    """What is set once by hand: Gemini's base URL counts only where a way to log in was chosen."""
    if agent == "gemini":
        (home / ".gemini").mkdir()
        settings = {"security": {"auth": {"selectedType": "gemini-api-key"}}}
        (home / ".gemini" / "settings.json").write_text(json.dumps(settings))


async def carry_out(directory: Path, repo: Path, agent: str, model: ModelServer) -> dict[str, Any]:
    """The run, and what the tests look at."""
    preset = AgentPreset(name=agent, arguments=arguments(agent, model))
    validate = [shell("grep -q 'def sub' src/calc.py"), argv("python3", "-c", "import ast")]
    item = run("one", agent=preset, validate=validate, max_attempts=1, timeout=Duration(seconds=360))
    async with bench(directory, http=True) as stack:
        batch = await stack.submit(repo, item)
        run_id = f"{batch.batch_id}.one"
        overloaded: list[pb.Event] = []
        if model.status == 200:
            await stack.watch(batch.batch_id)
        else:  # it is tried again, for hours if need be
            event = await stack.until(batch.batch_id, pb.EVENT_KIND_WARNING, about="overloaded")
            overloaded.append(event)
            await stack.client.orchestrator.CancelBatch(pb.CancelBatchRequest(batch_id=batch.batch_id))
            await stack.watch(batch.batch_id)
        done = await stack.get(run_id)
        return {
            "state": pb.RunState.Name(done.state),
            "error": f"{done.error.reason} {done.error.message}",
            "changes": [change.path for change in done.changes],
            "exit_code": done.agent_exit_code,
            "branch": done.branch,
            "overloaded": [event.message for event in overloaded],
            "warnings": list(done.warnings),
            "told": await recorded_by(stack.client, run_id),
            "log": (await stack.log(run_id, attempt=1)).decode(errors="replace")[-4000:],
        }


async def recorded_by(client: AsyncClient, run_id: str) -> dict[str, Any]:
    """What telemetry knows of the run: its tokens by kind, its sessions by signal, and the warnings."""
    telemetry = client.telemetry
    summary = await telemetry.GetRunSummary(telemetry_pb2.GetRunSummaryRequest(run_id=run_id))
    sessions = await telemetry.ListSessions(agents_pb2.ListSessionsRequest(run_id=run_id))
    strays = await telemetry.ListSessions(agents_pb2.ListSessionsRequest(unattributed=True))
    return {
        "tokens": counts(summary.tokens),
        "calls": summary.usage_records,
        "warnings": list(summary.warnings),
        "run": {
            "agent": summary.run.agent,
            "version": summary.run.agent_version,
            "task": summary.run.task,
            "outcome": summary.run.outcome,
        },
        "signals": [
            {
                "agent": session.agent,
                "counts": agents_pb2.UsageSignal.Name(session.signal),
                "mismatch": session.mismatch,
                **{agents_pb2.UsageSignal.Name(item.signal): counts(item.tokens) for item in session.reported},
            }
            for session in sessions.sessions
        ],
        "unattributed": len(strays.sessions),
    }


def counts(tokens: TokenUsage) -> dict[str, int]:
    """Tokens by kind."""
    return {kind: getattr(tokens, kind) for kind in KINDS}


def main() -> None:
    """Carry out and report."""
    directory, repo, programs, home = (Path(sys.argv[number]) for number in (1, 2, 4, 5))
    agent, status = sys.argv[3], int(sys.argv[6])
    loopback_up()
    with serve_model(*SCRIPTS.get(agent, (Call(EDIT), Say("Done."))), status=status) as model:
        configure(agent, home)
        path = f"{programs}:{os.environ['PATH']}"
        os.environ.update(environment(agent, model), HOME=str(home), PATH=path, CODEX_HOME=str(home / ".codex"))
        (home / ".codex").mkdir()
        report = asyncio.run(carry_out(directory, repo, agent, model))
        report["used"] = model.total()
        report["answers"] = len(model.used)
        report["asked"] = sum(method == "POST" for method, _, _ in model.requests)
        report["prompts"] = json.dumps([body for _, _, body in model.requests if body])[:2_000_000]
    print(json.dumps(report))


if __name__ == "__main__":
    main()
