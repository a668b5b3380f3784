"""docs/hardening.md shows every scenario of a real failure once, and what its expectation says."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.integration.hardening.scenario import Fixed
from tests.integration.hardening.scenarios import ALL, IN_CI

ROOT = Path(__file__).resolve().parents[3]
ROW = re.compile(
    r"^\| (?P<name>[\w-]+/[\w-]+) \| .*? \| `(?P<command>[^`]+)` \| (?P<patterns>`[^|]+`) \|", re.MULTILINE
)


def _tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hardening_table", ROOT / "tools/hardening_table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["hardening_table"] = module  # where dataclasses look their annotations up
    spec.loader.exec_module(module)
    return module


def test_the_tables_list_exactly_the_scenarios() -> None:
    fixed, _, left = (ROOT / "docs/hardening.md").read_text().partition(" that are left alone")
    for text, wanted in (
        (fixed, [one for one in ALL if isinstance(one.expected, Fixed)]),
        (left, [one for one in ALL if not isinstance(one.expected, Fixed)]),
    ):
        rows = {row["name"]: row["patterns"].replace("`", "").split(", ") for row in ROW.finditer(text)}
        expected = {
            one.name: list(one.expected.patterns) if isinstance(one.expected, Fixed) else [one.expected.pattern]
            for one in wanted
        }
        assert rows == expected, "run `make hardening-table`"


def test_names_are_unique_and_those_of_ci_exist_and_are_a_third() -> None:
    names = [one.name for one in ALL]
    assert len(set(names)) == len(names)
    assert set(names) >= IN_CI
    assert len(IN_CI) * 3 >= len(names) - 3


def test_there_are_enough_of_both_kinds() -> None:
    fixed = sum(isinstance(one.expected, Fixed) for one in ALL)
    assert fixed >= 45
    assert len(ALL) - fixed >= 20


def test_a_scenario_that_was_not_played_leaves_the_document_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tool = _tool()
    document, report = tmp_path / "hardening.md", tmp_path / "report.xml"
    document.write_text("# Title\n")
    report.write_text("<testsuites/>")
    monkeypatch.setattr(tool, "DOCUMENT", document)
    assert tool.main([str(report)]) == 1
    assert ALL[0].name in capsys.readouterr().err
    assert document.read_text() == "# Title\n"


def test_rows_that_were_not_played_may_stay_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = _tool()
    document, report = tmp_path / "hardening.md", tmp_path / "report.xml"
    document.write_text((ROOT / "docs/hardening.md").read_text())
    one = next(one for one in ALL if not isinstance(one.expected, Fixed))
    told = '{"patterns": ["a.b"], "done": [], "advice": ["Look again."], "passed": false}'
    report.write_text(f"<testsuites><property name='{one.name}' value='{told}'/></testsuites>")
    before = document.read_text().splitlines()
    monkeypatch.setattr(tool, "DOCUMENT", document)
    assert tool.main(["--keep", str(report)]) == 0
    changed = [line for line in document.read_text().splitlines() if line not in before]
    assert len(changed) == 1
    assert changed[0].startswith(f"| {one.name} | ")
    assert changed[0].endswith("| `a.b` | Look again. |")
    assert len(document.read_text().splitlines()) == len(before)
