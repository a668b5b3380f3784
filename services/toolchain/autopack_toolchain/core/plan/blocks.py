"""Markdown or plain text as logical lines: headings, sentences' paragraphs, list items, table rows, each with its
place.

The blocks are found by markdown-it (CommonMark with tables). What people write beside CommonMark is added here: task
boxes, bullets that are no Markdown, lines that were broken on purpose, bold lines used as headings, and front matter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum

from markdown_it import MarkdownIt
from markdown_it.token import Token

from ...errors import PlanTooLong
from .inline import plain
from .signs import COLONS, DASHES, ENDS

__all__ = ["MAX_LINES", "Kind", "Line", "read_lines"]

MAX_LINES = 10_000
"""Lines of a text. The longest specification in sight has some 1,500; the parser needs a second for 50,000 lines."""

_WIDTH = 60
"""Characters: nobody wraps prose narrower than this, so a shorter line was ended on purpose."""

_QUESTION = 80
"""Characters of a question that what follows answers, as in the forms of issue trackers."""

_HEADING_CHARS = 200
"""A longer "heading" is a paragraph over a row of dashes."""

_BOLD_LEVEL = 7
"""Level of a bold line that serves as a heading: below every real one."""

_BULLET = re.compile(rf"(?:[•◦▪‣·*+{DASHES}]|\(?(?:[0-9]{{1,3}}|[a-zA-Z])[.)])\s+(?=\S)")
_BOX = re.compile(r"\[([ xX✓✔-]?)\]\s+")
_BOLD = re.compile(r"(\*\*|__)(?=\S)(.{2,120}?)\1(:?)\s*$")
_CLOSING_MARKS = re.compile(r"[\s#]*$")
_FRONT_MATTER_LINES = 100


class Kind(Enum):
    """What a line is."""

    HEADING = "heading"
    TEXT = "text"
    ITEM = "item"
    ROW = "row"
    CODE = "code"
    QUOTE = "quote"


@dataclass(frozen=True, slots=True)
class Line:
    """One logical line.

    Attributes:
        text: without Markdown, one line of text; a code block keeps its line breaks.
        number: line of the source, from 1.
        kind: what it is.
        level: of a heading, or depth of a list item, from 1.
        parent: index of the list item that it stands in, or -1.
        section: index of the heading that it stands under, or -1; of a heading, the one above it.
        lead: index of the line that introduces it ("We need to:"), or -1.
        checked: of a task box; None without one.
        cells: of a table row: (heading of the column, text).
        ordinal: number of an item of a numbered list, else 0.
        block: number of the paragraph, list or table that it came from; items of one list share it.
    """

    text: str
    number: int
    kind: Kind
    level: int = 0
    parent: int = -1
    section: int = -1
    lead: int = -1
    checked: bool | None = None
    cells: tuple[tuple[str, str], ...] = ()
    ordinal: int = 0
    block: int = 0


def read_lines(text: str) -> list[Line]:
    """Every logical line of ``text``, in order.

    Raises:
        PlanTooLong: it has more than :data:`MAX_LINES` lines.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").lstrip("\ufeff")
    count = text.count("\n") + 1
    if count > MAX_LINES:
        raise PlanTooLong(count, MAX_LINES, "lines")
    return _Reader().read(_without_front_matter(text))


def _without_front_matter(text: str) -> str:
    """``text`` with empty lines instead of YAML front matter, so that the lines behind it keep their numbers."""
    if not text.startswith("---\n"):
        return text
    lines = text.split("\n", _FRONT_MATTER_LINES)
    end = next((n for n, line in enumerate(lines[1:], 1) if line.rstrip() in ("---", "...")), 0)
    is_yaml = end > 1 and all(
        not line.strip() or ":" in line or line.lstrip().startswith(("-", "#")) for line in lines[1:end]
    )
    return "\n".join([*[""] * (end + 1), *lines[end + 1 :]]) if is_yaml else text


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark").enable("table")
    parser.core.ruler.enableOnly(["normalize", "block"])
    return parser


