"""``autopack demo``: the whole machine on three small repositories, and whether each run ended as it should."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_api.telemetry.v1 import telemetry_pb2
from autopack_client import AsyncClient, AutopackError, get_patch, read_log
from autopack_kit.errors import FailedPrecondition
from rich.console import Console
from rich.text import Text

from autopack_cli import session as sessions
from autopack_cli.attend import run_batches
from autopack_cli.cmd_stats import describe_estimate
from autopack_cli.demo.repositories import make_mixed, make_node, make_python
from autopack_cli.demo.scenarios import DemoBatch, Scenario, batches
from autopack_cli.options import Json
from autopack_cli.progress import fetch_runs
from autopack_cli.render import clean, console, elapsed, err_console, print_json
from autopack_cli.results import avoided_tokens, print_problems, results_table, state_word
from autopack_cli.session import INTERRUPTED, Needs, session

__all__ = ["register"]

AT_ONCE = 3
_MAKERS = {"python": make_python, "node": make_node, "mixed": make_mixed}
_KEPT_VARIABLES = frozenset({"AUTOPACK_LOG_LEVEL", "AUTOPACK_LOG_FORMAT"})


@dataclass(frozen=True, slots=True)
class _Result:
    scenario: Scenario
    run: pb.Run
    problem: str


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("demo")(demo)


def demo(
    keep_in: Annotated[
        Path | None, typer.Option("--dir", metavar="DIR", help="Where; default: a temporary one.")
    ] = None,
    clean_up: Annotated[bool, typer.Option("--clean", help="Remove everything at the end.")] = False,
    as_json: Json = False,
) -> None:
    """Run scripted agents on three real git repositories, and compare what became of each run with what should have.

    \b
    autopack demo
    """
    directory = Path(tempfile.mkdtemp(prefix="autopack-demo-")) if keep_in is None else keep_in.absolute()
    if keep_in is not None and directory.exists() and any(directory.iterdir()):
        raise FailedPrecondition(
            f"{directory} is not empty.", reason="DIRECTORY_NOT_EMPTY", remedy="Name a new or an empty directory."
        )
    try:
        with _own_environment(directory / "data"):
            status = sessions.run(lambda: _demo(directory, as_json=as_json, kept=not clean_up))
    finally:
        if clean_up:
            shutil.rmtree(directory, ignore_errors=True)
    raise typer.Exit(status)


async def _demo(directory: Path, *, as_json: bool, kept: bool) -> int:
    out, started = err_console() if as_json else console(), time.monotonic()
    no_node = await asyncio.to_thread(_why_no_node)
    chosen = batches(with_node=not no_node)
    names = [batch.repository for batch in chosen]
    out.print(f"Three repositories in {directory / 'repositories'}", soft_wrap=True)
    for name in names:
        await asyncio.to_thread(_MAKERS[name], directory / "repositories" / name)
    if no_node:
        out.print(Text(f"node-missing-dependency: skipped, {no_node}; a Python run takes its place.", style="yellow"))
    async with session(None, Needs(roots=[directory], carry_out=True)) as client:
        created = [await _create(client, directory, batch) for batch in chosen]
        if await run_batches(client, [batch.batch_id for batch in created], err_console()):
            return INTERRUPTED
        results = [
            result
            for batch, made in zip(chosen, created, strict=True)
            for result in _compare(batch.scenarios, await fetch_runs(client, made.batch_id))
        ]
        await _keep(client, directory / "results", results)
        if as_json:
            print_json(pb.ListRunsResponse(runs=[result.run for result in results]))
        await _report(client, out, results)
    if kept:
        for name in names:
            repository = directory / "repositories" / name
            out.print(f"branches: git -C {repository} branch --list 'autopack/*'", style="dim", soft_wrap=True)
        out.print(f"patches and logs: {directory / 'results'}", style="dim", soft_wrap=True)
    out.print(f"took {elapsed(time.monotonic() - started)}", style="dim")
    return int(any(result.problem for result in results))


@contextmanager
def _own_environment(data_dir: Path) -> Iterator[None]:
    """The demo has settings and data of its own: whatever server or history the user has is left alone."""
    before = {name: value for name, value in os.environ.items() if name.startswith("AUTOPACK_")}
    for name in before.keys() - _KEPT_VARIABLES:
        del os.environ[name]
    os.environ["AUTOPACK_DATA_DIR"] = str(data_dir)
    os.environ["AUTOPACK_ORCHESTRATOR_MAX_CONCURRENT_RUNS"] = str(AT_ONCE)
    try:
        yield
    finally:
        for name in [name for name in os.environ if name.startswith("AUTOPACK_")]:
            del os.environ[name]
        os.environ.update(before)


def _why_no_node() -> str:
    """Why the Node run cannot take place; empty if it can."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
        answer = subprocess.run([program, "--version"], capture_output=True, timeout=60, check=False)
        if answer.returncode:
            return f"{program} does not work"
    return ""


