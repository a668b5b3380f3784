"""``autopack patterns``: what the hardening service knows, and tools for those who write more of it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from autopack_kit.errors import FailedPrecondition
from rich.text import Text

from autopack_cli.render import clean, console, err_console

if TYPE_CHECKING:
    from autopack_hardening.checking import Checked

__all__ = ["register"]

SHOWN_CASES = 20


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    group = typer.Typer(help="Patterns of failures.", no_args_is_help=True, rich_markup_mode=None)
    group.command("test")(check)
    group.callback()(_group)
    app.add_typer(group, name="patterns")


def _group() -> None:
    """Patterns of failures: how they are recognised and what is done about them. See docs/patterns.md."""


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
        raise FailedPrecondition(
            f"{file} cannot be read: {error.strerror or error}.",
            reason="PATTERN_FILE_UNREADABLE",
            remedy="Check the path.",
        ) from error
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
