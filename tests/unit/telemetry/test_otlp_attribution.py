"""Whose usage an item is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from autopack_telemetry import ModelClass, UsageRole
from autopack_telemetry.core.otlp.batch import Batch, Sender

from .otlp import NOW, attributes, log, map_json

CALL = {"event.name": "claude_code.api_request", "session.id": "s", "input_tokens": 5, "output_tokens": 7}
RUN, PHASE = "autopack.run.id", "autopack.phase.id"


def send(
    *records: Mapping[str, Any],
    resource: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    bound: str | None = None,
) -> Batch:
    items = [CALL | {"event.sequence": index} | dict(record) for index, record in enumerate(records or [{}])]
    return map_json(log(*items, resource=resource), Sender(NOW, headers or {}, bound))


@pytest.mark.parametrize(
    ("record", "resource", "headers", "expected"),
    [
        ({RUN: "a", PHASE: "p"}, {RUN: "b", PHASE: "q"}, {RUN: "c", PHASE: "r"}, ("a", "p")),
        ({}, {RUN: "b", PHASE: "q"}, {RUN: "c", PHASE: "r"}, ("b", "q")),
        ({}, {}, {RUN: "c", PHASE: "r"}, ("c", "r")),
        ({}, {}, {}, ("", "")),
        ({RUN: ""}, {}, {RUN: "c"}, ("c", "")),
        ({RUN: "a"}, {RUN: "a", PHASE: "q"}, {}, ("a", "q")),
        ({RUN: "a"}, {PHASE: "q"}, {}, ("a", "q")),
        ({RUN: "a"}, {RUN: "b", PHASE: "q"}, {}, ("a", "")),  # a phase of another run
        ({PHASE: "p"}, {}, {RUN: "c", PHASE: "r"}, ("c", "p")),
    ],
)
def test_the_nearest_says(
    record: Mapping[str, str], resource: Mapping[str, str], headers: Mapping[str, str], expected: tuple[str, str]
) -> None:
    batch = send(record, resource=resource, headers=headers)
    assert [(found.run_id, found.phase_id) for found in batch.records] == [expected]
    assert batch.message() == ""


@pytest.mark.parametrize("run_id", ["my run", "ü", "a/b", "x" * 129, "../etc", "a\n", 5])
def test_an_impossible_run_is_no_run_and_the_sender_is_told(run_id: Any) -> None:
    batch = send({RUN: run_id}, resource={RUN: "b"})
    assert [record.run_id for record in batch.records] == [""]  # whose else it might be would be a guess
    assert (batch.rejected, "autopack.run.id must be 1 to 128" in batch.message()) == (0, True)
    assert str(run_id) not in batch.message() or run_id == 5


def test_the_token_of_a_run_gives_it_to_what_names_none_and_refuses_others() -> None:
    batch = send({}, {RUN: "mine"}, {RUN: "other"}, {RUN: "not a run"}, {RUN: "mine", PHASE: "p"}, bound="mine")
    assert [(record.run_id, record.phase_id) for record in batch.records] == [("mine", "")] * 3 + [("mine", "p")]
    assert batch.rejected == 1
    assert "1 not recorded, claude-log: autopack.run.id names a run that the token is not for" in batch.message()


def test_a_resource_or_header_of_another_run_is_refused_too() -> None:
    assert send(resource={RUN: "other"}, bound="mine").rejected == 1
    assert send(headers={RUN: "other"}, bound="mine").rejected == 1


def test_role_and_class_of_model() -> None:
    batch = send({"autopack.role": "doctor", "autopack.model.class": "Strong"}, {"autopack.role": "nurse"})
    assert [(record.role, record.model_class) for record in batch.records] == [
        (UsageRole.DOCTOR, ModelClass.STRONG),
        (UsageRole.AGENT, ModelClass.UNKNOWN),
    ]
    assert "autopack.role must be one of agent, doctor; it was not used" in batch.message()
    assert send(headers={"autopack.role": "doctor"}).records[0].role is UsageRole.DOCTOR


def test_a_phase_that_cannot_be_stored_is_left_out() -> None:
    batch = send({RUN: "a", PHASE: "p" * 129})
    assert [(record.run_id, record.phase_id) for record in batch.records] == [("a", "")]
    assert "autopack.phase.id must have at most 128 characters; it was not used" in batch.message()


def test_two_agents_with_one_session_id_stay_apart() -> None:
    claude = {"event.name": "claude_code.api_request", "session.id": "1", "input_tokens": 1, "event.sequence": 1}
    codex = {
        "event.name": "codex.sse_event",
        "event.kind": "response.completed",
        "conversation.id": "1",
        "input_token_count": 1,
    }
    records = map_json(log(claude, codex)).records
    assert {record.agent for record in records} == {"claude", "codex"}
    assert len({record.usage_id for record in records}) == 2


def test_the_session_may_stand_on_the_resource() -> None:
    call = {key: value for key, value in CALL.items() if key != "session.id"}
    assert map_json(log(call, resource={"session.id": "from-resource"})).records[0].session_id == "from-resource"


@pytest.mark.parametrize(
    ("service", "agent"), [("my-agent", "my-agent"), (None, "generic"), ("x" * 200, "generic"), (5, "5")]
)
def test_a_program_is_known_by_its_service(service: Any, agent: str) -> None:
    resource = {} if service is None else {"service.name": service}
    call = {"event.name": "gen_ai.client.inference.operation.details", "gen_ai.usage.input_tokens": 1}
    assert [record.agent for record in map_json(log(call, resource=resource)).records] == [agent]


def test_conventions_of_a_known_agent_are_its_own_where_it_has_no_entry() -> None:
    span = {
        "name": "llm_call",
        "endTimeUnixNano": str(NOW * 1000),
        "attributes": attributes({"gen_ai.usage.input_tokens": 3, "gen_ai.conversation.id": "g"}),
    }
    resource = {"attributes": attributes({"service.name": "gemini-cli"})}
    batch = map_json({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]})
    assert [(record.agent, record.provider, record.session_id) for record in batch.records] == [
        ("gemini", "google", "g")
    ]
