"""What is shipped as an example or as data is valid."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path

import pytest
from autopack_cli.batchfile import load

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("**/*.yaml"))
AGENTS = tomllib.loads((resources.files("autopack_orchestrator") / "data" / "agents.toml").read_text())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_is_a_batch(path: Path) -> None:
    file = load(path)
    assert file.problems == []
    assert {run.agent.name for run in file.spec.runs if run.HasField("agent")} <= set(AGENTS)


@pytest.mark.parametrize("name", AGENTS)
def test_agent_is_given_what_it_needs_to_know(name: str) -> None:
    agent = AGENTS[name]
    assert agent.keys() >= {
        "title",
        "command",
        "prompt",
        "headless",
        "pass_env",
        "exit_codes",
        "source",
        "verified",
        "note",
    }
    if name != "generic":  # whose whole command is the batch's
        assert sum("{context}" in word or "{context_file}" in word for word in agent["command"]) == 1
    assert agent["pass_env"] == sorted(set(agent["pass_env"]))
