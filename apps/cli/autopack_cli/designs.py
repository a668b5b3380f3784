"""The design file of a comparison: YAML or TOML that becomes a ``CompareRunsRequest``, and batches as its arms."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from autopack_api.telemetry.v1 import compare_pb2 as pb
from autopack_kit.errors import InvalidArgument, invalid_field

from autopack_cli.yamlnodes import Problems, compose, read_text

__all__ = ["METRICS", "PROPERTIES", "Design", "read_design"]

METRICS: Mapping[str, int] = {
    name.removeprefix("COMPARISON_METRIC_").lower(): number for name, number in pb.ComparisonMetric.items() if number
}
PROPERTIES: Mapping[str, int] = {
    name.removeprefix("RUN_PROPERTY_").lower(): number for name, number in pb.RunProperty.items() if number
}
MODES: Mapping[str, int] = {"fixed": pb.COMPARISON_MODE_FIXED, "anytime_valid": pb.COMPARISON_MODE_ANYTIME_VALID}
KEYS = (
    "hypothesis", "primary", "mode", "expected_pairs", "confidence", "max_success_drop", "intended_differences",
    "labels", "control", "treatment", "control_batch", "treatment_batch", "pairs",
)  # fmt: skip
PAIR_KEYS = ("task", "control", "treatment")
LABEL_KEYS = ("control", "treatment")


@dataclass(frozen=True, slots=True)
class Design:
    """What a comparison asks for.

    Attributes:
        request: all but the runs of batches.
        control_batches: batches whose runs belong to the control arm too.
    """

    request: pb.CompareRunsRequest
    control_batches: Sequence[str] = field(default_factory=list)
    treatment_batches: Sequence[str] = field(default_factory=list)


def read_design(path: Path) -> Design:
    """The design in a file of at most 1 MiB: TOML if its name ends so, else YAML.

    Raises:
        InvalidArgument: naming the file and the key.
    """
    content = _content(path)
    try:
        return _design(content)
    except InvalidArgument as error:
        violation = error.violations[0]
        raise invalid_field(f"{path.name}: {violation.field}", violation.description) from error


def _content(path: Path) -> Mapping[str, Any]:
    problems = Problems()
    text = read_text(path, problems, kind="a design file")
    content: Any = None
    if text is not None and path.suffix == ".toml":
        try:
            content = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise invalid_field(path.name, f"this is not TOML: {error}") from error
    elif text is not None and text.strip() and compose(text, problems) is not None:
        # Within bounds, as compose() has found; the safe loader builds plain values only.
        try:
            content = yaml.load(text, Loader=yaml.CSafeLoader)
        except yaml.MarkedYAMLError as error:  # a tag of something that is no plain value
            raise invalid_field(path.name, f"this is not plain YAML: {error.problem}") from error
    if problems.items:
        problem = problems.sorted()[0]
        raise invalid_field(path.name, f"line {problem.place.line}: {problem.message}")
    if not isinstance(content, dict):
        raise invalid_field(path.name, f"must be a mapping with some of the keys {', '.join(KEYS)}")
    return content


def _design(content: Mapping[str, Any]) -> Design:
    _known(content, KEYS, "")
    labels = content.get("labels", {})
    if not isinstance(labels, dict):
        raise invalid_field("labels", "must be a mapping of control and treatment")
    _known(labels, LABEL_KEYS, "labels.")
    request = pb.CompareRunsRequest(
        hypothesis=_text(content, "hypothesis"),
        control_label=_text(labels, "control", "labels."),
        treatment_label=_text(labels, "treatment", "labels."),
        control_run_ids=_texts(content, "control"),
        treatment_run_ids=_texts(content, "treatment"),
        expected_pairs=_whole(content, "expected_pairs"),
    )
    if "primary" in content:
        request.primary_metric = pb.ComparisonMetric.ValueType(_choice(content["primary"], METRICS, "primary"))
    if "mode" in content:
        request.mode = pb.ComparisonMode.ValueType(_choice(content["mode"], MODES, "mode"))
    if "confidence" in content:
        request.confidence_level = _number(content, "confidence")
    if "max_success_drop" in content:
        request.guardrail.max_success_drop = _number(content, "max_success_drop")
    request.intended_differences.extend(
        pb.RunProperty.ValueType(_choice(item, PROPERTIES, f"intended_differences[{index}]"))
        for index, item in enumerate(_texts(content, "intended_differences"))
    )
    request.pairs.extend(_pairs(content.get("pairs", [])))
    return Design(request, _texts(content, "control_batch"), _texts(content, "treatment_batch"))


def _pairs(items: Any) -> Iterable[pb.RunPair]:
    if not isinstance(items, list):
        raise invalid_field("pairs", "must be a list")
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            raise invalid_field(f"pairs[{index}]", f"must be a mapping of {', '.join(PAIR_KEYS)}")
        where = f"pairs[{index}]."
        _known(item, PAIR_KEYS, where)
        runs = {f"{arm}_run_ids": _texts(item, arm, where) for arm in LABEL_KEYS}
        yield pb.RunPair(task=_text(item, "task", where), **runs)


def _known(mapping: Mapping[Any, Any], keys: Sequence[str], where: str) -> None:
    for key in mapping:
        if key not in keys:
            near = difflib.get_close_matches(str(key), keys, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"use {', '.join(keys)}"
            raise invalid_field(f"{where}{str(key)[:60]}", f"is no key of a design; {hint}")


def _text(mapping: Mapping[str, Any], key: str, where: str = "") -> str:
    value = mapping.get(key, "")
    if not isinstance(value, str):
        raise invalid_field(f"{where}{key}", f"must be text, not {_kind(value)}; put it in quotes")
    return value


def _texts(mapping: Mapping[str, Any], key: str, where: str = "") -> list[str]:
    """One text or a list of texts."""
    value = mapping.get(key, [])
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise invalid_field(f"{where}{key}", "must be a text or a list of texts; put numbers in quotes")
    return items


def _whole(mapping: Mapping[str, Any], key: str) -> int:
    value = mapping.get(key, 0)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**31:
        raise invalid_field(key, f"must be a whole number, not {_kind(value)}")
    return value


def _number(mapping: Mapping[str, Any], key: str) -> float:
    value = mapping[key]
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise invalid_field(key, f"must be a number, not {_kind(value)}")
    return float(value)


def _choice(value: Any, choices: Mapping[str, int], key: str) -> int:
    number = choices.get(value) if isinstance(value, str) else None
    if number is None:
        what = repr(value[:60]) if isinstance(value, str) else _kind(value)
        raise invalid_field(key, f"{what} is not one of {', '.join(choices)}")
    return number


def _kind(value: Any) -> str:
    """What a value is, never the value: through aliases a small file can stand for a very large one."""
    return {list: "a list", dict: "a mapping", str: "text", bool: "true or false"}.get(
        type(value), type(value).__name__
    )
