"""The packaged patterns, and what happens to a bad one."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import re2
from autopack_hardening import Pattern, PatternError, patterns
from autopack_hardening.adapters.registry import load_names, load_patterns
from autopack_hardening.core.diagnosing import Diagnostician
from autopack_hardening.core.names import canonical
from autopack_hardening.core.patterns import parse_pattern

GOOD: dict[str, Any] = {
    "id": "disk_full",
    "title": "The disk is full",
    "description": "No space is left.",
    "priority": 5,
    "rule": "permission_error",
    "risk": "NONE",
    "verify": "Re-run it.",
    "any": [{"re": r"(?m)No space left on device\s*$", "confidence": 0.9}],
    "examples": [{"output": "write: No space left on device"}, {"output": "cp: x: No space left on device\n"}],
    "near_misses": [{"output": "there is no space left in the house"}],
}


def pattern(**changes: Any) -> Pattern:
    return parse_pattern({**copy.deepcopy(GOOD), **changes}, "disk.toml", ["permission_error"])


def test_the_six_patterns_have_the_priorities_of_the_original() -> None:
    assert [(one.id, one.priority) for one in patterns()] == [
        ("node_missing_dep", 1),
        ("python_missing_dep", 1),
        ("scope_mismatch", 2),
        ("wrong_working_dir", 2),
        ("missing_test_discovery", 3),
        ("permission_error", 4),
    ]


@pytest.mark.parametrize("one", patterns(), ids=lambda one: one.id)
def test_every_sample_is_judged_as_it_is_filed(one: Pattern) -> None:
    alone = Diagnostician([one], load_names())
    for sample in one.examples:
        assert [found.pattern_id for found in alone.diagnose(sample.failure()).diagnoses] == [one.id], sample.output
    for sample in one.near_misses:
        assert alone.diagnose(sample.failure()).diagnoses == (), sample.output


@pytest.mark.parametrize("one", patterns(), ids=lambda one: one.id)
def test_every_expression_is_proven_by_its_own_text_or_by_an_example_of_its_pattern(one: Pattern) -> None:
    texts = [sample.output for sample in one.examples]
    assert any(re2.compile(expression.regex).search(text) for expression in one.any for text in texts)


def test_names_in_the_map_are_canonical() -> None:
    names = load_names()
    for candidates in (*names.modules.values(), *names.pytest_options.values()):
        assert all(canonical(name.removesuffix("*")) == name.removesuffix("*") for name in candidates)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"id": "Disk Full"}, "lower_snake_case"),
        ({"priority": 0}, "priority 0"),
        ({"rule": "delete_everything"}, "'delete_everything' does not exist"),
        ({"risk": "NICE"}, "NICE"),
        ({"any": []}, "no expression"),
        ({"any": [{"re": "(?=x)y", "confidence": 0.9}]}, "RE2 refuses '(?=x)y'"),
        ({"any": [{"re": "x*", "confidence": 0.9}]}, "matches the empty text"),
        ({"any": [{"re": "x", "confidence": 90}]}, "confidence 90"),
        ({"any": [{"re": "x", "confidence": 1, "action": "rm"}]}, "unknown key 'action'"),
        ({"none": ["("]}, "RE2 refuses '('"),
        ({"examples": GOOD["examples"][:1]}, "at least 2 examples"),
        ({"near_misses": []}, "at least 2 examples and 1 near miss"),
        ({"near_misses": [{"output": "x", "exit_code": 0}]}, "exit code 0 proves nothing"),
        ({"run": "sudo rm"}, "unknown key 'run'"),
    ],
)
def test_a_bad_pattern_is_refused_with_file_and_id(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(PatternError) as caught:
        pattern(**changes)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"disk.toml: pattern {changes.get('id', 'disk_full')}: ")


def test_a_pattern_without_a_key_names_the_key() -> None:
    data = {key: value for key, value in GOOD.items() if key != "verify"}
    with pytest.raises(PatternError, match="lacks verify"):
        parse_pattern(data, "disk.toml", ["permission_error"])


def test_an_example_that_does_not_match_is_named() -> None:
    broken = pattern(examples=[GOOD["examples"][0], {"output": "the disk is full"}])
    with pytest.raises(PatternError, match=r"disk\.toml: pattern disk_full: example 2 is not matched"):
        Diagnostician([broken], load_names())


def test_a_near_miss_that_matches_is_named() -> None:
    broken = pattern(near_misses=[{"output": "No space left on device"}])
    with pytest.raises(PatternError, match=r"disk\.toml: pattern disk_full: near miss 1 is matched"):
        Diagnostician([broken], load_names())


def test_two_patterns_of_one_id_are_refused() -> None:
    with pytest.raises(PatternError, match="same id"):
        Diagnostician([pattern(), pattern()], load_names())


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.toml").write_text("id = \n")
    with pytest.raises(PatternError, match=r"broken\.toml: .* no valid TOML"):
        load_patterns(tmp_path)
