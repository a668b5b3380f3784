"""The text of a plan, read once: its lines, its title, its phases and its statements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .blocks import Kind, Line, read_lines
from .clauses import sentences
from .knowledge import Knowledge
from .language import foreign_statements, is_english
from .model import Role
from .phases import MAX_TITLE, Phases, find_phases, without_order
from .roles import Roles
from .signs import ENDS
from .statements import Sense, Statement, read_statements
from .words import words_of

__all__ = ["Source", "read_source"]

MAX_LABEL_LINES = 40
"""Lines at the top of a text among which a type of the work is looked for."""

_TOLD = frozenset({Kind.TEXT, Kind.ITEM, Kind.HEADING})


@dataclass(frozen=True, slots=True)
class Source:
    """The whole text.

    Attributes:
        lines: logical lines, without what they say about the order of phases.
        numbers: line of the text of each.
        title: its title, or empty.
        title_line: index of it, or -1.
        phases: as they stand in the text; none for a text without phases.
        statements: what each part of it says.
        english: whether the rules of English apply.
    """

    lines: list[Line]
    numbers: list[int]
    title: str
    title_line: int
    phases: Phases
    statements: list[Statement]
    english: bool

    def indexes(self, position: int) -> list[int]:
        """The lines of a phase; of a text without phases, all."""
        several = bool(self.phases.starts)
        return [n for n in range(len(self.lines)) if not several or self.phases.owner[n] == position]

    def said(self, position: int) -> list[Statement]:
        """The statements of a phase, -1 for those outside of all; of a text without phases, all."""
        several = bool(self.phases.starts)
        return [s for s in self.statements if not several or self.phases.owner[s.line] == position]

    def labels(self) -> list[tuple[str, int]]:
        """(text, line) of the lines at the top, among which the type of the work may be named."""
        return [(line.text, line.number) for line in self.lines[:MAX_LABEL_LINES] if line.kind in _TOLD]

    def is_goal(self, statement: Statement) -> bool:
        """Whether an item in front of the first phase says what is to be true in the end, not what is to be done."""
        first = self.phases.starts[0].line if self.phases.starts else 0
        wished = statement.sense is Sense.DELIVERABLE and not statement.action and statement.role is Role.WORK
        return wished and statement.line < first


def read_source(text: str, known: Knowledge) -> Source:
    """Reads a text.

    Raises:
        PlanTooLong, TooManyPhases, UnknownPhase, DependencyCycle: see there.
    """
    lines = read_lines(text)
    title_line = _title_line(lines, known)
    phases = find_phases(lines, Roles(lines, title_line, known), known)
    ordered = without_order(lines, phases, known)
    english = is_english(text, known)
    if english:
        statements = read_statements(ordered, Roles(ordered, title_line, known), known)
    else:
        statements = foreign_statements(ordered, known)
    title = lines[title_line].text[:MAX_TITLE] if title_line >= 0 else ""
    source = Source(ordered, [line.number for line in lines], title, title_line, phases, statements, english)
    goals = {id(statement) for statement in statements if phases.starts and source.is_goal(statement)}
    told = [replace(s, sense=Sense.ACCEPTANCE) if id(s) in goals else s for s in statements]
    return replace(source, statements=told)


def _title_line(lines: Sequence[Line], known: Knowledge) -> int:
    """The first heading, or a first line that is no sentence; -1 without one, or if it is the name of a section."""
    first = next((index for index, line in enumerate(lines) if line.kind is not Kind.CODE), -1)
    if first < 0 or lines[first].kind not in (Kind.HEADING, Kind.TEXT):
        return -1
    line = lines[first]
    words = words_of(line.text)
    if " ".join(words) in known.sections or known.section_prefix_index.at(words, 0):
        return -1
    is_phrase = (
        len(words) > 1
        and len(sentences(line.text, known)) == 1
        and not line.text.endswith((".", ",", ":", "!", "?", ";", *ENDS))
    )
    return first if line.kind is Kind.HEADING or (is_phrase and len(line.text) <= MAX_TITLE // 2) else -1
