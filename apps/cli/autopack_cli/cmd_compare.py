"""``autopack compare`` and ``autopack power``: did a change help, and how many runs does it take to tell?"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from autopack_api.telemetry.v1 import compare_pb2 as pb
from autopack_client import AsyncClient
from autopack_kit.errors import invalid_field
from rich.text import Text

from autopack_cli.designs import METRICS, PROPERTIES, Design, read_design
from autopack_cli.needs import Needs
from autopack_cli.options import Address, Json
from autopack_cli.render import clean, clean_name, console, enum_word, err_console, print_json, table
from autopack_cli.session import run, session

__all__ = ["register"]

REFUSED = 3
"""Exit status of a result that --fail-on names: neither an error (1) nor a wrong use (2)."""


class FailOn(StrEnum):
    """Results that end the command with status 3."""

    WORSE = "worse"
    INCONCLUSIVE = "inconclusive"


_STYLES = {pb.VERDICT_BETTER: "bold green", pb.VERDICT_WORSE: "bold red", pb.VERDICT_GUARDRAIL_BROKEN: "bold red"}
_WORSE = frozenset({pb.VERDICT_WORSE, pb.VERDICT_GUARDRAIL_BROKEN})
_FAILS = {FailOn.WORSE: _WORSE, FailOn.INCONCLUSIVE: frozenset(pb.Verdict.values()) - {pb.VERDICT_BETTER} - _WORSE}


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("compare")(compare)
    app.command("power")(power)


RunIds = Annotated[list[str] | None, typer.Option("--control", "-c", metavar="RUN", help="Run without the change.")]
Treated = Annotated[list[str] | None, typer.Option("--treatment", "-t", metavar="RUN", help="Run with it.")]


def compare(
    control: RunIds = None,
    treatment: Treated = None,
    control_batch: Annotated[
        list[str] | None, typer.Option(metavar="BATCH", help="Batch whose runs are without the change.")
    ] = None,
    treatment_batch: Annotated[
        list[str] | None, typer.Option(metavar="BATCH", help="Batch whose runs are with it.")
    ] = None,
    design: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Design as YAML or TOML, instead of the options about runs.")
    ] = None,
    primary: Annotated[
        str, typer.Option(metavar="METRIC", help=f"What the verdict is about: {', '.join(METRICS)}.")
    ] = "",
    differ: Annotated[
        list[str] | None,
        typer.Option(
            "--differ", metavar="WHAT", help=f"In what the arms are meant to differ: {', '.join(PROPERTIES)}."
        ),
    ] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report as Markdown.")] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report as one HTML page.")] = None,
    fail_on: Annotated[
        list[FailOn] | None,
        typer.Option(
            metavar="RESULT", help="End with status 3 if the result is this: worse, inconclusive; repeatable."
        ),
    ] = None,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Compare runs with a change to runs without it, in pairs by task, and say what the numbers show.

    \b
    autopack compare --control-batch before-1a2b3c --treatment-batch after-4d5e6f --html report.html
    autopack compare -c before-1a2b3c.login -c before-1a2b3c.cart -t after-4d5e6f.login -t after-4d5e6f.cart
    autopack compare --design hardening.yaml --markdown report.md --fail-on worse
    """
    wanted = _wanted(design, control, treatment, control_batch, treatment_batch, primary, differ)
    batches = bool(wanted.control_batches or wanted.treatment_batches)
    for path, report in ((markdown, pb.REPORT_FORMAT_MARKDOWN), (html, pb.REPORT_FORMAT_HTML)):
        if path is not None:
            wanted.request.formats.append(report)

    async def work() -> pb.CompareRunsResponse:
        async with session(address, Needs(("telemetry", "orchestrator") if batches else ("telemetry",))) as client:
            await _add_batches(client, wanted)
            return await client.telemetry.CompareRuns(wanted.request)

    response = run(work)
    if markdown is not None:
        _write(markdown, response.markdown.encode())
    if html is not None:
        _write(html, response.html)
    if as_json:
        print_json(_without_reports(response))
    else:
        _print(response)
    if any(response.verdict in _FAILS[item] for item in fail_on or ()):
        raise typer.Exit(REFUSED)


