"""A batch file that is refused: each problem with its line, as compilers tell it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn

import typer

from autopack_cli.batchfile import BatchFile
from autopack_cli.render import clean, err_console
from autopack_cli.yamlnodes import Problem

__all__ = ["EXIT_BAD_INPUT", "refuse"]

EXIT_BAD_INPUT = 2


def refuse(file: BatchFile, problems: Iterable[Problem], outcome: str = "nothing was started") -> NoReturn:
    """Tells the problems and ends the command."""
    out = err_console()
    found = sorted(set(problems))
    for problem in found:
        place = f"{file.path}:{problem.place.line}:{problem.place.column}"
        out.print(f"{place}: {clean(problem.message)}", soft_wrap=True)
    count = "1 problem" if len(found) == 1 else f"{len(found)} problems"
    out.print(f"error: {count} in {file.path}; {outcome}", style="bold red", soft_wrap=True)
    raise typer.Exit(EXIT_BAD_INPUT)
