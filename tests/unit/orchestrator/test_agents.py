"""What is known about agents: complete, and overload told from other failures by what their programs print."""

from __future__ import annotations

import pytest
import re2
from autopack_orchestrator.adapters.agents import known_agents
from autopack_orchestrator.core.agents import GENERIC, OVERLOAD_TAIL_BYTES, Agent, overloaded
from autopack_orchestrator.core.checks import check_batch
from autopack_orchestrator.core.model import AgentPreset, BatchSpec, Intention, RunSpec

#: The end of a log when the provider answers 429 or 529, and the exit code. For claude, codex and gemini shortened from
#: what the programs printed; for the others written from the names of the exceptions that they report.
TURNED_AWAY = {
    "claude": (1, "API Error: Repeated 529 Overloaded errors. The API is at capacity - this is usually temporary."),
    "codex": (1, "ERROR: exceeded retry limit, last status: 429 Too Many Requests\n"),
    "gemini": (1, "Error when talking to Gemini API RetryableQuotaError: overloaded\n  status: 429\n}"),
    "mini-swe-agent": (1, "litellm.exceptions.RateLimitError: litellm.RateLimitError: RateLimitError: Overloaded"),
    "aider": (0, "litellm.RateLimitError: RateLimitError: OpenAIException - Overloaded\nYou are rate limited."),
    "openhands": (0, "openhands.sdk.llm.exceptions.types.LLMRateLimitError: litellm.RateLimitError: Overloaded"),
    "generic": (1, '429 Too Many Requests {"error": {"type": "overloaded_error"}}'),
}  # fmt: skip
OTHER_FAILURES = (
    "",
    "Error: 429 tests failed",
    "FAILED tests/test_limits.py::test_status_503 - assert 503 == 200",
    "Invalid API key. Please run /login",
    "API Error: 401 authentication_error",
    "ERROR: unexpected status 401 Unauthorized",
    "litellm.AuthenticationError: AuthenticationError: OpenAIException - bad key",
)


@pytest.mark.parametrize("name", TURNED_AWAY)
def test_an_overloaded_provider_is_told_from_other_failures(name: str) -> None:
    agent, (code, said) = known_agents()[name], TURNED_AWAY[name]
    assert overloaded(agent, b"working\n" + said.encode(), code)
    for text in OTHER_FAILURES:
        assert not overloaded(agent, text.encode(), 1), text


def test_every_agent_with_patterns_is_tested_here() -> None:
    assert set(TURNED_AWAY) == set(known_agents())


def test_an_overload_that_was_got_over_counts_no_more() -> None:
    agent, (code, said) = known_agents()["codex"], TURNED_AWAY["codex"]
    assert not overloaded(agent, said.encode() + b"\n" + b"x" * OVERLOAD_TAIL_BYTES, code)
    assert not overloaded(agent, said.encode(), 0)
    assert not overloaded(agent, said.encode(), None)


def test_a_log_that_is_no_text_is_searched_too() -> None:
    assert overloaded(known_agents()["codex"], b"\xff\xfe\0" + TURNED_AWAY["codex"][1].encode(), 1)
    assert not overloaded(Agent(title="x", command=("x",)), b"\xff", 1)


@pytest.mark.parametrize("name", sorted(known_agents()))
def test_what_is_said_of_an_agent_is_complete(name: str) -> None:
    agent = known_agents()[name]
    assert agent.title
    assert agent.prompt
    assert agent.headless
    assert agent.source
    assert agent.note
    assert 0 in agent.exit_codes
    assert agent.overload_patterns
    assert all(re2.compile(pattern) for pattern in agent.overload_patterns)
    assert agent.verified != bool(agent.reason)
    assert agent.version or name == GENERIC
    placeholders = " ".join(agent.command)
    assert name == GENERIC or "{context" in placeholders


def test_the_generic_agent_needs_words() -> None:
    def problems(*words: str) -> list[str]:
        run = RunSpec(name="one", intention=Intention(title="x"), agent=AgentPreset(GENERIC, words))
        found = check_batch(
            BatchSpec(path="/r", runs=(run,)), agents=frozenset(known_agents()), passable_env=frozenset()
        )
        return [item.field for item in found]

    assert problems() == ["runs[0].agent.arguments"]
    assert problems("my-agent", "{context}") == []
