"""Markdown as pieces of text, each with the part of the goal that it stands in.

The blocks are found by markdown-it (CommonMark). What people write beside it is added here: bold lines and words with
a colon used as headings, front matter, the comments in which issue templates explain themselves. Inline Markdown stays
as it is: agents read it, and a parser of it needs seconds for a hostile megabyte.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from markdown_it import MarkdownIt
from markdown_it.token import Token

from autopack_intention.core.clean import clean_line
from autopack_intention.core.goal_sections import Part, parts_named

__all__ = ["Piece", "Reading", "read_markdown"]

_HEADING_CHARS = 200
"""A longer "heading" is a paragraph above a row of dashes."""

_LEAD_CHARS = 300
"""Lines that introduce a list ("You must not:") are put before each item; longer ones are paragraphs."""

_DESCRIBING = frozenset({Part.GOAL, Part.OTHER})
"""Parts that become the description, in which the text stands as it was written."""

_INTRODUCED = frozenset({"bullet_list_open", "ordered_list_open", "fence", "code_block"})

_FRONT_MATTER_LINES = 100
_MAX_WARNINGS = 20

_BOLD_LABEL = re.compile(r"(?:\*\*|__)(?=\S)([^*_\n]{1,60})(?:\*\*|__)[ \t]*(:?)[ \t]*(.*)", re.DOTALL)
_PLAIN_LABEL = re.compile(r"([A-Z][A-Za-z' \u2019/&-]{1,40}):(?:[ \t]+(.*))?", re.DOTALL)
_BOX = re.compile(r"\[[ xX]\][ \t]+")
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,500}>")
_CLOSING_MARKS = re.compile(r"[ \t]#+[ \t]*$")


@dataclass(frozen=True, slots=True)
class Piece:
    """One paragraph, list item or code block.

    Attributes:
        part: what it is for.
        text: in a description as it stands in the source, elsewhere without its list marker and task box.
        lead: what introduces it ("You must not:"), empty in a description.
        code: it is a code block, without its fence unless it belongs to a description.
    """

    part: Part
    text: str
    lead: str = ""
    code: bool = False


@dataclass(slots=True)
class Reading:
    """What a text says.

    Attributes:
        title: its first heading that is not the name of a part, empty without one.
        pieces: in the order of the text.
        warnings: what could be read in two ways.
    """

    title: str = ""
    pieces: list[Piece] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def read_markdown(text: str) -> Reading:
    """The pieces of ``text``, whose line ends are ``\\n``."""
    # Without the inline rules, and so without anything whose time is not that of a pass over the lines.
    parser = MarkdownIt("commonmark")
    parser.core.ruler.enableOnly(["normalize", "block"])
    lines = _without_front_matter(text).split("\n")
    tokens = parser.parse("\n".join(lines))
    if swallowed := _swallowed_labels(tokens, lines):
        for number in reversed(swallowed):
            lines[number] = "\n" + lines[number]
        lines = "\n".join(lines).split("\n")
        tokens = parser.parse("\n".join(lines))
    return _Reader(lines).read(tokens)


def _swallowed_labels(tokens: Sequence[Token], lines: Sequence[str]) -> list[int]:
    """Lines such as ``**Scope:**`` right below a list: to CommonMark they continue its last item."""
    return [
        number
        for token in tokens
        if token.type == "inline" and token.level > 1 and token.map
        for number in range(token.map[0] + 1, min(token.map[1], len(lines)))
        if _label(lines[number]) is not None and not lines[number].startswith((" ", "\t", ">"))
    ]


def _without_front_matter(text: str) -> str:
    if not text.startswith("---\n"):
        return text
    lines = text.split("\n", _FRONT_MATTER_LINES)
    for number, line in enumerate(lines[1:], 1):
        if line.rstrip() in ("---", "..."):
            return "\n".join(lines[number + 1 :])
        if line.strip() and ":" not in line and not line.lstrip().startswith(("-", "#")):
            break  # a rule above prose, not YAML
    return text


def _without_comments(text: str) -> str:
    """``text`` without HTML comments; one that is not closed hides the rest, as it does where issues are shown."""
    kept, at = [], 0
    while (start := text.find("<!--", at)) >= 0:
        kept.append(text[at:start])
        end = text.find("-->", start + 4)
        if end < 0:
            return "".join(kept)
        at = end + 3
    return "".join([*kept, text[at:]])


class _Reader:
    """Walks the tokens once; lists and quotes are walked as a whole by the part that they stand in."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = lines
        self._found = Reading()
        self._headings: list[tuple[int, Part]] = []
        self._part = Part.OTHER
        self._named = False  # a heading has named a part
        self._lead = ""  # what the block before introduces
        self._leading: Piece | None = None  # that block, for when nothing follows that it could introduce

    def read(self, tokens: Sequence[Token]) -> Reading:
        at = 0
        while at < len(tokens):
            end = _closing(tokens, at)
            self._block(tokens[at : end + 1])
            at = end + 1
        self._flush()
        return self._found

    def _block(self, tokens: Sequence[Token]) -> None:
        first = tokens[0]
        if first.type in _INTRODUCED:
            self._leading = None
        self._flush()
        lead, self._lead = self._lead, ""
        if first.type == "heading_open" and _is_heading(tokens[1].content):
            self._heading(_CLOSING_MARKS.sub("", tokens[1].content), int(first.tag[1:]), self._source(first))
        elif first.type in ("paragraph_open", "heading_open"):
            self._paragraph(_without_comments(tokens[1].content))
        elif first.type == "html_block":
            self._text(self._part, _without_comments(first.content))
        elif first.type in ("bullet_list_open", "ordered_list_open"):
            self._list(tokens, lead)
        elif first.type in ("fence", "code_block"):
            self._code(first, lead)
        elif first.type == "blockquote_open":
            self._nested(self._part, tokens, lead, self._source(first))

    def _heading(self, name: str, level: int, source: str) -> None:
        while self._headings and self._headings[-1][0] >= level:
            self._headings.pop()
        label = _label(name)
        parts, rest = (frozenset({label[0]}), label[1]) if label and label[1] else (self._parts(name), "")
        above = self._headings[-1][1] if self._headings else Part.OTHER
        self._part = next(iter(parts)) if parts else above
        self._headings.append((level, self._part))
        self._named = self._named or bool(parts)
        if level == 1 and not self._found.title and ((rest and self._part is Part.GOAL) or not self._named):
            self._found.title = clean_line(rest or name)  # "Goal: retry requests" is both
        elif rest:
            self._text(self._part, rest)
        elif not parts and self._part in _DESCRIBING:
            self._add(Piece(self._part, source))
        elif not parts:
            self._lead = _as_lead(f"{name.rstrip(': ')}:")

    def _parts(self, name: str) -> frozenset[Part]:
        parts = parts_named(name)
        if len(parts) < 2:
            return parts
        if len(self._found.warnings) < _MAX_WARNINGS:
            names = " and ".join(sorted(part.value for part in parts))
            self._found.warnings.append(
                f"The heading {clean_line(name)!r} names {names}: its text is kept in the description. "
                "Give each a heading of its own."
            )
        return frozenset()

    def _paragraph(self, content: str) -> None:
        """A paragraph may hold several labels: "Goal: ..." and "Scope: ..." on lines of their own."""
        lines: list[str] = []
        part = self._part
        for line in content.split("\n"):
            label = _label(line)
            if label is None:
                lines.append(line)
                continue
            self._text(part, "\n".join(lines))
            part, lines = label[0], [label[1]] if label[1] else []
            if not label[1] or label[1].endswith(":"):
                self._part = part  # a heading of its own: it holds until the next one
            else:
                self._part = self._headings[-1][1] if self._headings else Part.OTHER
        text = "\n".join(lines)
        self._lead = _as_lead(" ".join(text.split())) if part is self._part and part not in _DESCRIBING else ""
        if self._lead:
            self._leading = Piece(part, text.strip("\n"))
        else:
            self._text(part, text)

    def _flush(self) -> None:
        if self._leading is not None:
            self._add(self._leading)
            self._leading = None

    def _text(self, part: Part, text: str) -> None:
        if part not in _DESCRIBING:
            text = _TAG.sub("", text)
        if text.strip():
            self._add(Piece(part, text.strip("\n")))

    def _code(self, token: Token, lead: str) -> None:
        own = self._part in _DESCRIBING
        text = self._source(token) if own else token.content
        if token.content.strip():
            self._add(Piece(self._part, text.strip("\n"), lead, code=True))

    def _list(self, tokens: Sequence[Token], lead: str) -> None:
        at = 1
        while at < len(tokens) - 1:
            end = _closing(tokens, at)
            item = tokens[at : end + 1]
            first = next((token.content for token in item if token.type == "inline"), "")
            label = _label(first, bold_only=self._part not in _DESCRIBING)
            if label is not None:
                self._nested(label[0], item, "", self._source(item[0]))
            else:
                self._nested(self._part, item, lead, self._source(item[0]))
            at = end + 1

    def _nested(self, part: Part, tokens: Sequence[Token], lead: str, source: str) -> None:
        """The pieces of a list item or a quote; in a description it is one, as it stands."""
        if part in _DESCRIBING:
            inline = next((token.content for token in tokens if token.type == "inline"), "")
            label = _label(inline)
            text = label[1] if label is not None and sum(t.type == "inline" for t in tokens) == 1 else source
            self._text(part, _without_comments(text))
            return
        for piece in _items(part, tokens, lead):
            self._add(piece)

    def _source(self, token: Token) -> str:
        start, end = token.map or (0, 0)
        return "\n".join(self._lines[start:end]).rstrip()

    def _add(self, piece: Piece) -> None:
        self._found.pieces.append(piece)