async def _create(client: AsyncClient, directory: Path, batch: DemoBatch) -> pb.Batch:
    request = pb.CreateBatchRequest()
    request.spec.name = f"demo-{batch.repository}"
    request.spec.path = str(directory / "repositories" / batch.repository)
    request.spec.max_concurrent_runs = AT_ONCE
    request.spec.runs.extend(scenario.spec for scenario in batch.scenarios)
    return (await client.orchestrator.CreateBatch(request)).batch


def _compare(scenarios: Sequence[Scenario], runs: Sequence[pb.Run]) -> list[_Result]:
    by_name = {run.name: run for run in runs}
    found = [(scenario, by_name[scenario.spec.name]) for scenario in scenarios]
    return [_Result(scenario, run, scenario.check(run)) for scenario, run in found]


async def _keep(client: AsyncClient, directory: Path, results: Sequence[_Result]) -> None:
    """Patch and log of each run as files, for whoever wants to look."""
    directory.mkdir(parents=True, exist_ok=True)
    for result in results:
        stem = directory / result.run.name
        stem.with_suffix(".log").write_bytes(b"".join([piece async for piece in read_log(client, result.run.run_id)]))
        if result.run.patch_bytes:
            patch = b"".join([piece async for piece in get_patch(client, result.run.run_id)])
            stem.with_suffix(".patch").write_bytes(patch)


async def _report(client: AsyncClient, out: Console, results: Sequence[_Result]) -> None:
    runs = [result.run for result in results]
    avoided = await avoided_tokens(client, runs)
    out.print(results_table(runs, avoided))
    out.print()
    print_problems(out, runs)
    out.print()
    _print_expectations(out, results)
    out.print()
    out.print(await _avoided_words(client, runs, avoided), soft_wrap=True)


def _print_expectations(out: Console, results: Sequence[_Result]) -> None:
    width = max(len(result.run.name) for result in results)
    for result in results:
        word, style = ("WRONG", "bold red") if result.problem else ("ok", "green")
        seen = result.problem or state_word(result.run).replace("_", " ")
        line = f"{result.run.name:<{width}}  expected: {result.scenario.expected}; seen: {clean(seen)}"
        out.print(Text.assemble((f"{word:<5}  ", style), line), soft_wrap=True)
    right = sum(not result.problem for result in results)
    out.print(f"{right} of {len(results)} runs ended as they should", style="bold")


async def _avoided_words(
    client: AsyncClient, runs: Sequence[pb.Run], avoided: dict[str, telemetry_pb2.AvoidedTokens]
) -> str:
    calls = sum(item.fixed for run in runs for item in run.mitigations)
    tokens = sum(item.tokens for item in avoided.values())
    try:
        response = await client.telemetry.EstimateAvoidedTokens(telemetry_pb2.EstimateAvoidedTokensRequest())
    except AutopackError as error:
        return f"{calls} doctor calls were not needed; what they would have cost is not known: {error.message}"
    return (
        f"{calls} doctor calls were not needed: about {tokens:,} tokens avoided; "
        f"one call is taken as {describe_estimate(response.estimate)}"
    )
