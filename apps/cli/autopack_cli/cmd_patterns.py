"""``autopack patterns``: what the hardening service knows, and tools for those who write more of it."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from autopack_api.hardening.v1 import hardening_pb2 as pb
from autopack_api.hardening.v1 import patterns_pb2
from autopack_client import AsyncClient
from autopack_kit.errors import FailedPrecondition, invalid_field
from rich.text import Text

from autopack_cli import session as sessions
from autopack_cli.options import Address, Json
from autopack_cli.render import (
    clean,
    console,
    enum_word,
    err_console,
    local_time,
    print_json,
    print_messages,
    table,
)
from autopack_cli.session import Needs, session

if TYPE_CHECKING:
    from autopack_hardening.checking import Checked

__all__ = ["register"]

SHOWN_CASES = 20
SHOWN_CLUSTERS = 10
PAGE = 200
MAX_FILE_BYTES = 1 << 20
"""Bytes of a pattern file; the largest built-in one has a tenth."""
_NEEDS = Needs(("hardening",))
_TABLE = re.compile(r"(?m)^[ \t]*\[\[[ \t]*pattern[ \t]*\]\]")


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    group = typer.Typer(help="Patterns of failures.", no_args_is_help=True, rich_markup_mode=None)
    group.command("list")(list_patterns)
    group.command("show")(show)
    group.command("unmatched")(unmatched)
    group.command("add")(add)
    group.command("remove")(remove)
    group.command("test")(check)
    group.callback()(_group)
    app.add_typer(group, name="patterns")


def _group() -> None:
    """Patterns of failures: how they are recognised and what is done about them. See docs/patterns.md."""


def list_patterns(
    family: Annotated[str, typer.Option(metavar="NAME", help="Only of this family, for example git.")] = "",
    custom: Annotated[bool, typer.Option("--custom", help="Only custom ones.")] = False,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """List the patterns by priority, with how often their mitigations were proven to help.

    \b
    autopack patterns list --family python-packaging
    autopack patterns list --custom --json
    """

    async def work() -> list[pb.Pattern]:
        request = pb.ListPatternsRequest(page_size=PAGE, family=family, custom_only=custom)
        found: list[pb.Pattern] = []
        async with session(address, _NEEDS) as client:
            while True:
                answer = await client.hardening.ListPatterns(request)
                found += answer.patterns
                request.page_token = answer.next_page_token
                if not answer.next_page_token:
                    _warn(answer.warnings)
                    return found

    found = sessions.run(work)
    if as_json:
        print_json(pb.ListPatternsResponse(patterns=found))
        return
    rows = table("id", "title", "family", "tier", "priority", "action", "helped")
    for one in found:
        action = "disabled" if one.disabled_reason else ", ".join(one.actions) or "advice"
        rows.add_row(
            one.pattern_id, Text(clean(one.title)), one.family, str(one.tier), str(one.priority), action, _helped(one)
        )
    if found:
        console().print(rows)
    console().print(f"{len(found)} {'pattern' if len(found) == 1 else 'patterns'}")


def show(
    pattern_id: Annotated[str, typer.Argument(metavar="ID", help="Its id, or an earlier name.")],
    definition: Annotated[
        bool, typer.Option("--definition", help="Only the pattern file of a custom one, to be changed and added.")
    ] = False,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Show one pattern: what it recognises, what is done about it, how often that helped.

    \b
    autopack patterns show uv.lock_outdated
    autopack patterns show custom.press_jammed --definition > press.toml
    """

    async def work() -> pb.Pattern:
        async with session(address, _NEEDS) as client:
            return (await client.hardening.GetPattern(pb.GetPatternRequest(pattern_id=pattern_id))).pattern

    found = sessions.run(work)
    if definition and not found.is_custom:
        raise invalid_field("--definition", f"is for custom patterns; {found.pattern_id} is built in")
    if as_json:
        print_json(found)
    elif definition:
        typer.echo(found.definition, nl=False)
    else:
        _print_pattern(found)


