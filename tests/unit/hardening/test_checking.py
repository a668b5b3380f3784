"""What a writer of patterns is told about a file."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from autopack_hardening.adapters.registry import built_in, read_patterns
from autopack_hardening.checking import check_patterns
from autopack_hardening.core.patternfile import parse_file
from autopack_hardening.core.proving import prove
from autopack_hardening.core.rules import check_step

ROOT = Path(__file__).resolve().parents[3]
CUSTOM = """
family = "mine"

[[pattern]]
id = "custom.licence"
title = "No licence"
tier = 2
any = ['(?m)^licence server refused: (?P<why>\\w+)']
suggestions = ["Ask for a licence: {why}."]
examples = [{ output = "licence server refused: expired" }, { output = "licence server refused: none\\n" }]
near_misses = [{ output = "licence server asked" }]
"""


def test_a_sound_file_has_no_error_and_is_ready_to_diagnose(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(CUSTOM)
    checked = check_patterns(file)
    assert [one.id for one in checked.patterns] == ["custom.licence"]
    assert checked.errors == ()
    found = checked.core.diagnose(checked.patterns[0].examples[0].failure()).diagnoses
    assert [(one.pattern_id, one.mitigation.suggestions[0].text) for one in found] == [
        ("custom.licence", "Ask for a licence: expired.")
    ]


def test_every_bad_pattern_is_told_and_the_good_ones_stay(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    more = CUSTOM.partition("[[pattern]]")[2]
    bad = more.replace("custom.licence", "licence.none")
    hasty = more.replace("custom.licence", "custom.hasty").replace(
        "licence server refused", "licence server (?:asked)?"
    )
    file.write_text(f"{CUSTOM}\n[[pattern]]{bad}\n[[pattern]]{hasty}")
    checked = check_patterns(file)
    assert [one.id for one in checked.patterns] == ["custom.licence", "custom.hasty"]
    told = {error.pattern_id for error in checked.errors}
    assert {"licence.none", "custom.hasty"} <= told


def test_a_pattern_that_takes_the_example_of_a_built_in_one_is_told(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    line = "ModuleNotFoundError: No module named \\x27\\w+"
    file.write_text(
        CUSTOM.replace("title", "priority = 1\ntitle", 1)
        .replace("^licence server refused: (?P<why>\\w+)", f"^(?P<why>(?:E +)?{line}|licence server refused)")
        .replace("any = [", "any = [{ re = ")
        .replace("']\nsugg", "', confidence = 0.99 }]\nsugg")
    )
    told = [one.problem for one in check_patterns(file).errors if one.pattern_id == "py.module_not_found"]
    assert "is diagnosed as custom.licence before py.module_not_found" in told[0]


def test_what_is_no_toml_is_told(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("family =")
    assert "no valid TOML" in str(check_patterns(file).errors[0])


def test_the_example_of_the_documentation_is_a_sound_pattern() -> None:
    text = (ROOT / "docs/patterns.md").read_text("utf-8")
    (block,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    (one,), bad = parse_file(tomllib.loads(block), "python-packaging.toml", check_step)
    assert bad == []
    others = [pattern for pattern in read_patterns()[0] if pattern.id != one.id]
    assert [str(error) for error in prove(built_in([*others, one]), [one])] == []