def _items(part: Part, tokens: Sequence[Token], lead: str) -> Iterator[Piece]:
    """One piece for each paragraph or code block; what ends in a colon stands before each item of the list in it."""
    leads, pending = [lead], ""
    is_label = True
    for token in tokens:
        if token.type in ("bullet_list_open", "ordered_list_open"):
            leads.append((_as_lead(f"{leads[-1]} {pending}".strip()) if _as_lead(pending) else "") or leads[-1])
            if pending and leads[-1] == leads[-2]:  # too long to stand before each
                yield Piece(part, pending, leads[-2])
            pending = ""
        elif token.type in ("bullet_list_close", "ordered_list_close") and len(leads) > 1:
            leads.pop()
        elif token.type in ("fence", "code_block"):
            if token.content.strip():
                yield Piece(part, token.content.strip("\n"), pending or leads[-1], code=True)
            pending = ""
        elif token.type in ("inline", "html_block"):
            if pending:
                yield Piece(part, pending, leads[-1])
            text = _BOX.sub("", _TAG.sub("", _without_comments(token.content)).strip(), count=1)
            if is_label and (label := _label(text)) is not None and label[0] is part:
                text = label[1]
            is_label, pending = False, ""
            if text.endswith(":"):
                pending = text
            elif text:
                yield Piece(part, text, leads[-1])
    if pending:
        yield Piece(part, pending, leads[0])


