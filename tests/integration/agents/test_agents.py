"""The presets of ``data/agents.toml``, proven: the real agents, each through a whole run, against a scripted model.

Everything happens in a network namespace with loopback alone: what an agent wants of the internet it does not get.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from autopack_orchestrator.adapters.agents import known_agents
from autopack_telemetry.adapters.agents import known_agents as reporting_agents

from tests.integration.agents import shop
from tests.service.orchestrator.bench import git, repository

DRIVER = Path(__file__).with_name("in_namespace.py")
SIGNAL_DRIVER = Path(__file__).with_name("signals_in_namespace.py")
RUN_TIMEOUT_S = 420.0  # agents start in seconds; hang protection
NAMESPACES = (["unshare", "--net"], ["unshare", "--map-root-user", "--net"])
PROVEN = sorted(name for name, agent in known_agents().items() if agent.verified)

# Half a gigabyte is downloaded for each of the real ones.
EACH = [pytest.param(name, marks=[] if name == "generic" else [pytest.mark.long]) for name in PROVEN]

# The others ask an overloaded provider again for longer than a test may take; their last words are in the unit tests.
GIVING_UP = [param for param in EACH if param.values[0] in ("claude", "codex", "gemini", "generic")]

pytestmark = pytest.mark.timeout(1500)  # with their installation


@pytest.fixture(scope="module")
def namespace() -> list[str]:
    """The command that makes a network namespace, as root or not."""
    for words in NAMESPACES:
        if subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0:
            return words
    pytest.skip("network namespaces cannot be made here (unshare)")


@pytest.fixture
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=shop.homes(), ignore_cleanup_errors=True) as directory:
        yield Path(directory)


def carry_out(namespace: list[str], tmp_path: Path, home: Path, agent: str, status: int) -> dict[str, Any]:
    """One run of an agent whose provider answers with ``status``."""
    programs = shop.installed(agent) if agent != "generic" else home
    repo = repository(tmp_path / "calc")
    return drive(namespace, DRIVER, str(tmp_path), str(repo), agent, str(programs), str(home), str(status))


def drive(namespace: list[str], driver: Path, *words: str) -> dict[str, Any]:
    """What a driver reports that was started in a network namespace."""
    done = subprocess.run(
        [*namespace, sys.executable, str(driver), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=RUN_TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


@pytest.mark.parametrize("agent", EACH)
def test_an_agent_that_is_called_verified_makes_its_change_and_nothing_else(
    namespace: list[str], tmp_path: Path, home: Path, agent: str
) -> None:
    report = carry_out(namespace, tmp_path, home, agent, 200)
    assert report["state"] == "RUN_STATE_SUCCEEDED", (report["error"], report["log"])
    assert report["exit_code"] == 0
    assert report["changes"] == ["src/calc.py"]
    assert "def sub(a, b):" in git(tmp_path / "calc", "show", f"{report['branch']}:src/calc.py")
    # The context reached the model.
    assert "Add a subtract function to the calculator" in report["prompts"]
    assert report["warnings"] == []
    check_usage(agent, report["told"], report["used"], report["answers"])


def check_usage(agent: str, told: dict[str, Any], used: dict[str, int], answers: int) -> None:
    """What telemetry keeps of the run is what the model's endpoint said that its answers used, by every signal."""
    known = reporting_agents()[agent]
    assert (told["run"]["agent"], told["run"]["task"]) == (agent, "one")
    assert told["run"]["version"] == known.version
    assert (told["warnings"], told["unattributed"]) == ([], 0)
    if known.verified:
        assert told["tokens"] == used
        assert told["calls"] == answers
        (session,) = told["signals"]
        assert session["agent"] == agent
        assert session["counts"] == f"USAGE_SIGNAL_{known.signals[0].name}"
        for signal in known.signals:
            assert session[f"USAGE_SIGNAL_{signal.name}"] == used
    elif known.usage_file:  # what its reason says
        assert 0 < told["tokens"]["output"] < used["output"]
        assert told["calls"] < answers
    else:
        assert told["calls"] == 0


SIGNALS = [
    *((agent, protocol, "") for agent in ("claude", "codex", "gemini") for protocol in ("http", "grpc")),
    *(("claude", "http", signal) for signal in ("log", "metric", "span")),
    *(("codex", "http", signal) for signal in ("metric", "span")),
]


@pytest.mark.long
@pytest.mark.parametrize(("agent", "protocol", "signal"), SIGNALS)
def test_each_signal_of_an_agent_tells_what_the_endpoint_reported(
    namespace: list[str], tmp_path: Path, home: Path, agent: str, protocol: str, signal: str
) -> None:
    """Over HTTP and over gRPC; a signal that counts only where no other comes, is the only one that is sent."""
    words = (agent, str(shop.installed(agent)), str(home), protocol, signal)
    report = drive(namespace, SIGNAL_DRIVER, str(tmp_path), str(repository(tmp_path / "calc")), *words)
    assert report["exit_code"] == 0, report["log"]
    told = report["told"]
    assert told["tokens"] == report["used"], told
    assert (told["warnings"], told["unattributed"]) == ([], 0)
    expected = signal.upper() or reporting_agents()[agent].signals[0].name
    assert {item["counts"] for item in told["signals"]} == {f"USAGE_SIGNAL_{expected}"}


@pytest.mark.parametrize("agent", GIVING_UP)
def test_an_overloaded_provider_is_recognised_from_what_the_agent_says(
    namespace: list[str], tmp_path: Path, home: Path, agent: str
) -> None:
    report = carry_out(namespace, tmp_path, home, agent, 529 if agent == "claude" else 429)
    assert len(report["overloaded"]) == 1, report["log"]
    assert agent in report["overloaded"][0]
    assert report["asked"] >= 1


@pytest.mark.parametrize("agent", [name for name in PROVEN if name != "generic"])
def test_the_version_of_a_preset_is_the_one_that_is_pinned_here(agent: str) -> None:
    version = known_agents()[agent].version
    pins = "".join(path.read_text() for path in shop.PINS.iterdir())
    assert f'"{version}"' in pins or f"=={version}\n" in pins
    assert reporting_agents()[agent].version == version
