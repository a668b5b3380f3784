"""The file of mappings: what is wrong in it is named by entry and key."""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pytest
from autopack_kit.errors import InvalidArgument
from autopack_telemetry.core.otlp.mapping import parse_mappings

DOCUMENT = tomllib.loads((files("autopack_telemetry") / "data" / "mappings.toml").read_text())


def change(edit: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    document = copy.deepcopy(DOCUMENT)
    edit(document)
    return document


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda d: d["events"][0].update(sesion=["x"]), "events[claude-log].sesion: is not a key of this table"),
        (lambda d: d["events"][0].pop("names"), "events[claude-log].names: must be given, or any_name"),
        (lambda d: d["events"][0].update(any_name=True), "events[claude-log].names: must be given, or any_name"),
        (lambda d: d["events"][0].update(signal="metric"), "events[claude-log].signal: must be one of log, span"),
        (
            lambda d: d["events"][0].update(agent="clod"),
            "events[claude-log].agent: 'clod' must be one of claude, codex",
        ),
        (lambda d: d["events"][0].pop("input_includes_cache"), "events[claude-log].input_includes_cache: is missing"),
        (lambda d: d["events"][0]["tokens"].update(total=["x"]), "events[claude-log].tokens.total: is not a key"),
        (lambda d: d["events"][0].pop("tokens"), "events[claude-log].tokens: must name attributes"),
        (lambda d: d["events"][0].update(model="model"), "events[claude-log].model: must be a list"),
        (lambda d: d["events"][0].update(version=""), "events[claude-log].version: must name the version"),
        (lambda d: d["events"][0].update(when={"a": "b"}), "events[claude-log].when.a: must be a list of strings"),
        (lambda d: d["events"][1].update(id="claude-log"), "mappings.claude-log: is the id of two entries"),
        (lambda d: d["events"][1].update(names=["claude_code.api_request"]), "as claude-log has"),
        (
            lambda d: d["metrics"][0]["types"].update(x="total"),
            "metrics[claude-metric].types.x: 'total' must be one of",
        ),
        (
            lambda d: d["metrics"][0].update(column="output"),
            "metrics[claude-metric].type: must be given with types, or",
        ),
        (lambda d: d["metrics"][0].update(temporality="gauge"), "metrics[claude-metric].temporality: must be delta or"),
        (lambda d: d["agents"]["codex"]["services"].append("gemini-cli"), "'gemini-cli' is also one of codex"),
        (lambda d: d["agents"]["codex"].pop("source"), "agents.codex.source: is missing"),
        (lambda d: d.update(event=[]), "mappings.event: is not a key of this table"),
    ],
)
def test_a_mistake_is_named(edit: Callable[[dict[str, Any]], Any], expected: str) -> None:
    with pytest.raises(InvalidArgument, match=re.escape(expected)) as caught:
        parse_mappings(change(edit))
    assert caught.value.reason == "MAPPING_INVALID"


def test_every_entry_says_whether_it_was_verified_and_with_what() -> None:
    entries = parse_mappings(DOCUMENT).entries
    assert len(entries) == len(DOCUMENT["events"]) + len(DOCUMENT["metrics"])
    assert all(bool(entry.version) == entry.verified for entry in entries)


def test_every_agent_has_a_signal_that_counts_single_calls() -> None:
    found = parse_mappings(DOCUMENT)
    assert all({"log", "span"} & {signal.value for signal in found.signals[name]} for name in found.agents)
