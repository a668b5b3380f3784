"""Play every scenario of a real failure, and write what became of each into docs/hardening.md.

The scenarios are in ``tests/integration/hardening``. If one fails or cannot be played here, the document is not
touched. Arguments are reports (``--junitxml``, ``-o junit_family=xunit1``) of tests that were run already; then nothing
is played, and after ``--keep`` what they do not tell of stays as the document has it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from defusedxml import ElementTree

if TYPE_CHECKING:
    from tests.integration.hardening.scenario import Scenario

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs/hardening.md"
BEGIN, END = "<!-- scenarios: written by `make hardening-table` -->", "<!-- end of the scenarios -->"
MAX_CELL = 400


@dataclass(frozen=True, slots=True)
class Played:
    """What the tests reported of one scenario."""

    patterns: Sequence[str]
    done: Sequence[str]
    advice: Sequence[str]
    passed: bool


def play(report: Path) -> int:
    """Run the tests of all scenarios; returns their exit code."""
    tests = sorted(map(str, (ROOT / "tests/integration/hardening").glob("test_scenarios_*.py")))
    options = ["-q", "-n", "2", "--dist", "loadfile", "-m", "", "-o", "junit_family=xunit1", f"--junitxml={report}"]
    words = [sys.executable, "-m", "pytest", *options, *tests]
    return subprocess.run(words, cwd=ROOT, check=False).returncode


def read(report: Path) -> dict[str, Played]:
    """What became of each scenario, by its name."""
    found = {}
    for one in ElementTree.parse(report).iter("property"):
        found[one.attrib["name"]] = Played(**json.loads(one.attrib["value"]))
    return found


def kept(document: str) -> dict[str, tuple[bool, str]]:
    """By its name, whether a scenario of the document is fixed, and its row."""
    before, _, after = document.partition(BEGIN)[2].partition(END)[0].partition("that are left alone")
    rows = [(True, line) for line in before.splitlines()] + [(False, line) for line in after.splitlines()]
    return {line.split(" ")[1]: (is_fixed, line) for is_fixed, line in rows if line.startswith("| ")}


def tables(scenarios: Sequence[Scenario], played: Mapping[str, Played], before: Mapping[str, tuple[bool, str]]) -> str:
    """Both tables in Markdown; rows that were not played are those of ``before``."""
    rows = dict(before)
    for one in scenarios:
        if one.name in played:
            is_fixed = played[one.name].passed
            rows[one.name] = (is_fixed, (_fixed_row if is_fixed else _left_row)(one, played[one.name]))
    fixed = [rows[one.name][1] for one in scenarios if rows[one.name][0]]
    left = [rows[one.name][1] for one in scenarios if not rows[one.name][0]]
    lines = [
        f"### {len(fixed)} that are fixed",
        "",
        "| Scenario | What is broken | What fails | Diagnosed as | What was done before the same command passed | By |",
        "| --- | --- | --- | --- | --- | --- |",
        *fixed,
        "",
        f"### {len(left)} that are left alone",
        "",
        "| Scenario | What is broken | What fails | Diagnosed as | What a person is told |",
        "| --- | --- | --- | --- | --- |",
        *left,
    ]
    return "\n".join(lines)


def _fixed_row(scenario: Scenario, played: Played) -> str:
    consent = getattr(scenario.expected, "consent", False)
    by = ("a run" if scenario.via == "run" else "the applier") + (", with consent" if consent else "")
    return _row(scenario, played, "; then ".join(played.done), by)


def _left_row(scenario: Scenario, played: Played) -> str:
    return _row(scenario, played, played.advice[0])


def _row(scenario: Scenario, played: Played, *cells: str) -> str:
    command = f"`{' '.join(scenario.command)}`"
    patterns = ", ".join(f"`{one}`" for one in played.patterns)
    return "| " + " | ".join(map(_cell, (scenario.name, scenario.broken, command, patterns, *cells))) + " |"


def _cell(text: str) -> str:
    flat = " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
    return flat if len(flat) <= MAX_CELL else flat[: MAX_CELL - 4] + " ..."


def written(document: str, text: str) -> str:
    """The document with ``text`` between its marks."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


def main(arguments: Sequence[str]) -> int:
    """Exit code 1 if a scenario failed or was skipped."""
    sys.path.insert(0, str(ROOT))
    from tests.integration.hardening.scenarios import ALL

    document = DOCUMENT.read_text()
    names = [name for name in arguments if name != "--keep"]
    before = kept(document) if "--keep" in arguments else {}
    with tempfile.TemporaryDirectory(prefix="autopack-scenarios-") as directory:
        reports = [Path(name) for name in names] or [Path(directory) / "report.xml"]
        code = 0 if names else play(reports[0])
        played = {name: one for report in reports if report.exists() for name, one in read(report).items()}
    missing = [one.name for one in ALL if one.name not in played and one.name not in before]
    if code or missing:
        print(f"{DOCUMENT.name} is not written: not played: {', '.join(missing) or 'see above'}", file=sys.stderr)
        return 1
    DOCUMENT.write_text(written(document, tables(ALL, played, before)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
