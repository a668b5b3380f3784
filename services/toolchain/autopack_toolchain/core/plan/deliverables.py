"""From statements to deliverables: each thing once, whatever form its verb has, and a title only where nothing below
says more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ..model import Evidence
from .blocks import Kind, Line
from .clauses import parts
from .knowledge import Knowledge
from .model import Decision, Deliverable, Part
from .requests import STORY, request_of, without_label
from .roles import heading_role
from .signs import COLONS
from .statements import Sense, Statement
from .words import stem, words_of

__all__ = ["MAX_DELIVERABLES", "MAX_TEXT", "Draft", "Found", "collect", "finished", "object_of"]

MAX_DELIVERABLES = 100
"""Deliverables of one phase: more is a project, not a run."""

MAX_TEXT = 1_000
"""Characters of a deliverable that are kept."""

MAX_DETAILS = 50
"""Details of one deliverable."""

_CERTAIN = 0.97
_SUPPORT = frozenset({"test", "document"})
"""Actions that accompany the work that a title names."""


@dataclass(slots=True)
class Draft:
    """A deliverable while it is put together.

    Attributes:
        line, lines: indexes of its first line, and of all.
        places: what a table row says about where.
        listed: it is an item of a list or a row of a table, not prose.
    """

    text: str
    action: str
    confidence: float
    signal: str
    line: int
    lines: list[int]
    places: str = ""
    listed: bool = False
    details: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Found:
    """The deliverables of a phase, and what was decided on the way."""

    drafts: tuple[Draft, ...]
    decisions: tuple[Decision, ...]
    left_out: int


def collect(
    statements: Sequence[Statement],
    lines: Sequence[Line],
    indexes: Iterable[int],
    title: str,
    title_line: int,
    known: Knowledge,
) -> Found:
    """The deliverables among the statements of one phase; empty if it asks for nothing.

    Args:
        statements: those of the phase.
        lines: of the whole text.
        indexes: of the lines of the phase.
        title: of the phase, or of the text.
        title_line: index of the line with the title, or -1.
    """
    decisions: list[Decision] = []
    drafts = _drafts(statements, lines, known)
    alone = title_line >= 0 and sum(line.block == lines[title_line].block for line in lines) == 1
    if not alone and any(draft.line == title_line for draft in drafts):
        title = ""  # the first of several lines that ask for something: no title
    drafts = [draft for draft in drafts if not title or draft.line != title_line]
    drafts += _headings(drafts, lines, [index for index in indexes if index != title_line], known)
    drafts.sort(key=lambda draft: draft.line)
    drafts = _merged(_without_summary(drafts, lines, known, decisions), lines, known, decisions)
    titled = _from_title(title, title_line, known, statements, drafts)
    if titled:
        drafts = _without_pronouns(titled[0], drafts, known)
    if titled and _is_covered(titled, drafts, known):
        decisions += [_decision(draft, lines, drafts[0].text, "TITLE_SAYS_THE_SAME") for draft in titled]
    else:
        drafts = _merged([*titled, *drafts], lines, known, decisions)
    drafts = drafts or _last_resort(statements)
    kept = drafts[:MAX_DELIVERABLES]
    done = (s for s in statements if s.sense is Sense.DONE)
    decisions += [
        Decision(Part.DELIVERABLES, "", s.text[:MAX_TEXT], "", "ALREADY_DONE", (_seen(lines, s.line, "checked box"),))
        for s in done
    ]
    return Found(tuple(kept), tuple(decisions), len(drafts) - len(kept))


def finished(draft: Draft, numbers: Sequence[int]) -> Deliverable:
    """The deliverable of a draft; ``numbers``: line of the text by index of the logical line."""
    places = dict.fromkeys(numbers[index] for index in draft.lines)
    evidence = tuple(Evidence("", number, draft.signal, round(draft.confidence, 4)) for number in places)
    details = tuple(dict.fromkeys(detail[:MAX_TEXT] for detail in draft.details))[:MAX_DETAILS]
    return Deliverable(draft.text[:MAX_TEXT], draft.action, details, round(draft.confidence, 4), evidence)


def object_of(text: str, known: Knowledge) -> tuple[tuple[str, ...], frozenset[str]]:
    """(stems of the object, stems of what is said about it): "Adding a cache to the client" -> (cache), {client}."""
    words = words_of(text)
    at = next((n for n, word in enumerate(words) if word not in known.words["words.fillers"]), 0)
    noun = known.noun_index.at(words, at)
    verb = known.action_of(words, at)
    at += noun[1] if noun else verb[1] if verb and len(words) > at + verb[1] else 0
    head: list[str] = []
    begins = at
    for place, word in enumerate(words[at:], at):
        if word in known.words["words.prepositions"] and place > begins:
            at = place
            break
        if word not in known.words["words.stop"]:
            head.append(stem(word))
    else:
        at = len(words)
    ignored = known.words["words.stop"] | known.words["words.prepositions"]
    return tuple(head), frozenset(stem(word) for word in words[at:] if word not in ignored)


def _seen(lines: Sequence[Line], index: int, signal: str, weight: float = 1.0) -> Evidence:
    return Evidence("", lines[index].number if index >= 0 else 0, signal, round(weight, 4))


def _decision(draft: Draft, lines: Sequence[Line], choice: str, reason: str) -> Decision:
    return Decision(
        Part.DELIVERABLES,
        "",
        draft.text[:MAX_TEXT],
        choice[:MAX_TEXT],
        reason,
        (_seen(lines, draft.line, draft.signal),),
    )


def _drafts(statements: Sequence[Statement], lines: Sequence[Line], known: Knowledge) -> list[Draft]:
    drafts: list[Draft] = []
    latest: dict[int, Draft] = {}
    for statement in statements:
        if statement.sense is Sense.DELIVERABLE:
            draft = Draft(
                statement.text, statement.action, statement.confidence, statement.signal, statement.line,
                [statement.line], statement.places, lines[statement.line].kind in (Kind.ITEM, Kind.ROW),
            )  # fmt: skip
            drafts.append(draft)
            latest[statement.line] = draft
        elif statement.sense is Sense.DETAIL:
            owner = _owner(lines, statement.line, latest)
            if owner is not None:
                owner.details.append(statement.text)
    groups = {lines[draft.line].parent for draft in drafts}
    return [draft for draft in drafts if not _is_group(draft, lines, groups)]


def _owner(lines: Sequence[Line], index: int, latest: dict[int, Draft]) -> Draft | None:
    while index >= 0:
        if index in latest:
            return latest[index]
        index = lines[index].parent
    return None


def _is_group(draft: Draft, lines: Sequence[Line], groups: set[int]) -> bool:
    """Whether an item only introduces the items below it ("Backend:")."""
    return not draft.action and draft.line in groups and lines[draft.line].text.endswith(tuple(COLONS))


def _headings(drafts: Sequence[Draft], lines: Sequence[Line], indexes: Sequence[int], known: Knowledge) -> list[Draft]:
    """Headings that ask for something under which nothing does."""
    covered: set[int] = set()
    for draft in drafts:
        section = lines[draft.line].section
        while section >= 0 and section not in covered:
            covered.add(section)
            section = lines[section].section
    found: list[Draft] = []
    for index in reversed(indexes):
        line = lines[index]
        if line.kind is not Kind.HEADING or index in covered or heading_role(line.text, known) is not None:
            continue
        request = request_of(line.text, known, is_item=False)
        if request is not None:
            found.append(Draft(request.text, request.action, 0.65, "heading", index, [index]))
            while index >= 0:
                covered.add(index)
                index = lines[index].section
    return found


def _merged(drafts: Sequence[Draft], lines: Sequence[Line], known: Knowledge, decisions: list[Decision]) -> list[Draft]:
    """Each deliverable once: the same action, the same object, and nothing said about it that contradicts."""
    groups: dict[tuple[str, ...], list[tuple[str, frozenset[str], Draft]]] = {}
    kept: list[Draft] = []
    for draft in drafts:
        action, head, tail = _key(draft, known)
        same = next(
            (
                (n, other)
                for n, (other_action, other_tail, other) in enumerate(groups.get(head, ()))
                if head
                and (action == other_action or not action or not other_action)
                and (tail <= other_tail or other_tail <= tail)
            ),
            None,
        )
        if same is None:
            groups.setdefault(head, []).append((action, tail, draft))
            kept.append(draft)
            continue
        place, first = same
        groups[head][place] = (action or groups[head][place][0], groups[head][place][1] | tail, first)
        decisions.append(_decision(draft, lines, first.text, "SAME_DELIVERABLE"))
        _absorb(first, draft)
    return kept


def _absorb(first: Draft, other: Draft) -> None:
    if len(other.text.split()) > len(first.text.split()) and other.action:
        first.text, first.signal = other.text, other.signal
    first.action = first.action or other.action
    first.confidence = min(_CERTAIN, 1 - (1 - first.confidence) * (1 - other.confidence))
    first.lines += other.lines
    first.details += other.details
    first.places = ", ".join(filter(None, (first.places, other.places)))


def _key(draft: Draft, known: Knowledge) -> tuple[str, tuple[str, ...], frozenset[str]]:
    """Action, object, rest: "Write tests for X" and "Test X" have the same."""
    head, tail = object_of(draft.text, known)
    action = draft.action
    if (
        action in ("create", "change", "")
        and tail
        and len(head) <= 2
        and head
        and head[-1] in ("test", "documentation", "doc")
    ):
        action = "test" if head[-1] == "test" else "document"
        head, tail = tuple(sorted(tail)), frozenset()
    return action, head, tail


def _from_title(
    title: str, line: int, known: Knowledge, statements: Sequence[Statement], drafts: Sequence[Draft]
) -> list[Draft]:
    """What the title asks for: requests, a defect, or a thing of which the text says more."""
    place = [line] if line >= 0 else []
    said = parts(without_label(title, known), known)
    asked = (request_of(part.text, known, is_item=True) for part in said if not part.negative)
    requests = [request for request in asked if request is not None]
    if requests:
        return [Draft(request.text, request.action, 0.8, "title", line, place) for request in requests]
    words = words_of(title)
    stemmed = {stem(word) for word in words}
    defect = not stemmed.isdisjoint(known.words["defects.words"]) or known.phrases["defects.phrases"].any(words)
    if defect and len(words) > 1:
        return [Draft(f"Fix: {title}", "fix", 0.7, "title reports a defect", line, place)]
    told = (Sense.ACCEPTANCE, Sense.EXPECTED, Sense.CONSTRAINT, Sense.NON_GOAL)
    if not drafts and len(words) > 1 and any(statement.sense in told for statement in statements):
        return [Draft(title, "", 0.5, "title", line, place)]
    return []


def _without_pronouns(titled: Draft, drafts: Sequence[Draft], known: Knowledge) -> list[Draft]:
    """ "Please fix it as in `x.py`" is about what the title names: a detail of it."""
    kept = []
    for draft in drafts:
        if draft.action == titled.action and not object_of(draft.text, known)[0]:
            titled.details.append(draft.text)
            titled.lines += draft.lines
        else:
            kept.append(draft)
    return kept


def _is_covered(titled: Sequence[Draft], drafts: Sequence[Draft], known: Knowledge) -> bool:
    """Whether the list below the title says the same in detail; tests and documentation accompany it."""
    main = [draft for draft in drafts if _key(draft, known)[0] not in _SUPPORT]
    if len(main) > 1:
        return True
    about = {word for draft in titled for word in _subjects(draft, known)}
    return any(about & _subjects(draft, known) for draft in main)


def _subjects(draft: Draft, known: Knowledge) -> set[str]:
    """The stems that say what it is about; of the verb too, if it says more than "add" or "change"."""
    head, tail = object_of(draft.text, known)
    verb = words_of(draft.text)[:1]
    telling = [stem(word) for word in verb if word not in known.words["words.plain_verbs"]]
    return {*head, *tail, *telling}


def _without_summary(
    drafts: list[Draft], lines: Sequence[Line], known: Knowledge, decisions: list[Decision]
) -> list[Draft]:
    """Prose in front of a list of work says the same in other words, where it is about the same."""
    listed = [draft for draft in drafts if draft.listed and _key(draft, known)[0] not in _SUPPORT]
    if not listed:
        return drafts
    about = {word: draft for draft in reversed(listed) for word in _subjects(draft, known)}
    kept = []
    for draft in drafts:
        shared = next((about[word] for word in sorted(_subjects(draft, known)) if word in about), None)
        is_prose = lines[draft.line].kind is Kind.TEXT and draft.line < listed[0].line
        if not is_prose or draft.signal == STORY or shared is None:
            kept.append(draft)
        else:
            decisions.append(_decision(draft, lines, shared.text, "LIST_SAYS_MORE"))
    return kept


def _last_resort(statements: Sequence[Statement]) -> list[Draft]:
    """Where nothing is asked for in so many words: what is expected, what is broken, what must hold in the end."""
    for sense, confidence, signal in (
        (Sense.EXPECTED, 0.5, "expected behaviour"),
        (Sense.DEFECT, 0.5, "report of a defect"),
        (Sense.ACCEPTANCE, 0.5, "acceptance criterion"),
    ):
        found = [s for s in statements if s.sense is sense]
        if sense is Sense.DEFECT:
            found = found[:1]
        if found:
            prefix = "Fix: " if sense is Sense.DEFECT else ""
            action = "fix" if sense is Sense.DEFECT else ""
            return [Draft(prefix + s.text, action, confidence, signal, s.line, [s.line], s.places) for s in found]
    return []
