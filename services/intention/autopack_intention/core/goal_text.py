"""An intention from the text in which people keep it: an issue, or a Markdown file with headings.

What stands under a heading that nobody knows, or under none, is the description: nothing is lost by being called
otherwise. Whatever could not be read as it was meant, or did not fit, is told in a warning; above all a scope that
names no path, because a scope that matches nothing would forbid every change.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from autopack_intention.core.clean import clean_line, size
from autopack_intention.core.context import Intention
from autopack_intention.core.goal_blocks import Piece, read_markdown
from autopack_intention.core.goal_paths import Mentions, Sense, mentions
from autopack_intention.core.goal_sections import Part
from autopack_intention.core.limits import (
    MAX_DESCRIPTION_BYTES,
    MAX_GLOB_BYTES,
    MAX_GLOBS,
    MAX_ITEM_BYTES,
    MAX_ITEMS,
    MAX_TITLE_BYTES,
)
from autopack_intention.errors import goal_text_too_long, no_goal

__all__ = ["MAX_TEXT_BYTES", "MAX_TEXT_LINES", "parse_intention"]

MAX_TEXT_BYTES = 1 << 20
"""Of a text: hundreds of pages."""

MAX_TEXT_LINES = 20_000
"""The Markdown parser takes a second for 50,000 lines of prose, two for 20,000 items of a list."""

_MAX_WARNINGS = 50
_SHOWN_CHARS = 80
_MAX_PATH_LINES = 1_000
"""Lines under Scope and Non-goals that are searched for paths, which takes up to a millisecond each."""

_NOTHING = frozenset({"", "-", "none", "n/a", "na", "nothing", "no response", "tbd", "todo", "tba", "..."})
"""What forms and templates leave where nothing was said."""

_ALREADY_NEGATED = re.compile(
    r"(?:no|not|never|none|nothing|don't|dont|do not|must not|avoid|without)\b", re.IGNORECASE
)
_LIST_MARKER = re.compile(r"[ ]{0,3}(?:[-*+]|[0-9]{1,9}[.)])[ \t]")
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|[\u3002\uff01\uff1f]")
_MARKS = re.compile(r"^(?:[#>\s]|[-*+][ \t]|[0-9]{1,9}[.)][ \t]|\[[ xX]\][ \t])+|\*\*|__")


@dataclass(slots=True)
class _Draft:
    """An intention that is being collected."""

    warnings: list[str] = field(default_factory=list)
    goal: list[Piece] = field(default_factory=list)
    other: list[Piece] = field(default_factory=list)
    constraints: dict[str, None] = field(default_factory=dict)
    acceptance: dict[str, None] = field(default_factory=dict)
    scope: dict[str, None] = field(default_factory=dict)
    non_goals: dict[str, None] = field(default_factory=dict)
    non_goal_globs: dict[str, None] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)
    path_lines: int = 0

    def warn(self, warning: str) -> None:
        if len(self.warnings) < _MAX_WARNINGS:
            self.warnings.append(warning)


def parse_intention(text: str, title: str = "") -> tuple[Intention, tuple[str, ...]]:
    """The intention in ``text``, and warnings about what was left out or could be read in two ways.

    Args:
        text: Markdown or plain text, at most :data:`MAX_TEXT_BYTES`.
        title: the goal in one line, at most :data:`MAX_TITLE_BYTES`; empty = the first heading of level 1 that is not
            the name of a section, else the first sentence of the goal.

    Raises:
        InvalidArgument: ``GOAL_TEXT_TOO_LONG``, or ``NO_GOAL``: neither the text nor ``title`` says what is to be done.
    """
    _check_size(text, title)
    text = text.encode("utf-8", "replace").decode().removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if (count := text.count("\n") + 1) > MAX_TEXT_LINES:
        raise goal_text_too_long("text", count, MAX_TEXT_LINES, "lines")
    reading = read_markdown(text)
    draft = _Draft(warnings=reading.warnings)
    for piece in reading.pieces:
        _COLLECTORS[piece.part](draft, piece)
    description = _described(draft.goal + draft.other)
    given = clean_line(title) or reading.title
    if not given:
        given, description = _title_of(description)
    if not given:
        raise no_goal(empty=not text.strip())
    return _limited(draft, given, description), tuple(draft.warnings)


def _check_size(text: str, title: str) -> None:
    for name, value, limit in (("text", text, MAX_TEXT_BYTES), ("title", title, MAX_TITLE_BYTES)):
        # Characters first: ten million of them need not be encoded to be too many.
        if len(value) > limit or len(value.encode("utf-8", "replace")) > limit:
            raise goal_text_too_long(name, len(value.encode("utf-8", "replace")), limit, "bytes")


def _described(pieces: Sequence[Piece]) -> str:
    """The pieces as one text; the items of a list stay together."""
    parts: list[str] = []
    after_item = False
    for piece in pieces:
        is_item = _LIST_MARKER.match(piece.text) is not None
        if parts:
            parts.append("\n" if is_item and after_item else "\n\n")
        parts.append(piece.text.rstrip())
        after_item = is_item
    return "".join(parts).strip("\n").rstrip()


def _title_of(description: str) -> tuple[str, str]:
    """The first sentence of the goal, and what follows it; all of it where the sentence had to be cut."""
    for line in description.split("\n"):
        said = clean_line(_MARKS.sub("", line))
        if not any(char.isalnum() for char in said) or line.lstrip().startswith(("```", "~~~")):
            continue
        paragraph = description[description.index(line) :].split("\n\n", 1)[0]
        end = _SENTENCE_END.search(paragraph)
        sentence = paragraph[: end.end()] if end is not None and end.end() <= MAX_TITLE_BYTES else line
        title = clean_line(_MARKS.sub("", sentence))
        whole = description.startswith(sentence) and size(title) <= MAX_TITLE_BYTES and title == clean_line(sentence)
        return title, description[len(sentence) :].strip() if whole else description
    return "", description


def _goal(draft: _Draft, piece: Piece) -> None:
    draft.goal.append(piece)


def _other(draft: _Draft, piece: Piece) -> None:
    draft.other.append(piece)


def _constraint(draft: _Draft, piece: Piece) -> None:
    _keep(draft.constraints, _with_lead(piece))


def _forbidden(draft: _Draft, piece: Piece) -> None:
    text = _with_lead(piece)
    if text and not _ALREADY_NEGATED.match(text):
        text = f"Must not: {text}"
    _keep(draft.constraints, text)


def _acceptance(draft: _Draft, piece: Piece) -> None:
    _keep(draft.acceptance, _with_lead(piece))


def _note(draft: _Draft, piece: Piece) -> None:
    _keep(draft.notes, _with_lead(piece))


def _scope(draft: _Draft, piece: Piece) -> None:
    for line in _lines(draft, piece):
        found = mentions(line, listed=piece.code)
        negated = piece.lead and Sense.NEGATED in (found.sense, mentions(f"{piece.lead} `a/`").sense)
        sense = Sense.NEGATED if negated and found.sense is not Sense.UNCLEAR else found.sense
        if found.globs and sense is Sense.PLAIN:
            draft.scope.update(dict.fromkeys(found.globs))
            if found.explained or not found.only:
                _keep(draft.notes, _line_with_lead(piece, line))
        elif found.globs and found.only and sense is Sense.NEGATED:
            draft.non_goal_globs.update(dict.fromkeys(glob.removeprefix("!") for glob in found.globs))
        else:
            _pathless(draft, piece, line, found, draft.notes)


def _non_goal(draft: _Draft, piece: Piece) -> None:
    for line in _lines(draft, piece):
        found = mentions(line, listed=piece.code)
        if found.globs and found.only and found.sense is not Sense.UNCLEAR and not _EXCEPT.search(line):
            draft.non_goal_globs.update(dict.fromkeys(found.globs))
            if found.explained:
                _keep(draft.non_goals, _line_with_lead(piece, line))
        else:
            _keep(draft.non_goals, _line_with_lead(piece, line))
            if found.globs:
                draft.warn(
                    f"Non-goals: {_short(line)} names {found.globs[0]!r} but says more than that it must not change, "
                    "so no file is forbidden by it. Put the path on a line of its own to forbid it."
                )


_EXCEPT = re.compile(r"\b(?:except|excluding|without)\b", re.IGNORECASE)

_COLLECTORS: dict[Part, Callable[[_Draft, Piece], None]] = {
    Part.GOAL: _goal,
    Part.OTHER: _other,
    Part.CONSTRAINTS: _constraint,
    Part.FORBIDDEN: _forbidden,
    Part.ACCEPTANCE: _acceptance,
    Part.SCOPE: _scope,
    Part.NON_GOALS: _non_goal,
    Part.NOTES: _note,
}


def _lines(draft: _Draft, piece: Piece) -> Iterable[str]:
    """The lines of a piece that say something; few enough of them to be looked at."""
    lines = piece.text.split("\n")
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        text = clean_line(line)
        is_head = "|" in text and _is_table_rule(below)
        if _is_nothing(text) or is_head or _is_table_rule(text) or (piece.code and text.startswith("#")):
            continue
        draft.path_lines += 1
        if draft.path_lines <= _MAX_PATH_LINES:
            yield text


def _is_table_rule(line: str) -> bool:
    return "-" in line and not line.strip("|:- \t")


def _pathless(draft: _Draft, piece: Piece, line: str, found: Mentions, target: dict[str, None]) -> None:
    _keep(target, _line_with_lead(piece, line))
    if found.globs:
        why = "could be read in two ways"
        remedy = "List the files that may change under Scope, and those that must not under Non-goals"
    else:
        why = "names no path, so it does not limit which files may change"
        remedy = "Write a path or a glob, for example `src/http/`"
    draft.warn(f"Scope: {_short(line)} {why}; it is kept as a note. {remedy}.")


def _with_lead(piece: Piece) -> str:
    text = piece.text.strip() if piece.code else clean_line(piece.text)
    return "" if _is_nothing(text) else f"{clean_line(piece.lead)} {text}".strip()


def _line_with_lead(piece: Piece, line: str) -> str:
    return f"{clean_line(piece.lead)} {line}".strip()


def _is_nothing(text: str) -> bool:
    return text.strip(" _*().`").lower() in _NOTHING


def _keep(target: dict[str, None], text: str) -> None:
    if text:
        target[text] = None


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…")


def _limited(draft: _Draft, title: str, description: str) -> Intention:
    if draft.path_lines > _MAX_PATH_LINES:
        read = f"the first {_MAX_PATH_LINES} are read"
        draft.warnings.insert(
            0, f"Scope and Non-goals have {draft.path_lines} lines; {read}. Name directories instead."
        )
    scope = _globs(draft, "Scope", list(draft.scope))
    if scope and all(glob.startswith("!") for glob in scope):
        # Alone they allow nothing at all; what is meant is everything but these.
        draft.non_goal_globs.update(dict.fromkeys(glob.removeprefix("!") for glob in scope))
        scope = ()
    return Intention(
        title=_cut(draft, "The title", title, MAX_TITLE_BYTES),
        description=_cut(draft, "The description", description, MAX_DESCRIPTION_BYTES),
        constraints=_items(draft, "Constraints", draft.constraints),
        acceptance=_items(draft, "Acceptance", draft.acceptance),
        scope=scope,
        non_goals=_items(draft, "Non-goals", draft.non_goals),
        non_goal_globs=_globs(draft, "Non-goals", list(draft.non_goal_globs)),
        notes=_items(draft, "Notes", draft.notes),
    )


def _items(draft: _Draft, name: str, items: Iterable[str]) -> tuple[str, ...]:
    found = list(items)
    if len(found) > MAX_ITEMS:
        draft.warn(f"{name} has {len(found)} items; the first {MAX_ITEMS} are kept.")
    return tuple(_cut(draft, f"An item of {name}", item, MAX_ITEM_BYTES) for item in found[:MAX_ITEMS])


def _globs(draft: _Draft, name: str, globs: Sequence[str]) -> tuple[str, ...]:
    found = [glob for glob in globs if size(glob) <= MAX_GLOB_BYTES]
    if len(found) < len(globs):
        draft.warn(f"{name} has paths of more than {MAX_GLOB_BYTES} bytes; they are left out.")
    if len(found) > MAX_GLOBS:
        draft.warn(f"{name} has {len(found)} paths; the first {MAX_GLOBS} are kept. Name directories instead.")
    return tuple(found[:MAX_GLOBS])


def _cut(draft: _Draft, name: str, text: str, limit: int) -> str:
    """The head of ``text`` in at most ``limit`` bytes, cut behind a word."""
    if size(text) <= limit:
        return text
    draft.warn(f"{name} has {size(text)} bytes; the first {limit} are kept.")
    head = text.encode()[: limit - 4].decode("utf-8", "ignore")
    space = max(head.rfind(" "), head.rfind("\n"))
    return (head[:space] if space > limit // 2 else head).rstrip() + " …"