def unmatched(
    skeletons: Annotated[
        bool, typer.Option("--skeletons", help="With a pattern file for each, to be filled in.")
    ] = False,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Show failures that no pattern explains, alike ones together, the most frequent first: the next patterns to write.

    \b
    autopack patterns unmatched
    autopack patterns unmatched --skeletons > new.toml && $EDITOR new.toml && autopack patterns test new.toml
    """

    async def work() -> list[patterns_pb2.UnmatchedCluster]:
        async with session(address, _NEEDS) as client:
            return [one async for one in _clusters(client)]

    found = sessions.run(work)
    if as_json:
        print_json(patterns_pb2.ListUnmatchedResponse(clusters=found))
        return
    for index, one in enumerate(found[:SHOWN_CLUSTERS]):
        if skeletons:
            # Together they are one file, which names its family once.
            family, _, rest = one.skeleton.partition("\n")
            typer.echo(f"{family if not index else ''}\n# {one.count} times{clean(rest)}", nl=False)
        else:
            _print_cluster(one)
    more = len(found) - SHOWN_CLUSTERS
    if not found or more > 0:
        err_console().print(f"and {more} more: --json shows all" if found else "Nothing is unmatched.")


def add(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A pattern file (docs/patterns.md).")],
    replace: Annotated[bool, typer.Option("--replace", help="Replace patterns that exist.")] = False,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Add the patterns of a file to the service, each proven on its samples and on those of all others.

    They work at once, for this tenant. Needs a token with scope admin, or the UNIX socket.

    \b
    autopack patterns add my-patterns.toml
    """
    definitions = _definitions(file)

    async def work() -> list[patterns_pb2.CreatePatternResponse]:
        async with session(address, _NEEDS) as client:
            return [await _add(client, id_, definition, replace=replace) for id_, definition in definitions]

    added = sessions.run(work)
    if as_json:
        print_messages(added)
        return
    for one in added:
        console().print(Text(f"{one.pattern_id}  revision {one.revision}"))


def remove(
    pattern_id: Annotated[str, typer.Argument(metavar="ID", help="Of a custom pattern.")],
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Remove a custom pattern, with what was counted of it.

    \b
    autopack patterns remove custom.press_jammed
    """

    async def work() -> patterns_pb2.DeletePatternResponse:
        async with session(address, _NEEDS) as client:
            return await client.hardening.DeletePattern(patterns_pb2.DeletePatternRequest(pattern_id=pattern_id))

    answer = sessions.run(work)
    if as_json:
        print_json(answer)
    else:
        console().print(Text(f"{clean(pattern_id)} removed"))


async def _clusters(client: AsyncClient) -> AsyncIterator[patterns_pb2.UnmatchedCluster]:
    request = patterns_pb2.ListUnmatchedRequest(page_size=PAGE)
    while True:
        answer = await client.hardening.ListUnmatched(request)
        for one in answer.clusters:
            yield one
        request.page_token = answer.next_page_token
        if not answer.next_page_token:
            return


async def _add(client: AsyncClient, id_: str, definition: str, *, replace: bool) -> patterns_pb2.CreatePatternResponse:
    if replace:
        own = await client.hardening.ListPatterns(pb.ListPatternsRequest(page_size=500, custom_only=True))
        known = next((one.revision for one in own.patterns if one.pattern_id == id_), 0)
        if known:
            request = patterns_pb2.UpdatePatternRequest(definition=definition, revision=known)
            revision = (await client.hardening.UpdatePattern(request)).revision
            return patterns_pb2.CreatePatternResponse(pattern_id=id_, revision=revision)
    return await client.hardening.CreatePattern(patterns_pb2.CreatePatternRequest(definition=definition))


def _definitions(file: Path) -> list[tuple[str, str]]:
    """Id and text of each pattern of a file: its own table with what stands before the first one."""
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise _unreadable(file, error) from error
    if len(content) > MAX_FILE_BYTES:
        raise invalid_field("FILE", f"{file} has more than {MAX_FILE_BYTES} bytes")
    try:
        text = content.decode("utf-8")
        tables = tomllib.loads(text).get("pattern", [])
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise invalid_field("FILE", f"{file} is no valid TOML: {error}") from error
    starts = [match.start() for match in _TABLE.finditer(text)]
    if not tables or not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
        raise invalid_field("FILE", f"{file} has no [[pattern]]")
    if len(starts) != len(tables):
        raise invalid_field("FILE", f"{file} has [[pattern]] inside of a text; put each pattern into a file of its own")
    ends = [*starts[1:], len(text)]
    head = text[: starts[0]]
    pieces = [head + text[start:end] for start, end in zip(starts, ends, strict=True)]
    return [(str(one.get("id", "")), piece) for one, piece in zip(tables, pieces, strict=True)]


def _print_pattern(found: pb.Pattern) -> None:
    out = console()
    out.print(Text.assemble((clean(found.title), "bold"), f"  ({found.pattern_id})"))
    facts = [f"family {found.family}", f"tier {found.tier}", f"priority {found.priority}"]
    if found.is_custom:
        facts.append(f"custom, revision {found.revision}")
    out.print(Text("  " + ", ".join(facts), style="dim"))
    if found.disabled_reason:
        out.print(Text(f"  disabled: {clean(found.disabled_reason)}", style="yellow"), soft_wrap=True)
    if found.description:
        out.print(Text(f"  {clean(found.description)}"), soft_wrap=True)
    for name, values in (("any", found.any), ("all", found.all), ("none", found.none), ("command", found.commands)):
        for value in values:
            out.print(Text(f"  {name}: {clean(value)}"), soft_wrap=True)
    if found.actions:
        approval = enum_word(pb.Approval, found.approval, "APPROVAL_")
        out.print(Text(f"  fix: {', '.join(found.actions)} ({approval})"), soft_wrap=True)
    for suggestion in (*found.suggestions, *found.otherwise):
        out.print(Text(f"  suggestion: {clean(suggestion.text)}"), soft_wrap=True)
    out.print(Text(f"  helped: {_helped(found)}"))


def _print_cluster(cluster: patterns_pb2.UnmatchedCluster) -> None:
    out = console()
    out.print(Text.assemble((f"{cluster.count}x ", "bold"), clean(cluster.template)), soft_wrap=True)
    programs = ", ".join(map(clean, cluster.programs)) or "unknown program"
    since = f"{local_time(cluster.first_time):%Y-%m-%d} to {local_time(cluster.last_time):%Y-%m-%d}"
    out.print(Text(f"  {programs}; {since}", style="dim"), soft_wrap=True)


def _helped(found: pb.Pattern) -> str:
    """``60% of 5``; empty without any outcome."""
    one = found.success
    total = one.fixed + one.progressed + one.unchanged + one.worse
    return f"{one.rate:.0%} of {total}" if total else "-"


def _warn(warnings: Any) -> None:
    for warning in warnings:
        err_console().print(Text(f"warning: {clean(warning)}", style="yellow"), soft_wrap=True)


def _unreadable(file: Path, error: OSError) -> FailedPrecondition:
    return FailedPrecondition(
        f"{file} cannot be read: {error.strerror or error}.",
        reason="PATTERN_FILE_UNREADABLE",
        remedy="Check the path.",
    )


def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A pattern file (docs/patterns.md).")],
    corpus: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Labelled outputs, too. Default: hardening in AUTOPACK_CORPORA, if set."),
    ] = None,
) -> None:
    """Check a pattern file: keys, expressions, samples, near misses of all other patterns, labelled outputs.

    \b
    autopack patterns test my-patterns.toml

    Exit status: 0 sound, 1 not.
    """
    from autopack_hardening.checking import check_patterns

    try:
        checked = check_patterns(file)
    except OSError as error:
        raise _unreadable(file, error) from error
    for problem in checked.errors:
        err_console().print(Text(f"error: {clean(str(problem))}", style="red"), soft_wrap=True)
    count = len(checked.patterns)
    console().print(f"{count} {'pattern' if count == 1 else 'patterns'}, {len(checked.errors)} errors")
    root = corpus or (Path(os.environ["AUTOPACK_CORPORA"]) / "hardening" if "AUTOPACK_CORPORA" in os.environ else None)
    if root is not None and (root / "cases.jsonl").is_file():
        _judge(checked, root / "cases.jsonl")
    raise typer.Exit(int(bool(checked.errors)))


def _judge(checked: Checked, path: Path) -> None:
    """Prints what the patterns of the file do to labelled outputs: right, missed, taken."""
    own = {pattern.id for pattern in checked.patterns}
    right, missed, taken = 0, [], []
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            case = json.loads(line)
            best = _best(checked, case)
            label = case["label"] if case["kind"] == "positive" else "none"
            right += best in own and best == label
            if label in own and best != label:
                missed.append(f"{case['id']}: {label}, named {best or 'nothing'}")
            elif best in own and best != label:
                taken.append(f"{case['id']}: {label}, taken by {best}")
    out = console()
    out.print(f"labelled outputs: {right} right, {len(missed)} missed, {len(taken)} taken from others")
    for one in (missed + taken)[:SHOWN_CASES]:
        out.print(Text(f"  {clean(one)}"), soft_wrap=True)


def _best(checked: Checked, case: dict[str, Any]) -> str | None:
    from autopack_hardening import Ending, Failure
    from autopack_hardening.core.patterns import parse_line

    code = case.get("exit_code")
    ending = Ending(int(case["kind"] == "positive") if code is None else code)
    found = checked.core.diagnose(Failure(parse_line(case.get("command") or ""), ending, case["output"].encode()))
    return found.diagnoses[0].pattern_id if found.diagnoses else None