def _label(text: str, *, bold_only: bool = False) -> tuple[Part, str] | None:
    """The part that a text names for itself, and the rest: ``**Goal:** fix it``, ``Scope: src/``, ``**Rules**``."""
    text = _BOX.sub("", text.strip(), count=1)
    if (bold := _BOLD_LABEL.match(text)) is not None:
        name, colon, rest = bold.groups()
        named = name.rstrip().endswith(":") or colon or not rest
    elif not bold_only and (plain := _PLAIN_LABEL.match(text)) is not None:
        name, rest = plain[1], plain[2] or ""
        named = True
    else:
        return None
    parts = parts_named(name) if named else frozenset()
    return (next(iter(parts)), rest.strip()) if len(parts) == 1 else None


def _as_lead(text: str) -> str:
    """``text`` if it introduces what follows, else empty."""
    return text if text.endswith(":") and len(text) <= _LEAD_CHARS and "\n" not in text else ""


def _is_heading(content: str) -> bool:
    return "\n" not in content and len(content) <= _HEADING_CHARS


def _closing(tokens: Sequence[Token], at: int) -> int:
    """Index of the token that closes the one at ``at``."""
    depth = 0
    for index in range(at, len(tokens)):
        depth += tokens[index].nesting
        if depth == 0:
            return index
    return len(tokens) - 1
