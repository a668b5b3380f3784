"""Which lines belong to which phase of a plan, and what the phases depend on.

A phase is begun by a numbered word ("## Phase 2: API", "**Stage B**", "Milestone 3 - ..."), or it is one of several
sections, items of one list, or rows of one table of which at least one says what it depends on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ...errors import TooManyPhases
from .blocks import Kind, Line
from .clauses import sentences
from .dependencies import Names, Need, find_needs, in_order, resolve, roman, says_nothing
from .knowledge import Knowledge
from .model import Role
from .roles import Roles, heading_role
from .signs import DASHES
from .tables import read_row
from .words import words_of

__all__ = ["MAX_PHASES", "MAX_TITLE", "Phases", "Start", "find_phases", "slug", "without_order"]

MAX_PHASES = 50
"""Phases of one plan: each is a run of its own, and nobody reviews more of one plan."""

MAX_TITLE = 200
"""Characters of a title; the goal of a run takes 500 bytes."""

_MAX_ID = 40
_MAX_NUMBER = 12
_SLUG = re.compile(r"[^a-z0-9]+")
_NUMBERED = re.compile(r"^[\s#]*(?:[0-9]{1,3}(?:\.[0-9]{1,3})*[.):]|[IVX]{1,5}[.)])\s+")
_STEP_ROLES = frozenset({Role.REPRODUCTION, Role.VALIDATION, Role.IGNORED, Role.NON_GOALS, Role.REFERENCES})


@dataclass(slots=True)
class Start:
    """Where a phase begins.

    Attributes:
        line: index of the line.
        number: as the text counts it; empty without one.
        title: without number and without what it depends on.
        needs: what is said about its order.
    """

    line: int
    number: str
    title: str
    needs: list[Need] = field(default_factory=list)
    stated: bool = False
    phase_id: str = ""


@dataclass(frozen=True, slots=True)
class Phases:
    """The phases of a text.

    Attributes:
        starts: in the order of the text; empty for a text without phases.
        owner: phase of each line, by its index: position in ``starts``, or -1.
        depends_on: ids by id, in an order in which each phase stands behind those it needs.
        implied: that the order is only that of the numbers.
        outside: needs that name nothing of this plan, by phase id.
    """

    starts: tuple[Start, ...]
    owner: tuple[int, ...]
    depends_on: Mapping[str, tuple[str, ...]]
    implied: bool
    outside: Mapping[str, tuple[Need, ...]]


def find_phases(lines: Sequence[Line], roles: Roles, known: Knowledge) -> Phases:
    """The phases of a text.

    Raises:
        TooManyPhases, UnknownPhase, DependencyCycle: see there.
    """
    starts, word = _starts(lines, roles, known)
    if len(starts) > MAX_PHASES:
        raise TooManyPhases(len(starts), MAX_PHASES)
    owner = _owners(lines, starts)
    if not starts:
        return Phases((), owner, {}, False, {})
    _name(starts)
    for index, line in enumerate(lines):
        if owner[index] >= 0 and index != starts[owner[index]].line and line.kind in (Kind.TEXT, Kind.ITEM):
            _read_needs(starts[owner[index]], index, line, roles, known)
    names = Names({start.phase_id: (start.number, start.title) for start in starts}, word, known)
    numbers = {index: line.number for index, line in enumerate(lines)}
    found: dict[str, tuple[str, ...]] = {}
    outside: dict[str, tuple[Need, ...]] = {}
    for start in starts:
        needs, other = resolve(start.phase_id, start.needs, names, numbers)
        start.stated = bool(needs) or any(need.parallel or says_nothing(need) for need in start.needs)
        found[start.phase_id], outside[start.phase_id] = tuple(needs), tuple(other)
    implied = not any(start.stated for start in starts) and all(start.number for start in starts)
    if implied:
        found = {s.phase_id: (starts[n - 1].phase_id,) if n else () for n, s in enumerate(starts)}
    return Phases(tuple(starts), owner, {phase: found[phase] for phase in in_order(found)}, implied, outside)


def without_order(lines: Sequence[Line], phases: Phases, known: Knowledge) -> list[Line]:
    """The lines without what they say about the order of phases, and without the words that begin a phase."""
    if not phases.starts:
        return list(lines)
    word = "|".join(known.phases["words"])
    begins = re.compile(rf"(?:{word})\s*#?\w{{1,8}}\s*[.:){DASHES}]*\s*", re.IGNORECASE)
    starts = {start.line for start in phases.starts}
    changed = []
    for index, line in enumerate(lines):
        text = line.text
        if index in starts and line.kind in (Kind.TEXT, Kind.ITEM):
            match = begins.match(text)
            text = find_needs(text[match.end() :] if match else text, index, known, begins_phase=True)[1]
        elif phases.owner[index] >= 0 and line.kind in (Kind.TEXT, Kind.ITEM):
            needs, rest = find_needs(text, index, known, begins_phase=False)
            text = rest if needs and not rest else text
        changed.append(replace(line, text=text))
    return changed


def _read_needs(start: Start, index: int, line: Line, roles: Roles, known: Knowledge) -> None:
    needs, _ = find_needs(line.text, index, known, begins_phase=False)
    if roles.of(line) is Role.DEPENDENCIES:
        needs = needs or [Need(line.text, False, True, False, index)]
    start.needs += needs


def _starts(lines: Sequence[Line], roles: Roles, known: Knowledge) -> tuple[list[Start], str]:
    """(the phases, what they are called)."""
    for word in known.phases["words"]:
        found = _numbered(lines, word, roles, known)
        if len(found) > 1:
            return found, word
    for some in (_rows(lines, known), _sections(lines, roles, known), _items(lines, known)):
        if len(some) > 1:
            return some, "phase"
    return [], "phase"


def _numbered(lines: Sequence[Line], word: str, roles: Roles, known: Knowledge) -> list[Start]:
    weak = word in known.phases["weak"]
    numbers = "|".join(known.phases["numbers"])
    pattern = re.compile(
        rf"{word}\s*#?([0-9]{{1,3}}|[ivx]{{1,5}}|[a-z]|{numbers})(?![\w.])\s*([.:){DASHES}]*)\s*", re.IGNORECASE
    )
    found: dict[str, Start] = {}
    for index, line in enumerate(lines):
        if line.kind in (Kind.CODE, Kind.QUOTE) or (weak and roles.of(line) in _STEP_ROLES):
            continue
        text = line.cells[0][1] if line.cells else line.text
        match = pattern.match(_NUMBERED.sub("", text))
        if match is None or (weak and not match.group(2)) or _is_talk(line, match, text):
            continue
        title = line.text if line.cells else _NUMBERED.sub("", text)[match.end() :]
        number = match.group(1).lower()
        named = {name: str(count) for count, name in enumerate(known.phases["numbers"])}
        start = _start(index, named.get(number, roman(number) or number), title, lines, known)
        before = found.get(start.number)
        # An overview may list the phases that headings describe below it: the headings are the phases.
        if before is None or (lines[before.line].kind is not Kind.HEADING and line.kind is Kind.HEADING):
            if before is not None:
                start.needs = [*before.needs, *start.needs]
                start.title = start.title or before.title
            found[start.number] = start
        elif not before.needs:
            before.needs = start.needs
    return sorted(found.values(), key=lambda start: start.line)


def _is_talk(line: Line, match: re.Match[str], text: str) -> bool:
    """ "Phase 2 depends on phase 1." is a sentence about a phase and not its beginning."""
    return line.kind is Kind.TEXT and not match.group(2) and len(text) > match.end() and text[match.end()] not in "(["


def _start(index: int, number: str, title: str, lines: Sequence[Line], known: Knowledge) -> Start:
    line = lines[index]
    row = read_row(line, known) if line.cells else None
    if row is not None:
        needs, title = find_needs(row.text, index, known, begins_phase=True)
        if row.needs is not None:
            needs = [Need(row.needs, True, True, not row.needs.strip(f" {DASHES}"), index)]
        return Start(index, number, title, needs)
    needs, title = find_needs(title, index, known, begins_phase=True)
    text = next(iter(sentences(title, known)), title)
    return Start(index, number, text.strip(f" .:{DASHES}")[:MAX_TITLE], needs)


def _rows(lines: Sequence[Line], known: Knowledge) -> list[Start]:
    """Rows of a table with a column for dependencies."""
    found: list[Start] = []
    for index, line in enumerate(lines):
        row = read_row(line, known) if line.kind is Kind.ROW else None
        if row is not None and row.needs is not None:
            number = next(iter(words_of(row.name)), "") or str(len(found) + 1)
            found.append(
                _start(index, number if len(words_of(row.name)) < 2 else str(len(found) + 1), "", lines, known)
            )
    return found


def _sections(lines: Sequence[Line], roles: Roles, known: Knowledge) -> list[Start]:
    """Sibling headings of which one says what it depends on."""
    stated = {
        line.section if line.kind is not Kind.HEADING else index
        for index, line in enumerate(lines)
        if _states(line, index, roles, known)
    }
    chosen = next((lines[index] for index in sorted(stated) if index >= 0), None)
    if chosen is None:
        return []
    found = []
    for index, line in enumerate(lines):
        is_sibling = line.kind is Kind.HEADING and line.level == chosen.level and line.section == chosen.section
        if is_sibling and heading_role(line.text, known) in (None, Role.WORK):
            number = _NUMBERED.match(line.text)
            digits = number.group().strip(" #.):") if number else ""
            found.append(_start(index, digits, line.text[number.end() :] if number else line.text, lines, known))
    return found


def _states(line: Line, index: int, roles: Roles, known: Knowledge) -> bool:
    if line.kind not in (Kind.HEADING, Kind.TEXT, Kind.ITEM):
        return False
    if line.kind is Kind.ITEM and line.ordinal:
        return False
    strict = line.kind is Kind.HEADING
    return any(
        need.explicit and (need.strong or strict)
        for need in find_needs(line.text, index, known, begins_phase=strict)[0]
    )


def _items(lines: Sequence[Line], known: Knowledge) -> list[Start]:
    """Items of one numbered list of which one says in parentheses what it depends on."""
    lists: dict[tuple[int, int], list[int]] = {}
    for index, line in enumerate(lines):
        if line.kind is Kind.ITEM and line.ordinal:
            lists.setdefault((line.block, line.level), []).append(index)
    for indexes in lists.values():
        starts = [_start(index, str(lines[index].ordinal), lines[index].text, lines, known) for index in indexes]
        if any(need.explicit and re.search(r"[0-9]", need.text) for start in starts for need in start.needs):
            return starts
    return []


def _owners(lines: Sequence[Line], starts: Sequence[Start]) -> tuple[int, ...]:
    """The phase of each line: a heading's until the next heading of its level, an item's with what stands below it."""
    by_line = {start.line: number for number, start in enumerate(starts)}
    owner: list[int] = []
    current = -1
    for index, line in enumerate(lines):
        if index in by_line:
            current = by_line[index]
        elif current >= 0 and _ends(lines[starts[current].line], starts[current].line, line, owner, current):
            current = -1
        owner.append(current)
    return tuple(owner)


def _ends(first: Line, at: int, line: Line, owner: Sequence[int], current: int) -> bool:
    if first.kind is Kind.ROW:
        return True
    if line.kind is Kind.HEADING:
        return first.kind is not Kind.HEADING or line.level <= first.level
    if first.kind is Kind.ITEM and first.block != line.block:
        return line.parent < 0 or owner[line.parent] != current
    return first.kind is Kind.ITEM and line.parent != at and (line.parent < 0 or owner[line.parent] != current)


def slug(title: str) -> str:
    """A title as a part of the name of a branch; empty if it has no letter or digit of ASCII."""
    whole = _SLUG.sub("-", title.lower()).strip("-")
    return whole if len(whole) <= _MAX_ID else whole[: _MAX_ID + 1].rpartition("-")[0] or whole[:_MAX_ID]


def _name(starts: Sequence[Start]) -> None:
    """Ids: the title as a slug, or the number; unique, and valid as the name of a run and of a branch."""
    taken: set[str] = set()
    for place, start in enumerate(starts, 1):
        number = _SLUG.sub("-", start.number[:_MAX_NUMBER]).strip("-") or str(place)
        name = f"{number}-{slug(start.title)}".rstrip("-")
        name = f"phase-{number}" if name == number else name
        # Two of one name differ by where they stand.
        start.phase_id = name if name not in taken else f"{name}-{place}"
        taken.add(start.phase_id)
