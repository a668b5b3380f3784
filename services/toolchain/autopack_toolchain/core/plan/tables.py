"""Rows of Markdown tables: which cell says what to do, whether it is done, and in which phase."""

from __future__ import annotations

from dataclasses import dataclass

from .blocks import Line
from .knowledge import Knowledge
from .words import words_of

__all__ = ["Row", "read_row"]

_TASK = frozenset({"task", "tasks", "deliverable", "change", "changes", "item", "action", "description", "what", "requirement", "todo", "work", "title", "summary", "story", "feature", "step", "goal", "title/description"})  # fmt: skip
_STATUS = frozenset({"status", "done", "state", "done?"})
_NAME = frozenset({"phase", "stage", "milestone", "step", "id", "#", "no", "no.", "nr", "name", "key", "wave"})
_NEEDS = frozenset({"depends on", "dependencies", "dependency", "depends", "requires", "after", "blocked by", "needs", "prerequisites", "prerequisite", "deps"})  # fmt: skip
_ADDED = frozenset({"file", "files", "path", "paths", "where", "location", "module", "component", "details", "notes"})
_FINISHED = frozenset(
    {"done", "x", "✅", "✓", "✔", "[x]", "complete", "completed", "finished", "merged", "closed", "yes"}
)


@dataclass(frozen=True, slots=True)
class Row:
    """A table row.

    Attributes:
        text: what is to be done.
        places: what other columns say about where.
        name: of the phase that the row is, empty without such a column.
        needs: what it depends on; None without such a column.
        done: whether a status column says that it is done.
    """

    text: str
    places: str
    name: str
    needs: str | None
    done: bool


def read_row(line: Line, known: Knowledge) -> Row | None:
    """The meaning of a row; None if no cell asks for anything."""
    cells = [(header.strip().lower(), text) for header, text in line.cells]
    task = next((text for header, text in cells if header in _TASK and text), "")
    if not task:
        asking = (text for header, text in cells if known.action_of(words_of(text)) and len(words_of(text)) > 1)
        task = next(asking, "")
    if not task:
        return None
    places = ", ".join(text for header, text in cells if header in _ADDED and text and text != task)
    name = next((text for header, text in cells if header in _NAME and text and text != task), "")
    needs = next((text for header, text in cells if header in _NEEDS), None)
    done = any(text.strip().lower() in _FINISHED for header, text in cells if header in _STATUS)
    return Row(task, places, name, needs, done)
