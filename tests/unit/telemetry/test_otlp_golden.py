"""Each agent and signal as it is sent, and the rows that it must become; in JSON and in protobuf."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from autopack_telemetry import Tokens
from autopack_telemetry.core.otlp.batch import Batch

from .otlp import GOLDEN, as_row, map_json, map_protobuf, mappings

NAMES = sorted(path.name.removesuffix(".otlp.json") for path in GOLDEN.glob("*.otlp.json"))
Mapper = Callable[[Mapping[str, Any]], Batch]


def read(name: str) -> Any:
    return json.loads((GOLDEN / name).read_text())


@pytest.mark.parametrize("mapper", [map_json, map_protobuf])
@pytest.mark.parametrize("name", NAMES)
def test_rows_are_those_of_the_file(name: str, mapper: Mapper) -> None:
    expected = read(f"{name}.rows.json")
    batch = mapper(read(f"{name}.otlp.json"))
    with_id = "usage_id" in expected[0]  # those of metrics are hashes
    assert [as_row(record, usage_id=with_id) for record in batch.records] == expected
    assert (batch.rejected, batch.message()) == (0, "")


@pytest.mark.parametrize("name", NAMES)
def test_both_encodings_give_the_same_records(name: str) -> None:
    document = read(f"{name}.otlp.json")
    assert map_json(document).records == map_protobuf(document).records


@pytest.mark.parametrize("name", NAMES)
def test_nothing_that_is_not_listed_gets_into_a_record(name: str) -> None:
    text = (GOLDEN / f"{name}.otlp.json").read_text()
    assert "CANARY" not in repr(map_json(json.loads(text)).records)


@pytest.mark.parametrize("agent", ["claude", "codex", "gemini"])
def test_signals_of_one_session_agree(agent: str) -> None:
    """What a call used is the same whichever signal tells it: else a comparison of signals would cry wolf."""
    totals = set()
    for signal in ("log", "metric"):
        records = map_json(read(f"{agent}-{signal}.otlp.json")).records
        if agent == "codex" and signal == "log":
            records = records[:1]  # the metric tells of one turn
        totals.add(sum((record.tokens for record in records), Tokens()))
    assert len(totals) == 1


def test_every_entry_has_a_golden_file() -> None:
    used = set()
    for name in NAMES:
        text = (GOLDEN / f"{name}.otlp.json").read_text()
        used |= {entry.id for entry in mappings().entries if entry.names and any(item in text for item in entry.names)}
        used |= {entry.id for entry in mappings().entries if not entry.names and entry.id == name}
    assert used == {entry.id for entry in mappings().entries}


#: What a model's endpoint told the recorded agents that it used: input, read from and written to a cache,
#: output, and of that reasoning. Gemini's knows no writing to a cache, Anthropic's does not tell reasoning apart.
ENDPOINT = {
    "claude": (203, 4030, 10_600, 809, 0),
    "codex": (203, 4030, 10_600, 809, 63),
    "gemini": (203, 4030, 0, 809, 63),
}
RECORDED = {f"{entry.id}-{entry.version}": entry.agent for entry in mappings().entries if entry.verified}


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_what_is_called_verified_gives_what_the_endpoint_reported(name: str) -> None:
    """From data that the agent itself sent, of that version."""
    records = map_protobuf(read(f"{name}.otlp.json")).records
    total = sum((record.tokens for record in records), Tokens())
    agent = RECORDED[name]
    assert agent is not None
    assert (total.input, total.cache_read, total.cache_write, total.output, total.reasoning) == ENDPOINT[agent.name]
    assert {(record.run_id, record.phase_id) for record in records} == {("run-1", "1.1.2.agent")}