def power(
    sd: Annotated[
        float, typer.Option(metavar="SD", help="Spread of the logarithm of a pair's ratio; `compare` tells it.")
    ],
    ratio: Annotated[float | None, typer.Option(metavar="RATIO", help="Ratio that should be found, as 0.8.")] = None,
    pairs: Annotated[int | None, typer.Option(metavar="N", help="Or pairs that there will be.")] = None,
    power: Annotated[float, typer.Option(metavar="P", help="Probability of finding it.")] = 0.8,
    alpha: Annotated[float, typer.Option(metavar="A", help="Level of the test.")] = 0.05,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Say how many pairs of runs a comparison needs, or what so many pairs can find.

    \b
    autopack power --ratio 0.8 --sd 0.7
    autopack power --pairs 20 --sd 0.7
    """
    if (ratio is None) == (pairs is None):
        raise typer.BadParameter("give either --ratio or --pairs.", param_hint="--ratio")
    request = pb.PlanComparisonRequest(
        ratio=ratio or 0, pairs=_int32(pairs or 0), log_ratio_sd=sd, power=power, alpha=alpha
    )

    async def work() -> pb.PlanComparisonResponse:
        async with session(address, Needs(("telemetry",))) as client:
            return await client.telemetry.PlanComparison(request)

    plan = run(work)
    if as_json:
        print_json(plan)
        return
    found = f"a ratio of {plan.ratio:.3g}" if ratio else f"a ratio of {plan.ratio:.3g} or less"
    console().print(
        f"{plan.pairs} pairs find {found} with a probability of {plan.power:.0%} "
        f"(sd of log ratios {plan.log_ratio_sd:g}, level {plan.alpha:g})"
    )


def _int32(value: int) -> int:
    if not 0 <= value < 2**31:
        raise invalid_field("--pairs", f"{value} must be 2 to 1,000,000")
    return value


def _wanted(
    design: Path | None,
    control: list[str] | None,
    treatment: list[str] | None,
    control_batch: list[str] | None,
    treatment_batch: list[str] | None,
    primary: str,
    differ: list[str] | None,
) -> Design:
    if design is not None:
        if control or treatment or control_batch or treatment_batch or primary or differ:
            raise typer.BadParameter(
                "the design says what is compared; leave the other options out.", param_hint="--design"
            )
        return read_design(design)
    if primary and primary not in METRICS:
        raise invalid_field("--primary", f"{primary[:40]!r} is not one of {', '.join(METRICS)}")
    for item in differ or ():
        if item not in PROPERTIES:
            raise invalid_field("--differ", f"{item[:40]!r} is not one of {', '.join(PROPERTIES)}")
    request = pb.CompareRunsRequest(
        control_run_ids=control,
        treatment_run_ids=treatment,
        primary_metric=pb.ComparisonMetric.ValueType(METRICS.get(primary, 0)),
        intended_differences=[pb.RunProperty.ValueType(PROPERTIES[item]) for item in differ or ()],
    )
    return Design(request, control_batch or [], treatment_batch or [])


async def _add_batches(client: AsyncClient, wanted: Design) -> None:
    """The runs of the batches, each in its arm; they are paired by their names, which are recorded as their tasks."""
    from autopack_cli.progress import fetch_runs

    for batches, run_ids in (
        (wanted.control_batches, wanted.request.control_run_ids),
        (wanted.treatment_batches, wanted.request.treatment_run_ids),
    ):
        for batch in batches:
            run_ids.extend(item.run_id for item in await fetch_runs(client, batch))


def _without_reports(response: pb.CompareRunsResponse) -> pb.CompareRunsResponse:
    """What is printed as JSON: reports were written to their files."""
    bare = pb.CompareRunsResponse()
    bare.CopyFrom(response)
    bare.ClearField("markdown")
    bare.ClearField("html")
    return bare


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise invalid_field(str(path), f"cannot be written: {error.strerror or error}") from error


def _print(response: pb.CompareRunsResponse) -> None:
    out = console()
    out.print(Text(clean_name(response.sentence), style=_STYLES.get(response.verdict, "bold yellow")), soft_wrap=True)
    rows = table("metric", "n", "effect", "interval", "p (t)", "p (Wilcoxon)", "p (Holm)", "change of total")
    for item in response.metrics:
        rows.add_row(*map(Text, _metric_row(item)))
    out.print(rows)
    for check in response.checks:
        if check.status != pb.CHECK_STATUS_PASS:
            word = enum_word(pb.CheckStatus, check.status, "CHECK_STATUS_")
            style = "red" if check.status == pb.CHECK_STATUS_FAIL else "yellow"
            out.print(Text(f"{word}: {clean_name(check.message)}", style=style), soft_wrap=True)
    if response.excluded:
        out.print(f"left out: {len(response.excluded)}; --json, --markdown and --html say what and why")
    if response.HasField("actual_tokens_saved"):
        saved = response.actual_tokens_saved
        out.print(f"tokens {'saved' if saved >= 0 else 'used more'}, measured: {abs(saved):,.0f}")
    for estimate in response.estimates:
        label = response.design.treatment.label if estimate.treatment else response.design.control.label
        err_console().print(
            clean(f"estimate, not measured: {estimate.tokens:,} doctor tokens avoided in {label} ({estimate.source})"),
            style="dim",
            soft_wrap=True,
        )


def _metric_row(item: pb.MetricComparison) -> list[str]:
    def effect(value: float) -> str:
        return f"x{value:.3g}" if item.scale == pb.COMPARISON_SCALE_RATIO else f"{value:+,.4g}"

    def p(value: float, known: bool) -> str:
        return f"{value:.4f}" if known else "-"

    return [
        enum_word(pb.ComparisonMetric, item.metric, "COMPARISON_METRIC_"),
        str(item.n),
        effect(item.effect) if item.HasField("effect") else "-",
        f"{effect(item.interval.low)} to {effect(item.interval.high)}" if item.HasField("interval") else "-",
        p(item.t_p, item.HasField("t_p")),
        p(item.wilcoxon_p, item.HasField("wilcoxon_p")),
        p(item.holm_p, item.HasField("holm_p")),
        f"{item.percent_change:+.1f} %" if item.HasField("percent_change") else "-",
    ]
