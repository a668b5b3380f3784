"""What each part of the text is: something to do, something not to do, a condition, a sign of success, or talk."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum, auto

from .blocks import Kind, Line
from .clauses import Part, begins_negative, masked, parts, sentences
from .knowledge import Knowledge
from .model import Role
from .requests import Request, request_of, skip_fillers, without_label
from .roles import Roles, heading_role, labelled
from .signs import COLONS, COMMAS, DASHES, ENDS, SEMICOLONS
from .tables import read_row
from .words import stem, words_of

__all__ = ["Sense", "Statement", "read_statements"]

MAX_STATEMENTS = 5_000
"""Statements looked at; what is behind is not read. A plan of 256 KiB has fewer unless it is no plan."""

MAX_SENTENCE = 2_000
"""Characters of a sentence that are looked at: a longer one is data."""

_PREFIX = re.compile(rf"(`[^`]{{1,200}}`|[^\s:`][^:`\n]{{0,58}}?)(?:\s*[{COLONS}]|\s+[{DASHES}])\s+(?=\S)")
_GREETING = re.compile(r"^(?:hi|hello|hey|dear)\b[^,.:;!?\n]{0,40}[,!]\s*", re.IGNORECASE)
_ORDERS = frozenset({"do", "don't", "dont", "please", "never", "avoid", "leave", "keep"})
_CHECKS = (("run",), ("execute",), ("verify",), ("check",), ("rerun",))
_CHECKED = frozenset(
    {"test", "tests", "suite", "lint", "linter", "linters", "ci", "checks", "build", "pass", "passes", "green"}
)
_EMPTY_MODALS = frozenset({"have", "note", "know"})


class Sense(Enum):
    """What a statement is."""

    DELIVERABLE = auto()
    DETAIL = auto()
    DONE = auto()
    NON_GOAL = auto()
    EXCEPTION = auto()
    CONSTRAINT = auto()
    ACCEPTANCE = auto()
    EXPECTED = auto()
    REFERENCE = auto()
    LOCATION = auto()
    VALIDATION = auto()
    DEFECT = auto()
    CONTEXT = auto()


@dataclass(frozen=True, slots=True)
class Statement:
    """One part of the text.

    Attributes:
        text: without Markdown.
        sense: what it is.
        line: index of its line.
        confidence: that it is that, for what is to be done.
        action: name of the action, or empty.
        signal: why, as a short stable phrase.
        places: what the same table row says about where.
        role: of the section or the label that it stands under.
    """

    text: str
    sense: Sense
    line: int
    confidence: float = 0.0
    action: str = ""
    signal: str = ""
    places: str = ""
    role: Role | None = None


def read_statements(lines: list[Line], roles: Roles, known: Knowledge) -> list[Statement]:
    """Every statement of the text, in order; headings, code and quotations make none."""
    found: list[Statement] = []
    asked: set[int] = set()
    for index, line in enumerate(lines):
        if line.kind in (Kind.HEADING, Kind.CODE, Kind.QUOTE) or len(found) >= MAX_STATEMENTS:
            continue
        role = roles.of(line)
        reader = _Reader(line, index, role, lines, known, below_request=line.parent in asked)
        some = list(reader.read())
        if any(statement.sense in (Sense.DELIVERABLE, Sense.DETAIL) for statement in some):
            asked.add(index)
        found += some
    return found


class _Reader:
    """One line."""

    def __init__(
        self, line: Line, index: int, role: Role | None, lines: list[Line], known: Knowledge, *, below_request: bool
    ) -> None:
        self._line = line
        self._index = index
        self._role = role
        self._known = known
        self._lines = lines
        self._below_request = below_request
        self._places = ""

    def read(self) -> Iterator[Statement]:
        line = self._line
        text = line.text
        if line.kind is Kind.ROW:
            row = read_row(line, self._known)
            if row is None:
                yield Statement(text, Sense.CONTEXT, self._index)
                return
            text, self._places = row.text, row.places
            if row.is_task and self._role is None:
                self._role = Role.WORK
            if row.done:
                yield Statement(text, Sense.DONE, self._index)
                return
        if line.checked:
            yield Statement(text, Sense.DONE, self._index)
            return
        role, text = labelled(text, self._known)
        if role is not None:
            self._role = role
        for sentence in sentences(text, self._known):
            yield from self._sentence(sentence)

    def _sentence(self, sentence: str) -> Iterator[Statement]:
        if len(sentence) > MAX_SENTENCE:
            yield self._made(sentence[:MAX_SENTENCE], Sense.CONTEXT)
            return
        asks_reader = sentence.endswith((*COLONS, "?")) and heading_role(sentence, self._known) is not None
        introduces = sentence.endswith(tuple(COLONS)) and self._introduces() and self._line.kind is not Kind.ITEM
        if asks_reader or introduces:
            yield self._made(sentence, Sense.CONTEXT)
            return
        sentence = without_label(_GREETING.sub("", sentence), self._known)
        for part in parts(sentence, self._known):
            yield self._part(part)

    def _introduces(self) -> bool:
        return any(line.lead == self._index for line in self._lines[self._index + 1 : self._index + 3])

    def _made(self, text: str, sense: Sense, request: Request | None = None) -> Statement:
        text = text.strip().rstrip(f".{ENDS[0]}{SEMICOLONS}{COMMAS}").strip()
        made = Statement(text, sense, self._index, places=self._places, role=self._role)
        if request is None:
            return made
        return replace(made, confidence=request.confidence, action=request.action, signal=request.signal)

    def _part(self, part: Part) -> Statement:
        text = part.text
        words = words_of(masked(text))
        known = self._known
        if part.excepted:
            return self._made(text, Sense.EXCEPTION)
        if self._role is Role.NON_GOALS:
            return self._made(text, Sense.NON_GOAL)
        if self._role in (Role.IGNORED, Role.REPRODUCTION, Role.DEPENDENCIES, Role.BUDGET):
            return self._made(text, Sense.CONTEXT)
        if self._role is Role.ACCEPTANCE:
            return self._made(text, Sense.ACCEPTANCE)
        if self._role is Role.EXPECTED:
            return self._made(text, Sense.EXPECTED)
        if part.negative or self._forbids(words):
            told = self._role in (Role.PROBLEM, Role.CONTEXT) and words[0] not in _ORDERS
            return self._made(text, Sense.CONTEXT if told else Sense.NON_GOAL)
        if known.phrases["negation.deferred"].any(words):
            return self._made(text, Sense.NON_GOAL)
        if self._role is Role.REFERENCES or (self._role is not Role.CONSTRAINTS and self._refers(words)):
            return self._made(text, Sense.REFERENCE)
        if self._role is Role.CONSTRAINTS or self._constrains(words):
            return self._made(text, Sense.CONSTRAINT)
        return self._asked(text, words)

    def _forbids(self, words: tuple[str, ...]) -> bool:
        """Negations that do not open the sentence: "X must not be changed", "leave X alone"."""
        known = self._known
        if begins_negative(words, known):
            return True
        touch = known.words["negation.touch"]
        for index, phrase, length in known.phrases["negation.starts"].find(words):
            if phrase not in (
                "must not",
                "should not",
                "mustn't",
                "shouldn't",
                "shall not",
                "will not",
                "won't",
                "do not",
                "don't",
                "may not",
            ):
                continue
            behind = words[index + length : index + length + 3]
            passive = behind[:1] == ("be",) and any(word.rstrip("ed") and stem(word) in touch for word in behind[1:])
            workers = not known.words["negation.workers"].isdisjoint(words[:index])
            if passive or (workers and behind and stem(behind[0]) in known.words["negation.forbidden"]):
                return True
        frozen = known.phrases["negation.frozen"].any(words)
        stays = not {"leave", "keep", "stay", "stays", "remain", "remains", "is", "are", "left", "kept"}.isdisjoint(
            words
        )
        return frozen and stays

    def _refers(self, words: tuple[str, ...]) -> bool:
        """Whether the sentence does nothing but point to something."""
        found = self._known.phrases["paths.references"].at(words, 0)
        return found is not None and words[0] not in ("like", "following", "same", "the", "matching", "already", "per")

    def _constrains(self, words: tuple[str, ...]) -> bool:
        known = self._known
        at = skip_fillers(words, known)
        first = known.phrases["constraints.verbs"].at(words, at)
        if first is not None and first[0] in ("ensure", "respect", "continue"):
            return known.phrases["constraints.words"].any(words) or not {"pass", "passes", "green", "still"}.isdisjoint(
                words
            )
        if first is not None:
            return True
        modal = known.phrases["words.modals"].any(words)
        return modal and known.phrases["constraints.words"].any(words)

    def _asked(self, text: str, words: tuple[str, ...]) -> Statement:
        is_item = self._line.kind in (Kind.ITEM, Kind.ROW)
        request = request_of(text, self._known, is_item=is_item) or self._behind_prefix(text, is_item=is_item)
        if words[skip_fillers(words, self._known) :][:1] in _CHECKS and not _CHECKED.isdisjoint(words):
            return self._made(text, Sense.VALIDATION)
        if self._role is Role.VALIDATION and (
            request is None
            or request.action not in ("create", "test", "document")
            or words[:1] in (("verify",), ("ensure",))
        ):
            return self._made(text, Sense.VALIDATION)
        if request is not None:
            request = self._weighed(request)
            return self._made(request.text, Sense.DELIVERABLE, request)
        wanted = self._wanted(text, words) or self._needed(text, words)
        if wanted is not None:
            return self._made(wanted.text, Sense.DELIVERABLE, wanted)
        if self._role is Role.FILES:
            return self._made(text, Sense.LOCATION)
        if self._below_request and is_item:
            return self._made(text, Sense.DETAIL)
        if is_item and (self._role is Role.WORK or self._line.checked is False) and len(words) > 1:
            return self._made(
                self._with_lead(text), Sense.DELIVERABLE, Request(text, "", 0.65, "item of a list of work")
            )
        if self._is_defect(words) and self._role in (None, Role.PROBLEM, Role.CONTEXT):
            return self._made(text, Sense.DEFECT)
        return self._made(text, Sense.CONTEXT)

    def _weighed(self, request: Request) -> Request:
        """Nearer to certainty in a list of work, further from it in the background."""
        confidence = request.confidence
        if self._role is Role.WORK or self._line.checked is False:
            confidence = min(0.95, confidence + 0.05)
        elif self._role in (Role.CONTEXT, Role.PROBLEM):
            confidence *= 0.7
        return replace(request, confidence=round(confidence, 4), text=self._with_lead(request.text))

    def _behind_prefix(self, text: str, *, is_item: bool) -> Request | None:
        """ "`src/a.py`: add x", "Client - retry failed calls": the request behind a name."""
        prefix = _PREFIX.match(text)
        if prefix is None:
            return None
        request = request_of(text[prefix.end() :], self._known, is_item=True)
        return (
            replace(request, text=text, confidence=request.confidence - 0.05)
            if request and (is_item or prefix.group(1).startswith("`"))
            else None
        )

    def _wanted(self, text: str, words: tuple[str, ...]) -> Request | None:
        """ "The API must return 404": something that is to be so, and is not yet."""
        told = self._role in (Role.CONTEXT, Role.PROBLEM)
        for index, phrase, length in self._known.phrases["words.modals"].find(words):
            if told and phrase.partition(" ")[0] in ("have", "has", "need", "needs", "ought"):
                continue  # what people have to do today
            behind = words[index + length : index + length + 2]
            if not index or not behind or behind[0] in _EMPTY_MODALS or len(behind) < 2:
                continue
            negated = behind[0] == "not"
            action = "fix" if negated else (self._known.action_of(words, index + length) or ("change", 1))[0]
            sure = 0.5 if told else 0.7
            return Request(text, action, sure, "should")
        return None

    def _needed(self, text: str, words: tuple[str, ...]) -> Request | None:
        """ "`docs/x.md` needs an update"; "A `--quiet` flag ..." in a section of work."""
        for index, word in enumerate(words):
            if (
                word in ("needs", "need", "requires")
                and index
                and words[index + 1 : index + 2] in (("a",), ("an",), ("some",))
            ):
                action = self._known.action_of(words, index + 2)
                if action is not None:
                    return Request(text, action[0], 0.7, "needs")
        if self._role is Role.WORK and words[:1] in (("a",), ("an",)) and len(words) > 2:
            return Request(text, "create", 0.6, "thing in a section of work")
        return None

    def _with_lead(self, text: str) -> str:
        """ "The command should:" and "accept a path" are one sentence."""
        if self._line.lead < 0:
            return text
        lead = self._lines[self._line.lead].text.rstrip(COLONS)
        words = words_of(lead)
        if len(words) < 2 or len(words) > 12 or words[-1] not in self._known.words["words.modals"]:
            return text
        if self._known.phrases["words.requests"].at(words, 0):
            return text
        return f"{lead} {text[:1].lower()}{text[1:]}"

    def _is_defect(self, words: tuple[str, ...]) -> bool:
        stemmed = {stem(word) for word in words}
        return bool(stemmed & self._known.words["defects.words"]) or self._known.phrases["defects.phrases"].any(words)
