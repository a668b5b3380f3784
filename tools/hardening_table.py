"""Play every scenario of a real failure, and write what became of each into docs/hardening.md.

The scenarios are in ``tests/integration/hardening``. If one fails or cannot be played here, the document is not
touched. Arguments are reports (``--junitxml``) of tests that were run already; then nothing is played.
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


def tables(scenarios: Sequence[Scenario], played: Mapping[str, Played]) -> str:
    """Both tables in Markdown."""
    fixed = [one for one in scenarios if played[one.name].passed]
    left = [one for one in scenarios if not played[one.name].passed]
    lines = [
        f"### {len(fixed)} that are fixed",
        "",
        "| Scenario | What is broken | What fails | Diagnosed as | What was done before the same command passed | By |",
        "| --- | --- | --- | --- | --- | --- |",
        *(_fixed_row(one, played[one.name]) for one in fixed),
        "",
        f"### {len(left)} that are left alone",
        "",
        "| Scenario | What is broken | What fails | Diagnosed as | What a person is told |",
        "| --- | --- | --- | --- | --- |",
        *(_left_row(one, played[one.name]) for one in left),
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

    with tempfile.TemporaryDirectory(prefix="autopack-scenarios-") as directory:
        reports = [Path(name) for name in arguments] or [Path(directory) / "report.xml"]
        code = 0 if arguments else play(reports[0])
        played = {name: one for report in reports if report.exists() for name, one in read(report).items()}
    missing = [one.name for one in ALL if one.name not in played]
    if code or missing:
        print(f"{DOCUMENT.name} is not written: not played: {', '.join(missing) or 'see above'}", file=sys.stderr)
        return 1
    DOCUMENT.write_text(written(DOCUMENT.read_text(), tables(ALL, played)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
