"""The report of a comparison, as Markdown and as a page."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from autopack_api.telemetry.v1 import compare_pb2 as pb
from autopack_telemetry.adapters.page import html_page
from autopack_telemetry.convert_compare import compare_response, design_of
from autopack_telemetry.core.compare.analysis import Comparison, compare
from autopack_telemetry.core.compare.model import Metric, Mode, RunMeasures
from autopack_telemetry.core.compare.report import markdown

from .runs_to_compare import a_run, noisy_runs
from .runs_to_compare import design_of as arms_of

NOW = 1_795_000_000_000_000
HOSTILE = "</title><script>alert(1)</script>\"'&|`[x](http://evil.example)<!--"


class Page(HTMLParser):
    """Tags that are open at the end, every tag with its attributes, and the text of each tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br", "rect", "line", "path"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))


def hostile_runs(pairs: int = 12) -> dict[str, RunMeasures]:
    runs = noisy_runs(np.random.default_rng(1), pairs)
    return {
        run_id: replace(run, record=replace(run.record, task=f"{HOSTILE} {run.record.task}", models={"m": HOSTILE}))
        for run_id, run in runs.items()
    }


def result_of(runs: dict[str, RunMeasures], **fields: Any) -> Comparison:
    return compare(arms_of(runs, **fields), runs)


def test_page_is_whole_and_holds_what_was_found() -> None:
    result = result_of(noisy_runs(np.random.default_rng(2), 30, ratio=0.5))
    page = Page(html_page(result, "1.2.3", NOW))
    assert page.open == []
    texts = [text.strip() for _, text in page.texts]
    assert result.sentence in texts
    titles = [text for tag, text in page.texts if tag == "h2"]
    assert titles == [
        "Design", "Validity", "Metrics", "Success", "Pictures", "Pairs", "Estimates, not measurements",
        "How it is computed",
    ]  # fmt: skip
    assert sum(tag == "svg" for tag, _ in page.tags) == 2
    assert sum(tag == "circle" for tag, _ in page.tags) == 30
    for check in result.checks:
        assert check.message in texts


def test_page_needs_nothing_from_elsewhere_and_runs_nothing() -> None:
    text = html_page(result_of(hostile_runs(), hypothesis=HOSTILE, control_label=HOSTILE), "1", NOW)
    page = Page(text)
    assert page.open == []
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "image", "use", "a", "base", "form"}
    for _, attributes in page.tags:
        assert not any(name.startswith("on") or name in ("src", "href", "srcset", "xlink:href") for name in attributes)
    styles = "".join(data for tag, data in page.texts if tag == "style")
    assert "url(" not in styles
    assert "@import" not in styles
    assert "default-src 'none'" in text


def test_pictures_say_in_words_what_they_show_and_follow_light_and_dark() -> None:
    text = html_page(result_of(noisy_runs(np.random.default_rng(3), 12)), "1", NOW)
    page = Page(text)
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    for tag, attributes in page.tags:
        if tag == "svg":
            assert attributes["role"] == "img"
            assert set((attributes["aria-labelledby"] or "").split()) <= ids
    assert "prefers-color-scheme: dark" in text
    coloured = re.findall(r"<(?:rect|line|circle|path|text)[^>]*(?:fill|stroke)=", text)
    assert coloured == []


def test_points_of_pictures_lie_within_them() -> None:
    for metric in (Metric.TOTAL_TOKENS, Metric.RETRIES):
        runs = noisy_runs(np.random.default_rng(4), 25, ratio=0.2)
        runs = {run_id: replace(run, retries=number % 5) for number, (run_id, run) in enumerate(runs.items())}
        text = html_page(result_of(runs, primary=metric, mode=Mode.ANYTIME_VALID), "1", NOW)
        numbers = [float(value) for value in re.findall(r"c[xy]=\"([\d.-]+)\"", text)]
        assert len(numbers) == 50
        assert all(0 <= value <= 720 for value in numbers)
        for value in re.findall(r" y[12]?=\"([\d.-]+)\"", text):
            assert 0 <= float(value) <= 320


@pytest.mark.parametrize("pairs", [1, 4])
def test_too_few_pairs_have_a_report_without_intervals(pairs: int) -> None:
    result = result_of(noisy_runs(np.random.default_rng(5), pairs))
    assert "Too few pairs for this picture." in html_page(result, "1", NOW)
    assert "Too few pairs for a test" in markdown(result, "1", NOW)


def test_markdown_has_as_many_cells_in_each_row_as_in_its_head() -> None:
    text = markdown(result_of(hostile_runs(), hypothesis=HOSTILE, treatment_label=HOSTILE), "1", NOW)
    assert "<script>" not in text
    widths: set[int] = set()
    for line in text.splitlines():
        if not line.startswith("|"):
            widths = set()
            continue
        widths.add(len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)))
        assert len(widths) == 1
    assert "estimate" in text.lower()


def test_the_same_runs_give_the_same_report() -> None:
    runs = noisy_runs(np.random.default_rng(6), 10)
    assert markdown(result_of(runs), "1", NOW) == markdown(result_of(runs), "1", NOW)
    assert html_page(result_of(runs), "1", NOW) == html_page(result_of(runs), "1", NOW)


def answer(pairs: int) -> pb.CompareRunsResponse:
    runs = noisy_runs(np.random.default_rng(7), pairs, ratio=0.9, success=(0.7, 0.75))
    request = pb.CompareRunsRequest(
        control_run_ids=[run for run in runs if run.startswith("c")],
        treatment_run_ids=[run for run in runs if run.startswith("t")],
        formats=[pb.REPORT_FORMAT_MARKDOWN, pb.REPORT_FORMAT_HTML],
    )
    return compare_response(request, design_of(request), list(runs.values()), 0, NOW)


def test_many_pairs_are_one_path_and_folded_away() -> None:
    response = answer(600)
    assert len(response.pairs) == 600
    page = Page(response.html.decode())
    assert not any(tag == "circle" for tag, _ in page.tags)
    assert any(tag == "details" for tag, _ in page.tags)


@pytest.mark.long
def test_ten_thousand_pairs_fit_into_a_message() -> None:
    response = answer(10_000)
    assert (len(response.pairs), response.metrics[0].n) == (10_000, 10_000)
    assert len(response.cumulative) == 10_000 - 4
    assert response.markdown.count("\n| task") == 10_000
    assert response.ByteSize() < 12 << 20  # of the 16 MiB that a message may have


def test_a_number_that_is_not_known_is_absent_and_not_zero() -> None:
    runs = {run: a_run(run, "t", usage_records=0, seconds=None) for run in ("c1", "t1")}
    request = pb.CompareRunsRequest(control_run_ids=["c1"], treatment_run_ids=["t1"])
    response = compare_response(request, design_of(request), list(runs.values()), 0, NOW)
    cost = next(item for item in response.metrics if item.metric == pb.COMPARISON_METRIC_COST)
    assert (cost.n, cost.left_out) == (0, 1)
    assert not cost.HasField("effect")
    assert not cost.HasField("percent_change")
    assert not response.control_per_success.HasField("cost_usd")
