"""``autopack context`` and ``autopack drift``: what to keep in mind, and whether a change is still about it."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from autopack_api.intention.v1 import intention_pb2 as pb
from google.protobuf.json_format import MessageToDict
from rich.console import Console

from autopack_cli.goals import Goal, intention_of, options_named
from autopack_cli.judging import FailOn, Judgement, Range, Step, judge, read_range
from autopack_cli.options import Address, Json, Repository, Scope
from autopack_cli.render import clean, clean_name, console, enum_word, err_console, print_json, table
from autopack_cli.session import Needs, run, session

__all__ = ["register"]

SHOWN_TERMS = 12
SHOWN_FILES = 20
SHORT_ID = 10
EXIT_OFF_GOAL = 1

Texts = list[str] | None
GoalText = Annotated[
    str | None, typer.Option("--goal", metavar="TEXT", help="What is to be done; first line, then details.")
]
Title = Annotated[str, typer.Option(metavar="TEXT", help="The goal in one line, where the file does not say it.")]
RunName = Annotated[str, typer.Option("--run", metavar="NAME", help="Which run, if the file is a batch file.")]
NonGoalGlobs = Annotated[Texts, typer.Option(metavar="GLOB", help="Files that must not change; repeatable.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("context")(context)
    app.command("drift")(drift)


def context(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="Markdown, text or a batch file; - for standard input.")
    ] = None,
    goal: GoalText = None,
    title: Title = "",
    run_name: RunName = "",
    constraint: Annotated[Texts, typer.Option(metavar="TEXT", help="What must hold; repeatable.")] = None,
    acceptance: Annotated[Texts, typer.Option(metavar="TEXT", help="When it is done; repeatable.")] = None,
    scope: Scope = None,
    non_goal: Annotated[Texts, typer.Option(metavar="TEXT", help="What is not to be done; repeatable.")] = None,
    non_goal_glob: NonGoalGlobs = None,
    note: Annotated[Texts, typer.Option(metavar="TEXT", help="Anything else; repeatable.")] = None,
    budget: Annotated[int, typer.Option(metavar="BYTES", help="Bytes at most.")] = 2048,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Print the text that an agent is given: bounded, deterministic.

    The goal is a file with headings (Goal, Constraints, Acceptance, Scope, Non-goals, Notes), an issue's text, a run of
    a batch file, or --goal. Options add to what the file says.

    \b
    autopack context issue.md
    autopack context batch.yaml --run fix-login
    autopack context --goal "Fix the login loop" --scope src/ --constraint "Keep the public API"
    """
    more = {
        "constraints": constraint,
        "acceptance": acceptance,
        "scope": scope,
        "non_goals": non_goal,
        "non_goal_globs": non_goal_glob,
        "notes": note,
    }
    source = Goal(goal, file, "FILE", title, run_name, more).read()

    async def work() -> pb.BuildContextResponse:
        async with session(address, Needs(("intention",))) as client:
            request = pb.BuildContextRequest(intention=await intention_of(client, source), budget_bytes=budget)
            with options_named():
                return await client.intention.BuildContext(request)

    response = run(work)
    if as_json:
        print_json(response)
    else:
        typer.echo(response.text, nl=not response.text.endswith("\n"))


