"""The labelled outputs of real tools: no diagnosis where the command succeeded, nothing unsafe automatic."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any

import pytest
from autopack_hardening import (
    Approval,
    DeclaredDependency,
    Ending,
    Failure,
    Outcome,
    Pattern,
    ProjectFacts,
    diagnose,
    patterns,
)
from autopack_kit.commands import Command

CORPUS = Path(os.environ.get("AUTOPACK_CORPORA") or Path(__file__).parents[4] / "shared" / "corpora") / "hardening"

pytestmark = pytest.mark.skipif(
    not (CORPUS / "cases.jsonl").is_file(), reason=f"no labelled outputs in {CORPUS}; set AUTOPACK_CORPORA"
)


TAXONOMY: dict[str, dict[str, Any]] = (
    {item["id"]: item for item in json.loads((CORPUS / "taxonomy.json").read_text("utf-8"))}
    if (CORPUS / "taxonomy.json").is_file()
    else {}
)


def project(ecosystem: str, install: tuple[str, ...], path: str, *names: str) -> ProjectFacts:
    dependencies = tuple(DeclaredDependency(name, path, True) for name in names)
    return ProjectFacts(".", ecosystem, install=(Command.of(*install),), dependencies=dependencies)


FACTS = (
    project("python", ("pip", "install", "-r", "dev.txt"), "dev.txt", "pytest", "pyyaml", "setuptools", "pip"),
    project("node", ("npm", "ci"), "package.json", "express", "jest", "typescript", "eslint", "fsevents"),
)


def cases() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (CORPUS / "cases.jsonl").read_text("utf-8").splitlines()]


def failure(case: dict[str, Any], exit_code: int, facts: tuple[ProjectFacts, ...] = ()) -> Failure:
    line = case["command"] or ""
    try:
        words = shlex.split(line)
    except ValueError:  # a command line with an open quote, as somebody typed it
        words = line.split()
    command = Command.of(*words) if words else None
    return Failure(command, Ending(exit_code=exit_code), case["output"].encode(), facts)


def succeeded(case: dict[str, Any]) -> bool:
    return case["kind"] == "negative" and case.get("exit_code") in (0, None)


def test_no_output_of_a_command_that_succeeded_is_diagnosed() -> None:
    outputs = [case for case in cases() if succeeded(case)]
    assert len(outputs) > 100
    assert {diagnose(failure(case, 0, FACTS)).outcome for case in outputs} == {Outcome.SUCCEEDED}


def test_the_same_outputs_with_exit_code_1_are_hardly_ever_diagnosed_and_never_acted_upon() -> None:
    outputs = [case for case in cases() if succeeded(case)]
    found = {case["id"]: diagnose(failure(case, 1, FACTS)).diagnoses for case in outputs}
    assert [name for name, diagnoses in found.items() if any(one.mitigation.automatic for one in diagnoses)] == []
    assert len([name for name, diagnoses in found.items() if diagnoses]) <= 0.03 * len(outputs)


def test_no_failure_that_must_not_be_fixed_by_a_program_gets_an_automatic_action() -> None:
    unsafe = [
        (case["id"], case["label"], one.pattern_id)
        for case in cases()
        if case["kind"] == "positive" and case["label"] in TAXONOMY
        and not TAXONOMY[case["label"]].get("auto_fix_safe") and not TAXONOMY[case["label"]].get("conditional")
        for one in diagnose(failure(case, case.get("exit_code") or 1, FACTS)).diagnoses
        if one.mitigation.automatic
    ]  # fmt: skip
    assert unsafe == []


@pytest.mark.parametrize("one", [one for one in patterns() if one.id in TAXONOMY], ids=lambda one: one.id)
def test_a_pattern_says_of_itself_what_the_taxonomy_says(one: Pattern) -> None:
    entry = TAXONOMY[one.id]
    assert (one.family, one.tier) == (entry["family"], entry["tier"])
    if not entry["auto_fix_safe"] and not entry["conditional"]:
        assert one.approval is Approval.NEVER


def test_of_the_failures_that_have_a_pattern_most_are_named() -> None:
    known = {one.id for one in patterns()}
    labelled = [case for case in cases() if case["kind"] == "positive" and case["label"] in known]
    right = [
        case
        for case in labelled
        if [one.pattern_id for one in diagnose(failure(case, case.get("exit_code") or 1)).diagnoses][:1]
        == [case["label"]]
    ]
    assert len(labelled) > 40
    missed = sorted({case["id"] for case in labelled} - {case["id"] for case in right})
    assert len(right) >= 0.9 * len(labelled), missed
