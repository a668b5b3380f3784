"""What users ask for: a repository, agents that say what they do, batches of them."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autopack_api.common.v1.common_pb2 import Argv, Command
from autopack_api.intention.v1.intention_pb2 import Intention
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_api.orchestrator.v1.batch_pb2 import PREPARE_NONE, BatchSpec, RunSpec
from autopack_client import AsyncClient

__all__ = ["agent", "batch", "gated", "gated_step", "git", "make_repository", "run", "submit"]

_IDENTITY = ("-c", "user.name=A User", "-c", "user.email=user@example.com", "-c", "init.defaultBranch=main")

# Every line of the witness: what, run, attempt, pid, nanoseconds since the epoch. One short write each, so lines of
# several agents never mix.
_WITNESS = """
say() { echo "$1 $AUTOPACK_RUN_NAME $AUTOPACK_ATTEMPT $$ $(date +%s%N)" >> "$WITNESS"; }
say start
echo "$AUTOPACK_RUN_NAME begins attempt $AUTOPACK_ATTEMPT"
"""
_WORK = """
echo "def made_by_$AUTOPACK_ATTEMPT(): return 1" > "lib/made_$AUTOPACK_RUN_NAME.py"
echo "$AUTOPACK_RUN_NAME is done"
say end
"""


def git(repo: Path, *words: str) -> str:
    """Run git as the user; returns what it printed."""
    done = subprocess.run(["git", *_IDENTITY, *words], cwd=repo, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def make_repository(path: Path) -> None:
    """A small library of the user, with one file that is not committed yet."""
    (path / "lib").mkdir(parents=True)
    git(path, "init", "-q")
    (path / "lib" / "calc.py").write_text("def add(a, b):\n    return a + b\n")
    (path / "README.md").write_text("# A library\n")
    git(path, "add", ".")
    git(path, "commit", "-qm", "Start a library")
    (path / "notes.txt").write_text("mine\n")


def agent(beats: int = 4, pause: str = "0.1") -> str:
    """The script of an agent that works for ``beats`` times ``pause`` seconds."""
    beat = f"i=0; while [ $i -lt {beats} ]; do say beat; echo tick $i; sleep {pause}; i=$((i+1)); done\n"
    return _WITNESS + beat + _WORK


def gated() -> str:
    """The script of an agent that works until the machine's gate exists."""
    return _WITNESS + 'until [ -e "$GATE" ]; do say beat; sleep 0.1; done\n' + _WORK


def gated_step(witness: Path, gate: Path) -> Command:
    """A step that is seen at work as ``step`` until the gate exists."""
    script = _WITNESS.replace("say start", "say step") + 'until [ -e "$GATE" ]; do say step; sleep 0.1; done\n'
    return Command(argv=Argv(words=["sh", "-c", script]), env={"WITNESS": str(witness), "GATE": str(gate)})


def run(name: str, script: str, *, witness: Path, gate: Path | None = None, **fields: Any) -> RunSpec:
    """One run of a scripted agent, validated by a command that looks at what the agent made."""
    environment = {"WITNESS": str(witness), "GATE": str(gate or "")}
    spec = RunSpec(
        name=name,
        intention=Intention(title="Add a function to the library", scope=["lib/**"]),
        command=Command(argv=Argv(words=["sh", "-c", script]), env=environment),
        **{"prepare": PREPARE_NONE, "max_attempts": 5, **fields},
    )
    if not spec.validate:
        made = f'grep -q made_by "lib/made_{name}.py" && echo validated'
        spec.validate.append(Command(argv=Argv(words=["sh", "-c", made])))
    return spec


def batch(repo: Path, runs: Sequence[RunSpec], *, at_once: int = 64) -> BatchSpec:
    """A batch that may use the whole machine."""
    return BatchSpec(path=str(repo), runs=runs, max_concurrent_runs=at_once)


async def submit(client: AsyncClient, spec: BatchSpec, request_id: str = "") -> str:
    """Create a batch; returns its id."""
    response = await client.orchestrator.CreateBatch(pb.CreateBatchRequest(spec=spec, request_id=request_id))
    return response.batch.batch_id
