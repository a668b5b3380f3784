"""The packaged patterns, and what happens to a bad one."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from autopack_hardening import Pattern, PatternError, patterns
from autopack_hardening.adapters.registry import built_in, load_names, read_patterns
from autopack_hardening.core.names import canonical
from autopack_hardening.core.patternfile import parse_file, parse_pattern
from autopack_hardening.core.patterns import ALIASES
from autopack_hardening.core.proving import duplicates, prove
from autopack_hardening.core.rules import check_step

GOOD: dict[str, Any] = {
    "id": "disk.full",
    "title": "The disk is full",
    "tier": 1,
    "any": [r"(?m)No space left on (?P<device>device)\s*$"],
    "suggestions": ["Remove something from the {device}."],
    "examples": [{"output": "write: No space left on device"}, {"output": "cp: x: No space left on device\n"}],
    "near_misses": [{"output": "there is no space left in the house"}],
}
STEP = {"action": "retry_with_backoff"}


def pattern(*, is_custom: bool = False, **changes: Any) -> Pattern:
    return parse_pattern({**copy.deepcopy(GOOD), **changes}, "os", "os.toml", check_step, is_custom=is_custom)


def problems(*found: Pattern) -> list[str]:
    return [str(error) for error in prove(built_in(found))]


def test_the_packaged_patterns_are_sound_and_prove_themselves() -> None:
    found, bad = read_patterns()
    assert [str(error) for error in bad] == []
    assert [str(error) for error in prove(built_in(found))] == []


def test_every_packaged_pattern_has_advice_or_an_action_for_all_that_it_is_for() -> None:
    core = built_in(patterns())
    without = []
    for one in patterns():
        for number, sample in enumerate(one.examples):
            mitigation = core.diagnose(sample.failure()).diagnoses[0].mitigation
            texts = [suggestion.text for suggestion in mitigation.suggestions]
            if not (mitigation.actions or texts) or len(set(texts)) < len(texts):
                without.append((one.id, number, texts))
    assert without == []


def test_the_six_names_of_the_original_are_aliases_with_its_priorities() -> None:
    found = {(alias, one.priority) for one in patterns() for alias in one.aliases}
    assert found == set(ALIASES.items())


def test_names_in_the_map_are_canonical() -> None:
    names = load_names()
    for candidates in (*names.modules.values(), *names.pytest_options.values(), *names.pytest_fixtures.values()):
        assert all(canonical(name.removesuffix("*")) == name.removesuffix("*") for name in candidates)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"id": "Disk Full"}, "lower case"),
        ({"id": "custom.disk"}, "begins with custom."),
        ({"priority": 0}, "priority 0"),
        ({"priority": 10}, "priority 10"),
        ({"tier": 3}, "3 is not a valid Tier"),
        ({"risk": "nice"}, "NICE"),
        ({"any": []}, "at least one of any, codes and ending"),
        ({"any": "x"}, "any must be a list"),
        ({"any": [{"re": "(?=x)y"}]}, "RE2 refuses '(?=x)y'"),
        ({"any": [{"re": "x*"}]}, "matches the empty text"),
        ({"any": [r"(?:\w{1,900}x){3}"]}, "RE2"),
        ({"any": [{"re": "x", "confidence": 90}]}, "confidence 90"),
        ({"any": [{"re": "x", "action": "rm"}]}, "unknown key 'action'"),
        ({"all": ["("]}, "RE2 refuses '(': missing )"),
        ({"none": ["("]}, "RE2 refuses '('"),
        ({"codes": ["E 404"]}, "codes has 'E 404'"),
        ({"ending": {"exit_codes": [0]}}, "exit code 0"),
        ({"ending": {"confidence": 0.5}}, "ending needs"),
        ({"examples": GOOD["examples"][:1]}, "at least 2 examples"),
        ({"near_misses": []}, "at least 2 examples and 1 near miss"),
        ({"near_misses": [{"output": "x", "exit_code": 0}]}, "exit code 0 proves nothing"),
        ({"near_misses": [{"output": "x", "best": ["os.x"]}]}, "unknown key 'best'"),
        ({"run": "sudo rm"}, "unknown key 'run'"),
        ({"suggestions": []}, "a mitigation, or at least one suggestion"),
        ({"suggestions": ["{path} is full"]}, "{path}, which no expression captures"),
        ({"otherwise": ["{path} is full"]}, "{path}, which no expression captures"),
        ({"aliases": ["permission_error"]}, "permission_error (priority 4)"),
        ({"mitigation": STEP}, "approval is never"),
        ({"approval": "automatic"}, "there is no mitigation"),
        ({"mitigation": {"action": "rm"}, "approval": "consent"}, "no action 'rm'"),
        ({"mitigation": {**STEP, "attempts": 9}, "approval": "consent"}, "attempts must be between 1 and 3"),
        ({"mitigation": {**STEP, "often": 9}, "approval": "consent"}, "unknown key 'often'"),
        ({"mitigation": {"action": "run_command"}, "approval": "consent"}, "lacks run"),
        ({"mitigation": {"action": "run_command", "run": ["sudo", "uv"]}, "approval": "consent"}, "'sudo'"),
        ({"mitigation": {"action": "run_command", "run": ["npm", "ci", "--force"]}, "approval": "consent"}, "--force"),
        ({"mitigation": {"action": "edit_command", "add": ["--no-verify"]}, "approval": "consent"}, "--no-verify"),
        ({"mitigation": {"action": "edit_command", "add": ["-u"]}, "approval": "consent"}, "'-u'"),
        ({"mitigation": {"action": "set_env", "env": {"LD_PRELOAD": "x"}}, "approval": "consent"}, "LD_PRELOAD"),
        ({"mitigation": {"action": "set_env", "env": {"NODE_OPTIONS": "-r x"}}, "approval": "consent"}, "may not be"),
        ({"mitigation": {"action": "remove_stale_lock", "path": "../x"}, "approval": "consent"}, "without '..'"),
    ],
)
def test_a_bad_pattern_is_refused_with_file_and_id(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(PatternError) as caught:
        pattern(**changes)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"os.toml: pattern {changes.get('id', 'disk.full')}: ")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"id": "disk.full"}, "begins with custom."),
        ({"mitigation": STEP, "approval": "automatic"}, "never automatic"),
        (
            {"mitigation": {"action": "run_command", "run": ["uv", "venv"]}, "approval": "consent"},
            "may not run_command",
        ),
        ({"mitigation": {"action": "edit_command", "add": ["-q"]}, "approval": "consent"}, "may not edit_command"),
        ({"mitigation": {"action": "set_env", "env": {"PORT": "0"}}, "approval": "consent"}, "may not set_env"),
    ],
)
def test_a_custom_pattern_may_do_less(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(PatternError, match=words):
        pattern(is_custom=True, **{"id": "custom.disk", **changes})


def test_a_pattern_without_a_key_names_the_key() -> None:
    data = {key: value for key, value in GOOD.items() if key != "title"}
    with pytest.raises(PatternError, match="lacks title"):
        parse_pattern(data, "os", "os.toml", check_step)


def test_a_bad_pattern_does_not_take_the_others_of_its_file_with_it() -> None:
    data = {"family": "os", "pattern": [GOOD, {**GOOD, "id": "disk.gone", "priority": 99}]}
    good, bad = parse_file(data, "os.toml", check_step)
    assert ([one.id for one in good], [one.pattern_id for one in bad]) == (["disk.full"], ["disk.gone"])


@pytest.mark.parametrize(
    "data",
    [{"family": "net", "pattern": [GOOD]}, {"family": "os", "patterns": [GOOD]}, {"family": "os", "pattern": GOOD}],
)
def test_a_file_of_another_shape_is_refused(data: dict[str, Any]) -> None:
    good, (bad,) = parse_file(data, "os.toml", check_step)
    assert good == []
    assert bad.source == "os.toml"


def test_an_example_that_does_not_match_is_named() -> None:
    broken = pattern(examples=[GOOD["examples"][0], {"output": "the disk is full"}])
    assert problems(broken) == ["os.toml: pattern disk.full: example 2 is not matched"]


def test_an_example_that_another_pattern_takes_is_named_unless_it_says_so() -> None:
    other = pattern(id="disk.any", priority=1, any=["(?m)No space left"], suggestions=["Ask."])
    assert "disk.full: example 1 is diagnosed as disk.any before disk.full" in problems(pattern(), other)[0]
    agreed = [{**one, "best": ["disk.*"]} for one in GOOD["examples"]]
    assert problems(pattern(examples=agreed), other) == []


def test_a_near_miss_that_matches_is_named() -> None:
    broken = pattern(near_misses=[{"output": "No space left on device"}])
    assert problems(broken) == ["os.toml: pattern disk.full: near miss 1 is matched"]


def test_a_pattern_that_matches_the_near_miss_of_another_is_named_unless_that_says_so() -> None:
    one = pattern(near_misses=[{"output": "quota exceeded"}])
    samples = [{"output": "quota exceeded"}, {"output": "disk quota exceeded"}]
    other = pattern(id="disk.quota", any=["(?m)quota exceeded"], suggestions=["Ask."], examples=samples)
    (problem,) = problems(one, other)
    assert problem.startswith("os.toml: pattern disk.quota: matches near miss 1 of disk.full")
    assert problems(pattern(near_misses=[{"output": "quota exceeded", "is": ["disk.quota"]}]), other) == []


def test_two_patterns_of_one_id_are_refused() -> None:
    (error,) = duplicates([pattern(), pattern()])
    assert "same id" in str(error)


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.toml").write_text("id = \n")
    (error,) = read_patterns(tmp_path)[1]
    assert "broken.toml" in str(error)
    assert "no valid TOML" in str(error)
