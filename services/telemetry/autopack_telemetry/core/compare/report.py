"""The report: one model of sections, tables and plots, and how it looks as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from autopack_telemetry.core.compare.analysis import Comparison
from autopack_telemetry.core.compare.metrics import MetricResult
from autopack_telemetry.core.compare.model import Arm, ArmRuns, Mode, Scale
from autopack_telemetry.core.compare.success import PerSuccess
from autopack_telemetry.core.compare.wording import (
    effect_words,
    interval_words,
    number,
    p_words,
    percent_points,
    value_words,
)
from autopack_telemetry.core.plural import counted

__all__ = ["Plot", "Report", "Section", "Table", "markdown", "report_of"]

# What Markdown or the HTML in it would act on.
_SPECIAL = re.compile(r"([\\`*_\[\]<>|#!~&$])")
_METHODS = (
    "Ratio: geometric mean of treatment by control, with Student's t interval of the logarithms; repeats are averaged "
    "on that scale within task and arm.",
    "Differences (metrics of which zero is a common value): mean, with Student's t interval.",
    "Rank test: Wilcoxon's signed-rank test, exact up to 50 pairs without ties, else normal with corrections for ties "
    "and continuity. Centre: Hodges-Lehmann, with the interval of Hollander and Wolfe.",
    "Success: McNemar's test with mid-p (Fagerland 2013), difference of rates with Newcombe's square-and-add interval "
    "for pairs (1998).",
    "Several metrics: the verdict is of the primary one alone; p of the others is adjusted by Holm (1979).",
    "Smallest detectable effect: noncentral t, power 0.8.",
    "Anytime-valid: asymptotic confidence sequence (Waudby-Smith et al. 2024); e-values of the uniform mixture "
    "2^n b! c! / (n + 1)!.",
    "Nothing is drawn at random: the same runs give the same report.",
)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under a head; ``words`` says how many of the first columns are text, the others are numbers."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture of the primary metric, which a page may draw: "pairs" or "cumulative"."""

    kind: str


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands under it: sentences, tables, plots."""

    title: str
    items: Sequence[str | Table | Plot]


@dataclass(frozen=True, slots=True)
class Report:
    """The whole, in its order."""

    title: str
    verdict: str
    sentence: str
    sections: Sequence[Section]


def report_of(result: Comparison, version: str, now: int) -> Report:
    """The report of a comparison.

    Args:
        version: of the program.
        now: microseconds since 1970.
    """
    design = result.design
    title = f"{design.treatment_label} against {design.control_label}"
    return Report(
        title,
        result.verdict.value.replace("_", " "),
        result.sentence,
        [
            Section("Design", [_design(result, version, now), _arms(result.control, result.treatment)]),
            Section("Validity", [_checks(result)]),
            Section("Metrics", list(_metrics(result))),
            Section("Success", list(_success(result))),
            Section("Pictures", [Plot("pairs"), Plot("cumulative")]),
            Section("Pairs", list(_pairs(result))),
            Section("Estimates, not measurements", list(_estimates(result))),
            Section("How it is computed", _METHODS),
        ],
    )


def markdown(result: Comparison, version: str, now: int) -> str:
    """The report as Markdown; its pictures are left to the page."""
    report = report_of(result, version, now)
    lines = [
        f"# {_escape(report.title)}",
        "",
        f"**{_escape(report.verdict.capitalize())}.** {_escape(report.sentence)}",
    ]
    for section in report.sections:
        if all(isinstance(item, Plot) for item in section.items):
            continue
        lines += ["", f"## {_escape(section.title)}"]
        for item in section.items:
            if isinstance(item, str):
                lines += ["", _escape(item)]
            elif isinstance(item, Table):
                lines += ["", *_markdown_table(item)]
    return "\n".join(lines) + "\n"


def _markdown_table(table: Table) -> Iterator[str]:
    if table.caption:
        yield f"{_escape(table.caption)}:"
        yield ""
    yield _row(table.head)
    yield "|" + "|".join(" --- " if column < table.words else " ---: " for column in range(len(table.head))) + "|"
    yield from map(_row, table.rows)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(_escape, cells)) + " |"


def _escape(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)


def _design(result: Comparison, version: str, now: int) -> Table:
    design = result.design
    sequential = design.mode is Mode.ANYTIME_VALID
    rows = [
        ("Hypothesis", design.hypothesis or "none was written down"),
        ("Primary metric", design.primary.words),
        ("Level of intervals", f"{100 * design.level:.4g} %"),
        (
            "Looked at",
            f"at any time, about {counted(design.expected_pairs, 'pair')} expected" if sequential else "once",
        ),
        ("Guardrail", f"success must not fall by more than {100 * design.max_success_drop:.3g} percentage points"),
        ("Meant to differ in", ", ".join(sorted(item.value.replace("_", " ") for item in design.intended)) or "-"),
        ("Order of pairs", "by start" if all(row.pair.started_at for row in result.pairs) else "as given"),
        ("Made", f"{_date(now)} by autopack {version}, nothing drawn at random"),
    ]
    return Table(("", ""), rows, words=2)


def _arms(*arms: ArmRuns) -> Table:
    def cells(name: str, values: Sequence[str]) -> tuple[str, ...]:
        return (name, *values)

    rows = [
        cells("Runs", [str(arm.runs) for arm in arms]),
        cells("Agents", [_several(arm.agents) for arm in arms]),
        cells("Models", [_several(arm.models) for arm in arms]),
        cells("Commits", [_several([commit[:12] for commit in arm.base_commits]) for arm in arms]),
        cells("Configuration", [arm.configuration_hash[:12] for arm in arms]),
        cells("Started", [f"{_date(arm.first_start)} to {_date(arm.last_start)}" for arm in arms]),
    ]
    return Table(("", *(arm.label for arm in arms)), rows, words=1 + len(arms))


def _checks(result: Comparison) -> Table:
    rows = [(check.status.value, check.id.replace("_", " "), check.message) for check in result.checks]
    return Table(("", "Check", "What was found"), rows, words=3)


def _metrics(result: Comparison) -> Iterator[str | Table]:
    yield _effects(result.metrics, result, "Effect of the change; the first row is the primary metric")
    yield _totals(result)
    if result.saved_tokens is not None:
        more = "saved" if result.saved_tokens >= 0 else "used more"
        pairs = next(item.n for item in result.metrics if item.metric.value == "total_tokens")
        tokens = number(abs(result.saved_tokens))
        yield f"Measured over {counted(pairs, 'pair')}: {tokens} tokens {more}. This is as uncertain as the ratio."
    if result.anytime is not None:
        state, after = result.anytime, result.anytime.decided_after
        decided = f"after {counted(after, 'pair')}" if after else "not yet"
        yield (
            f"Anytime-valid: decided {decided}. e-value of the signs {state.sign_e_value:.3g} (highest "
            f"{state.sign_e_value_max:.3g}), of success {state.success_e_value:.3g} (highest "
            f"{state.success_e_value_max:.3g}); 20 is evidence at the level 0.05."
        )
    yield _effects(result.both_succeeded, result, "The same where all runs of the pair succeeded, without tests")


def _effects(items: Sequence[MetricResult], result: Comparison, caption: str) -> Table:
    fixed = result.design.mode is Mode.FIXED
    head = [
        "Metric",
        "n",
        "left out",
        "effect",
        f"{100 * result.design.level:.4g} % interval",
        "Hodges-Lehmann",
        "p (t)",
    ]
    head += ["p (Wilcoxon)", "p (Holm)", "detectable"]
    rows = []
    for item in items:
        show = item.metric
        detectable = (
            "-" if item.smallest_detectable is None else effect_words(show, item.smallest_detectable).lstrip("+")
        )
        rows.append((
            show.words,
            str(item.n),
            str(item.left_out),
            "-" if item.effect is None else effect_words(show, item.effect),
            interval_words(show, item.interval) if item.interval else "-",
            "-" if item.hodges_lehmann is None else effect_words(show, item.hodges_lehmann),
            p_words(item.t_p),
            p_words(item.wilcoxon_p) + (f" {item.wilcoxon_method.value}" if item.wilcoxon_method else ""),
            p_words(item.holm_p),
            detectable,
        ))  # fmt: skip
    caption += "" if fixed else "; p values mean nothing where one may look at any time"
    return Table(head, rows, caption=caption)


def _totals(result: Comparison) -> Table:
    rows = []
    for item in result.metrics:
        change = "-" if item.percent_change is None else f"{item.percent_change:+.1f} %"
        for label, arm in (
            (result.design.control_label, item.control),
            (result.design.treatment_label, item.treatment),
        ):
            deviation = "-" if arm.stdev is None else value_words(item.metric, arm.stdev)
            values = [value_words(item.metric, value) for value in (arm.mean, arm.median)]
            total = value_words(item.metric, arm.total)
            rows.append((item.metric.words, label, str(arm.n), *values, deviation, total, change))
            change = ""
    head = ("Metric", "Arm", "n", "mean", "median", "standard deviation", "total", "change of total")
    return Table(head, rows, words=2, caption="What was used, by pair (repeats averaged)")


def _success(result: Comparison) -> Iterator[str | Table]:
    item, design = result.success, result.design
    yield Table(
        ("", f"{design.treatment_label} succeeded", f"{design.treatment_label} did not"),
        [
            (f"{design.control_label} succeeded", str(item.both), str(item.control_only)),
            (f"{design.control_label} did not", str(item.treatment_only), str(item.neither)),
        ],
        caption=f"Pairs of which both outcomes are known: {item.n}",
    )
    if item.difference is not None and item.control_rate is not None and item.treatment_rate is not None:
        words = f"Success {item.control_rate:.1%} and {item.treatment_rate:.1%}, "
        words += f"difference {percent_points(item.difference)} percentage points"
        if item.interval:
            words += f" ({percent_points(item.interval.low)} to {percent_points(item.interval.high)})"
        if item.mid_p is not None:
            words += f"; McNemar mid-p {p_words(item.mid_p)}, exact p {p_words(item.exact_p)}"
        status = item.guardrail.value if item.guardrail else "too few pairs to say"
        yield f"{words}. Guardrail: {status}."
    yield Table(
        ("Arm", "runs", "successes", "tokens per success", "cost per success"),
        [
            _per_success(design.control_label, result.control_per_success),
            _per_success(design.treatment_label, result.treatment_per_success),
        ],
        caption="What one success took, failures included",
    )


def _per_success(label: str, item: PerSuccess) -> tuple[str, ...]:
    tokens = "-" if item.tokens is None else number(item.tokens)
    cost = "-" if item.cost_usd is None else f"${item.cost_usd:,.4f}"
    return label, str(item.runs), str(item.successes), tokens, cost


def _pairs(result: Comparison) -> Iterator[Table]:
    metric = result.design.primary
    words = {True: "yes", False: "no", None: "?"}
    rows = [
        (
            row.pair.task,
            "-" if row.control is None else value_words(metric, row.control),
            "-" if row.treatment is None else value_words(metric, row.treatment),
            "left out" if row.effect is None else effect_words(metric, row.effect),
            f"{words[row.control_succeeded]} / {words[row.treatment_succeeded]}",
            _several([run.record.run_id for run in row.pair.control]),
            _several([run.record.run_id for run in row.pair.treatment]),
        )
        for row in result.pairs
    ]
    effect = "ratio" if metric.scale is Scale.RATIO else "difference"
    control, treatment = result.design.control_label, result.design.treatment_label
    head = ("Task", control, treatment, effect, "succeeded", f"{control} runs", f"{treatment} runs")
    yield Table(head, rows, caption=f"Pairs, by {metric.words}")
    left = [
        (
            item.task or "-",
            item.reason.value.replace("_", " "),
            item.detail,
            _several(item.control),
            _several(item.treatment),
        )
        for item in result.excluded
    ]
    if left:
        why = ("Task", "Reason", "Detail", f"{control} runs", f"{treatment} runs")
        yield Table(why, left, words=5, caption=f"Left out: {len(left)}")


def _estimates(result: Comparison) -> Iterator[str | Table]:
    yield "What doctor calls that were not needed would have taken. Part of no number above; sources are never added."
    labels = {Arm.CONTROL: result.design.control_label, Arm.TREATMENT: result.design.treatment_label}
    rows = [
        (
            labels[item.arm],
            item.avoided.source.value.replace("_", " "),
            number(item.avoided.count),
            number(item.avoided.tokens),
            number(item.avoided.total_n),
        )
        for item in result.estimates
    ]
    if rows:
        yield Table(("Arm", "Source", "calls", "tokens", "observations"), rows, words=2)
    else:
        yield "None were recorded."


def _several(values: Sequence[str]) -> str:
    return ", ".join(values) or "not recorded"


def _date(time: int | None) -> str:
    return "?" if time is None else datetime.fromtimestamp(time / 1e6, UTC).strftime("%Y-%m-%d %H:%M UTC")
