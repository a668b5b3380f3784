"""Rows of Markdown tables: which cell says what to do, whether it is done, and in which phase."""

from __future__ import annotations

from dataclasses import dataclass

from .blocks import Line
from .knowledge import Knowledge
from .words import words_of

__all__ = ["Row", "read_row"]


@dataclass(frozen=True, slots=True)
class Row:
    """A table row.

    Attributes:
        text: what is to be done.
        places: what other columns say about where.
        name: of the phase that the row is, empty without such a column.
        needs: what it depends on; None without such a column.
        done: whether a status column says that it is done.
        is_task: whether a column of tasks says it, and not only its verb.
    """

    text: str
    places: str
    name: str
    needs: str | None
    done: bool
    is_task: bool


def read_row(line: Line, known: Knowledge) -> Row | None:
    """The meaning of a row; None if no cell asks for anything."""

    def column(kind: str) -> list[str]:
        """The cells of the columns of a kind."""
        names = known.words[f"tables.{kind}"]
        return [text for header, text in line.cells if header.strip().lower() in names]

    asking = (text for _, text in line.cells if known.action_of(words_of(text)) and len(words_of(text)) > 1)
    task = next(filter(None, column("task")), "") or next(asking, "")
    if not task:
        return None
    return Row(
        text=task,
        places=", ".join(text for text in column("places") if text and text != task),
        name=next((text for text in column("name") if text and text != task), ""),
        needs=next(iter(column("needs")), None),
        is_task=task in column("task"),
        done=any(text.strip().lower() in known.words["tables.finished"] for text in column("status")),
    )
