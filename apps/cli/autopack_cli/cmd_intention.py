"""``autopack context`` and ``autopack drift``: what to keep in mind, and whether a change is still about it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer
from autopack_api.intention.v1 import intention_pb2 as pb
from autopack_client.evidence import change_evidence
from autopack_client.profile import build_profile

from autopack_cli.batchvalues import split_goal
from autopack_cli.options import Address, Json, Repository, Scope
from autopack_cli.render import clean, console, enum_word, print_json
from autopack_cli.session import Needs, run, session

__all__ = ["register"]

SHOWN_TERMS = 12
SHOWN_FILES = 10

Goal = Annotated[str, typer.Option("--goal", metavar="TEXT", help="What is to be done; first line, then details.")]
Texts = list[str] | None


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("context")(context)
    app.command("drift")(drift)


def context(
    goal: Goal,
    constraint: Annotated[Texts, typer.Option(metavar="TEXT", help="What must hold; repeatable.")] = None,
    acceptance: Annotated[Texts, typer.Option(metavar="TEXT", help="When it is done; repeatable.")] = None,
    scope: Scope = None,
    non_goal: Annotated[Texts, typer.Option(metavar="TEXT", help="What is not to be done; repeatable.")] = None,
    note: Annotated[Texts, typer.Option(metavar="TEXT", help="Anything else; repeatable.")] = None,
    budget: Annotated[int, typer.Option(metavar="BYTES", help="Bytes at most.")] = 2048,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Print the text that an agent is given: bounded, deterministic.

    \b
    autopack context --goal "Fix the login loop" --scope src/ --constraint "Keep the public API"
    """
    title, description = split_goal(goal)
    intention = pb.Intention(
        title=title,
        description=description,
        constraints=constraint,
        acceptance=acceptance,
        scope=scope,
        non_goals=non_goal,
        notes=note,
    )

    async def work() -> pb.BuildContextResponse:
        async with session(address, Needs(("intention",))) as client:
            return await client.intention.BuildContext(pb.BuildContextRequest(intention=intention, budget_bytes=budget))

    response = run(work)
    if as_json:
        print_json(response)
    else:
        typer.echo(response.text, nl=not response.text.endswith("\n"))


def drift(
    goal: Goal,
    repo: Repository = Path("."),
    base: Annotated[str, typer.Option(metavar="REV", help="Commit before the change.")] = "HEAD~1",
    target: Annotated[str, typer.Option(metavar="REV", help="Commit after it.")] = "HEAD",
    scope: Scope = None,
    note: Annotated[str, typer.Option(metavar="TEXT", help="What the agent says it did.")] = "",
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Judge whether a change is about its goal, measured against what the repository usually talks about.

    \b
    autopack drift --goal "Retry failed requests with backoff" --base main --target HEAD
    """
    title, description = split_goal(goal)

    async def work() -> pb.CheckDriftResponse:
        evidence = await change_evidence(repo, base, target)
        profile = await build_profile(repo, base)
        async with session(address, Needs(("intention",))) as client:
            stored = await client.intention.PutProfile(pb.PutProfileRequest(profile=profile.to_proto()))
            request = pb.CheckDriftRequest(
                intention=pb.Intention(title=title, description=description, scope=scope),
                profile_id=stored.profile_id,
                evidence=evidence.to_proto(),
                note=note,
                final=True,
            )
            return await client.intention.CheckDrift(request)

    response = run(work)
    if as_json:
        print_json(response)
    else:
        _print(response)


def _print(response: pb.CheckDriftResponse) -> None:
    out = console()
    z = "no background" if math.isnan(response.z) else f"z {response.z:.2f}"
    verdict = enum_word(pb.Verdict, response.run_verdict, "VERDICT_")
    out.print(f"{verdict}  ({z}, confidence {response.confidence:.2f})", style="bold")
    out.print(f"  shared terms:      {_words(response.shared_terms)}")
    out.print(f"  unexplained terms: {_words(response.unexplained_terms)}")
    for path in response.out_of_scope_paths[:SHOWN_FILES]:
        out.print(f"  out of scope:      {clean(path)}")
    for file in response.off_goal_files[:SHOWN_FILES]:
        out.print(f"  seems off goal:    {clean(file.path)}  {file.score:.2f}")
    source = enum_word(pb.ProfileSource, response.profile_source, "PROFILE_SOURCE_")
    out.print(f"  compared with:     {source}, {response.profile_size} commits and changes", style="dim")
    for advisory in response.advisories:
        out.print(f"  note:              {enum_word(pb.Advisory, advisory, 'ADVISORY_')}", style="yellow")


def _words(terms: object) -> str:
    words = [clean(str(term)) for term in terms]  # type: ignore[attr-defined]  # a repeated field
    shown = ", ".join(words[:SHOWN_TERMS])
    return shown + (f" and {len(words) - SHOWN_TERMS} more" if len(words) > SHOWN_TERMS else "") if words else "none"