def drift(
    goal: GoalText = None,
    goal_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Markdown, text or a batch file; - for standard input.")
    ] = None,
    title: Title = "",
    run_name: RunName = "",
    repo: Repository = Path("."),
    since: Annotated[str, typer.Option(metavar="REV", help="Where the work began: a commit or a branch.")] = "HEAD~1",
    until: Annotated[str, typer.Option(metavar="REV", help="Its last commit.")] = "HEAD",
    squash: Annotated[bool, typer.Option("--squash", help="Judge all commits as one change.")] = False,
    fail_on: Annotated[
        FailOn, typer.Option("--fail-on", help="The mildest verdict that ends with status 1.")
    ] = FailOn.SCOPE,
    scope: Scope = None,
    non_goal_glob: NonGoalGlobs = None,
    note: Annotated[str, typer.Option(metavar="TEXT", help="What was said to be done, not the messages.")] = "",
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Judge whether commits are about their goal, measured against what the repository usually talks about.

    Each commit of --until that --since does not have is a step, the oldest first, without merges: two unrelated ones
    in a row are drift, one is watched. With --squash they are one change, as a pull request is reviewed. Both name
    files that look off goal, and every path outside of the scope.

    Exit status: 0 on goal, watched or too little to judge; 1 a path out of scope, or what --fail-on says; 2 bad input.
    --fail-on scope is the default; drift and watch fail earlier, never fails never.

    \b
    autopack drift --goal-file issue.md --since origin/main
    autopack drift --goal-file issue.md --since origin/main --squash --fail-on drift --json
    autopack drift --goal "Retry failed requests with backoff" --scope src/http/ --since HEAD~3
    """
    more = {"scope": scope, "non_goal_globs": non_goal_glob}
    source = Goal(goal, goal_file, "--goal-file", title, run_name, more).read()
    root = repo.expanduser().absolute()

    async def work() -> tuple[Range, Judgement]:
        commits = await read_range(root, since, until)
        async with session(address, Needs(("intention",))) as client:
            intention = await intention_of(client, source)
            with options_named():
                return commits, await judge(client, root, commits, intention, note=note, squash=squash)

    commits, found = run(work)
    failed = fail_on.fails(found.verdict)
    if as_json:
        sys.stdout.write(json.dumps(_as_dict(commits, found, squash, failed), indent=2) + "\n")
    else:
        _print(commits, found)
    raise typer.Exit(EXIT_OFF_GOAL if failed else 0)


def _as_dict(commits: Range, found: Judgement, squash: bool, failed: bool) -> dict[str, Any]:
    return {
        "mode": "squash" if squash else "steps",
        "since": commits.base,
        "until": commits.until,
        "shallow": commits.shallow,
        "run_verdict": pb.Verdict.Name(pb.Verdict.ValueType(found.verdict)),
        "failed": failed,
        "steps": [_step_dict(step) for step in found.steps],
        "whole": _step_dict(found.whole),
    }


def _step_dict(step: Step) -> dict[str, Any]:
    commit = {"commit": step.commit.id, "subject": step.commit.subject} if step.commit is not None else {}
    # With the fields that are 0 or false: a z of 0 is a drift, not a z that nobody knows.
    response = MessageToDict(step.response, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    return {**commit, **response}


def _print(commits: Range, found: Judgement) -> None:
    out = console()
    whole = found.whole.response
    single = found.steps[-1].response if len(found.steps) == 1 else whole
    out.print(_headline(found.verdict, single, len(found.steps)), style="bold", soft_wrap=True)
    if found.steps[0].commit is not None:
        _print_steps(out, found.steps)
    out.print(f"  shared terms:      {_words(whole.shared_terms)}", soft_wrap=True)
    out.print(f"  unexplained terms: {_words(whole.unexplained_terms)}", soft_wrap=True)
    outside = dict.fromkeys(whole.out_of_scope_paths, "")
    for step in found.steps:
        where = f"  (in {step.commit.id[:SHORT_ID]})" if step.commit is not None else ""
        outside |= {path: where for path in step.response.out_of_scope_paths if path not in outside}
    _print_files(out, "out of scope:     ", [f"{clean_name(path)}{where}" for path, where in outside.items()])
    off_goal = [f"{clean_name(file.path)}  {file.score:.2f}" for file in whole.off_goal_files]
    _print_files(out, "seems off goal:   ", off_goal)
    source = enum_word(pb.ProfileSource, whole.profile_source, "PROFILE_SOURCE_")
    out.print(f"  compared with:     {source}, {whole.profile_size} commits and changes", style="dim")
    for advisory in _advisories(found):
        out.print(f"  note:              {advisory}", style="yellow")
    for warning in _warnings(commits):
        err_console().print(f"warning: {warning}", style="yellow", soft_wrap=True)


def _headline(verdict: int, response: pb.CheckDriftResponse, steps: int) -> str:
    words = enum_word(pb.Verdict, verdict, "VERDICT_")
    if verdict == pb.VERDICT_INSUFFICIENT_EVIDENCE:
        return f"not judged: {words}"
    if steps > 1:
        return f"{words}  ({steps} commits)"
    return f"{words}  ({_z(response)}, confidence {response.confidence:.2f})"


def _z(response: pb.CheckDriftResponse) -> str:
    return "no common terms" if math.isnan(response.z) else f"z {response.z:.2f}"


def _print_steps(out: Console, steps: Iterable[Step]) -> None:
    rows = table("step", "commit", "verdict", "z", "so far", "subject")
    for number, step in enumerate(steps, 1):
        if step.commit is not None:
            own, run_so_far = step.response.step_verdict, step.response.run_verdict
            rows.add_row(
                str(number),
                step.commit.id[:SHORT_ID],
                enum_word(pb.Verdict, own, "VERDICT_"),
                "-" if math.isnan(step.response.z) else f"{step.response.z:.2f}",
                enum_word(pb.Verdict, run_so_far, "VERDICT_"),
                clean(step.commit.subject),
            )
    out.print(rows)


def _print_files(out: Console, name: str, files: list[str]) -> None:
    for file in files[:SHOWN_FILES]:
        out.print(f"  {name} {file}", soft_wrap=True)
    if len(files) > SHOWN_FILES:
        out.print(f"  {name} and {len(files) - SHOWN_FILES} more; --json names all")


def _advisories(found: Judgement) -> list[str]:
    raised = {advisory for step in (*found.steps, found.whole) for advisory in step.response.advisories}
    return [enum_word(pb.Advisory, advisory, "ADVISORY_") for advisory in sorted(raised)]


def _warnings(commits: Range) -> list[str]:
    found = []
    if commits.shallow:
        found.append("this clone is shallow: with little history to compare with, the check is weaker")
    if not commits.related:
        found.append("the two sides have no commit in common here: they are compared as one change")
    return found


def _words(terms: Iterable[str]) -> str:
    words = [clean(term) for term in terms]
    shown = ", ".join(words[:SHOWN_TERMS])
    return shown + (f" and {len(words) - SHOWN_TERMS} more" if len(words) > SHOWN_TERMS else "") if words else "none"
