"""The page of a comparison in a real browser: readable in light and dark, on a desk and in a hand, and alone."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from autopack_telemetry.adapters.page import html_page
from autopack_telemetry.core.compare.analysis import compare
from autopack_telemetry.core.compare.model import Design, RunMeasures
from autopack_telemetry.core.model import PhaseOutcome, RunRecord

from .browser import Browser, browser

pytestmark = pytest.mark.long

HOUR = 3_600_000_000
START = 1_790_000_000_000_000
MARKUP = "</title><script>alert(1)</script>\"'&|`<!--"

CONTRAST = """(() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgba = (text) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const color = rgba(getComputedStyle(node).backgroundColor);
      if (color[3] === 255) return color;
    }
    return [255, 255, 255, 255];
  };
  const found = {};
  for (const node of document.querySelectorAll("h1, h2, p, td, th, caption, summary, figcaption, svg text")) {
    const style = getComputedStyle(node);
    const [a, b] = [light(rgba(node.closest("svg") ? style.fill : style.color)), light(behind(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const name = node.tagName + "." + (node.getAttribute("class") || "");
    found[name] = Math.min(found[name] ?? 99, ratio);
  }
  return JSON.stringify(found);
})()"""
"""The least contrast of each kind of text, as WCAG 2.2 has it."""
BROKEN = """(() => {
  const lines = (node) => {
    const range = document.createRange(); range.selectNodeContents(node);
    return new Set([...range.getClientRects()].map((box) => Math.round(box.top))).size;
  };
  return [...document.querySelectorAll("td:not(.text):not(.wide)")].filter((node) => lines(node) > 1)
    .map((node) => node.textContent).join("|");
})()"""
"""Numbers that stand on more than one line."""
SMALLEST = """Math.min(...[...document.querySelectorAll("svg text")].map((node) => {
  const svg = node.closest("svg");
  return parseFloat(getComputedStyle(node).fontSize) * svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
}))"""
"""Pixels of the smallest letters in pictures."""


def page(pairs: int, *, name: str = "") -> str:
    """Of runs with doctor calls, failures, one commit that differs, and names that are long."""
    chance = random.Random(pairs)
    runs = {}
    for number in range(pairs):
        for arm in ("control", "treatment"):
            tokens = int(chance.lognormvariate(11, 0.8))
            record = RunRecord(
                f"{arm}-20261101-{number:04}", task=f"{name}mend-the-retry-of-the-uploader-{number}", agent="claude",
                agent_version="2.1.0", models={"agent": "claude-sonnet-4-5"}, base_commit="c0ffee" * 6,
                spec_hash=f"{number}", started_at=START + number * HOUR, token_limit=5, time_limit=HOUR,
            )  # fmt: skip
            runs[record.run_id] = RunMeasures(
                record, total_tokens=tokens, agent_tokens=tokens, usage_records=3, phases=4, cost_microusd=3 * tokens,
                seconds=tokens / 100, outcome=chance.choice([PhaseOutcome.SUCCEEDED, PhaseOutcome.FAILED]),
            )  # fmt: skip
    first = runs["control-20261101-0000"]
    runs["control-20261101-0000"] = replace(first, record=replace(first.record, base_commit="another"))
    arms = [tuple(run for run in runs if run.startswith(arm)) for arm in ("control", "treatment")]
    return html_page(compare(Design(control=arms[0], treatment=arms[1]), runs, 0), "1.2.3", START + 1_000 * HOUR)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.mark.parametrize("width", [320, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("pairs", [4, 40, 300])
def test_page_can_be_read(shown: Browser, tmp_path: Path, pairs: int, scheme: str, width: int) -> None:
    (tmp_path / "page.html").write_text(page(pairs))
    shown.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=True)
    shown.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    shown.open(f"file://{tmp_path}/page.html")
    dark = shown.value("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (scheme == "dark")
    assert shown.value("document.documentElement.scrollWidth") <= width  # tables and pictures scroll for themselves
    assert {name: ratio for name, ratio in json.loads(shown.value(CONTRAST)).items() if ratio < 4.5} == {}
    assert shown.value(BROKEN) == ""
    if pairs > 4:
        assert shown.value("document.querySelectorAll('svg').length") == 2
        assert shown.value(SMALLEST) >= 9


def test_page_asks_for_nothing_and_says_nothing_to_the_console(shown: Browser, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(page(12, name=MARKUP))
    start = len(shown.events)
    shown.open(f"file://{tmp_path}/page.html")
    assert shown.value("document.querySelectorAll('script').length") == 0
    events = shown.events[start:]
    asked = [told["request"]["url"] for method, told in events if method == "Network.requestWillBeSent"]
    assert asked == [f"file://{tmp_path}/page.html"]
    loud = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Page.javascriptDialogOpening")
    assert [event for event in events if event[0] in loud] == []