class _Reader:
    """Walks markdown-it's tokens once."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self._headings: list[int] = []
        self._items: list[int | None] = []
        self._quotes = 0
        self._block = 0
        self._lead = -1
        self._counts: list[int] = []
        self._ordinals: list[int] = []
        self._list_leads: list[int] = []
        self._list_blocks: list[int] = []
        self._columns: list[str] = []
        self._cells: list[str] = []
        self._in_head = False

    def read(self, text: str) -> list[Line]:
        tokens = _parser().parse(text)
        for index, token in enumerate(tokens):
            if token.type == "inline":
                self._inline(token, tokens[index - 1])
            elif token.type in ("fence", "code_block"):
                self._block += 1
                self._add(Line(token.content, _number(token), Kind.CODE))
            elif token.type == "html_block":
                self._block += 1
                self._paragraph(token.content, _number(token))
            else:
                self._structure(token)
        return self.lines

    def _structure(self, token: Token) -> None:
        match token.type:
            case "bullet_list_open" | "ordered_list_open":
                self._block += 1
                self._list_leads.append(self._lead)
                self._list_blocks.append(self._block)
                self._counts.append(0)
            case "bullet_list_close" | "ordered_list_close":
                self._list_leads.pop()
                self._list_blocks.pop()
                self._counts.pop()
                self._lead = -1
            case "list_item_open":
                self._items.append(None)
                # "1. 1. 1." counts on, as readers see it.
                self._counts[-1] = self._counts[-1] + 1 if self._counts[-1] else int(token.info or 0)
                self._ordinals.append(self._counts[-1])
            case "list_item_close":
                self._items.pop()
                self._ordinals.pop()
            case "blockquote_open":
                self._quotes += 1
            case "blockquote_close":
                self._quotes -= 1
            case "table_open":
                self._block += 1
                self._columns = []
            case "table_close":
                self._lead = -1
            case "thead_open" | "thead_close":
                self._in_head = token.type == "thead_open"
            case "tr_open":
                self._cells = []
            case "tr_close":
                self._row(token)
            case _:
                pass

    def _inline(self, token: Token, before: Token) -> None:
        if before.type in ("th_open", "td_open"):
            (self._columns if self._in_head else self._cells).append(plain(token.content).replace("\n", " "))
            self._row_number = _number(token)
            return
        if before.type == "heading_open" and "\n" not in token.content and len(token.content) <= _HEADING_CHARS:
            self._heading(token.content, int(before.tag[1:]), _number(token))
            return
        self._block += 1
        self._paragraph(token.content, _number(token))

    def _heading(self, content: str, level: int, number: int) -> None:
        while self._headings and self.lines[self._headings[-1]].level >= level:
            self._headings.pop()
        text = _CLOSING_MARKS.sub("", plain(content))
        self._lead = -1
        self._block += 1
        section = self._headings[-1] if self._headings else -1
        self.lines.append(Line(text, number, Kind.HEADING, level, section=section, block=self._block))
        self._headings.append(len(self.lines) - 1)

    def _row(self, token: Token) -> None:
        if not self._in_head and any(self._cells):
            columns = [*self._columns, *[""] * len(self._cells)]
            cells = tuple(zip(columns, self._cells, strict=False))
            text = " | ".join(cell for cell in self._cells if cell)
            self._add(Line(text, self._row_number, Kind.ROW, cells=cells, lead=self._lead))

    def _paragraph(self, content: str, number: int) -> None:
        raw = content.split("\n")
        lead, self._lead = self._lead, -1
        for offset, text, bullet in _logical_lines(plain(content)):
            checked, text = _box(text)
            if not text:
                continue
            if not self._items and not self._quotes and _is_bold(raw[offset], text):
                self._heading(text.rstrip(":"), _BOLD_LEVEL, number + offset)
                lead = -1
                continue
            index = len(self.lines)
            line = Line(text, number + offset, Kind.TEXT, lead=lead, checked=checked)
            if self._items and self._items[-1] is None:
                above = next((item for item in reversed(self._items) if item is not None), -1)
                line = replace(line, kind=Kind.ITEM, level=len(self._items), parent=above, lead=self._list_leads[-1])
                line = replace(line, ordinal=self._ordinals[-1], block=self._list_blocks[-1])
                self._items[-1] = index
            elif bullet or checked is not None:
                line = replace(line, kind=Kind.ITEM, level=len(self._items) + 1)
            self._add(line)
            introduces = text.endswith(tuple(COLONS)) or (text.endswith("?") and len(text) <= _QUESTION)
            introduces = introduces and line.kind is not Kind.QUOTE
            lead = index if introduces else lead
            self._lead = index if introduces else -1

    def _add(self, line: Line) -> None:
        if line.kind is Kind.CODE:
            self._lead = -1
        elif self._quotes:
            line = replace(line, kind=Kind.QUOTE)
        parent = line.parent
        if parent < 0 and line.kind is not Kind.ITEM:
            parent = next((item for item in reversed(self._items) if item is not None), -1)
        section = self._headings[-1] if self._headings else -1
        self.lines.append(replace(line, parent=parent, section=section, block=line.block or self._block))


def _number(token: Token) -> int:
    return token.map[0] + 1 if token.map else 0


def _is_bold(raw: str, text: str) -> bool:
    """Whether the line is bold as a whole and reads as a heading, not as a sentence."""
    bold = _BOLD.fullmatch(raw.strip())
    return bold is not None and plain(raw) == text and not bold.group(2).rstrip().endswith((".", "!", "?"))


def _box(text: str) -> tuple[bool | None, str]:
    found = _BOX.match(text)
    return (None, text) if found is None else (found.group(1) not in ("", " "), text[found.end() :])


def _logical_lines(text: str) -> list[tuple[int, str, bool]]:
    """(offset of the first line, text, whether it is a bullet), wrapped lines joined.

    A line break is the author's own if the line ends a sentence, the next one is a bullet, or its first word would
    still have fitted on the line.
    """
    lines = text.split("\n")
    width = max([_WIDTH, *map(len, lines)])
    found: list[tuple[int, list[str], bool]] = []
    for offset, line in enumerate(lines):
        bullet = _BULLET.match(line)
        if found and line and not bullet and not _breaks(lines[offset - 1], line, width):
            found[-1][1].append(line)
        else:
            found.append((offset, [line[bullet.end() :] if bullet else line], bullet is not None))
    return [(offset, " ".join(parts).strip(), bullet) for offset, parts, bullet in found]


def _breaks(before: str, line: str, width: int) -> bool:
    first = line.split(" ", 1)[0]
    begins = not first[0].islower()
    ends = before.endswith((".", "!", "?", ";", *COLONS, *ENDS))
    fitted = len(before) + 1 + len(first) < width
    return not before or (begins and (ends or fitted)) or (before.endswith(":") and fitted)
