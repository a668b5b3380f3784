"""Shell text as tokens: words with their quoting, operators, line ends. Linear in the length of the text, never fails.

Only as much of the shell language as is needed to know which words a command has; nothing is ever executed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

__all__ = ["Kind", "Part", "Token", "Word", "resolve_word", "tokens_of"]


class Kind(Enum):
    """What a part of a word is."""

    TEXT = "text"
    VARIABLE = "variable"
    """``$NAME`` or ``${NAME}``: the text is the name; or ``${NAME:-default}``: the name, a NUL, the default."""
    OPAQUE = "opaque"
    """A substitution whose value only a shell could tell; the text is its source."""


class Part(NamedTuple):
    """A piece of a word."""

    kind: Kind
    text: str
    quoted: bool
    source: str


Word = tuple[Part, ...]


class Token(NamedTuple):
    """An operator (``word`` is None) or a word, with its place: offsets in the text, and the line from 0.

    ``value`` is the operator, ``"\\n"`` at the end of a line; for a word its text where nothing in it is quoted or
    expanded (only such a word can be a reserved one), else the empty string.
    """

    value: str
    word: Word | None
    start: int
    end: int
    line: int


_BLANK = re.compile(r"(?:[ \t]|\\\n)+")
_COMMENT = re.compile(r"#[^\n]*")
_OPERATOR = re.compile(r"\n|&&|&>>|&>|&|\|\||\|&|\||;;&|;;|;&|;|<<<|<<-|<<|<&|<>|<|>>|>&|>\||>|\(|\)")
_DESCRIPTOR = re.compile(r"[0-9]{1,3}(?=[<>])")
_SIMPLE = re.compile(r"[ \t]*([^\s\\'\"`$|&;()<>#][^\s\\'\"`$|&;()<>]*)(?=[ \t\n;|&)]|\Z)")
_PLAIN = re.compile(r"[^\s\\'\"`$|&;()<>]+")
_QUOTED = re.compile(r"[^\\\"`$]+")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[@*#?$!0-9-]")
_BRACED = re.compile(r"([A-Za-z_][A-Za-z0-9_]*|[@*0-9])(?::?-([A-Za-z0-9_./:@%+,= -]*))?")
_NESTING = re.compile(r"[\\'\"`()}]|\$[({]")
_SPACES = " \t\n"


def tokens_of(text: str) -> list[Token]:
    """The tokens of ``text``, which has Unix line ends. Bodies of here-documents and comments are left out.

    What is opened and never closed (a quote, a substitution) ends with its line, so that the rest is still read.
    """
    return _Lexer(text).read()


class _Lexer:
    """A position in a text. Its only backtracking is one look for an end that is not there: see ``_end_of``."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 0
        self._stop = 0  # where a quotation ends
        self._broken = False
        self._documents: list[tuple[str, bool]] = []
        self._tokens: list[Token] = []

    def read(self) -> list[Token]:
        text = self._text
        while self._at < len(text):
            if match := _SIMPLE.match(text, self._at):
                plain = match[1]
                self._at = match.end()
                part = Part(Kind.TEXT, plain, False, plain)
                self._tokens.append(Token(plain, (part,), match.start(1), self._at, self._line))
            elif match := _BLANK.match(text, self._at) or _COMMENT.match(text, self._at):
                self._move(match.end())
            elif text.startswith(("<(", ">("), self._at):
                self._word()
            elif match := _OPERATOR.match(text, self._at):
                self._operator(match[0])
            elif match := _DESCRIPTOR.match(text, self._at):
                self._move(match.end())
            elif text[self._at].isspace():  # a form feed and the like
                self._at += 1
            else:
                self._word()
        return self._tokens

    def _move(self, end: int) -> None:
        self._line += self._text.count("\n", self._at, end)
        self._at = end

    def _operator(self, operator: str) -> None:
        start, line = self._at, self._line
        self._move(start + len(operator))
        self._tokens.append(Token(operator, None, start, self._at, line))
        if operator in ("<<", "<<-"):
            self._document(strip=operator == "<<-")
        elif operator == "\n" and self._documents:
            for delimiter, strip in self._documents:
                self._skip_document(delimiter, strip)
            self._documents.clear()

    def _document(self, *, strip: bool) -> None:
        if match := _BLANK.match(self._text, self._at):
            self._move(match.end())
        before = len(self._tokens)
        if self._at < len(self._text) and not _OPERATOR.match(self._text, self._at):
            self._word()
        for token in self._tokens[before:]:
            self._documents.append(("".join(part.text for part in token.word or ()), strip))

    def _skip_document(self, delimiter: str, strip: bool) -> None:
        while self._at < len(self._text):
            end = self._text.find("\n", self._at)
            end = len(self._text) if end < 0 else end
            line = self._text[self._at : end]
            self._at = min(end + 1, len(self._text))
            self._line += 1
            if (line.lstrip("\t") if strip else line) == delimiter:
                return

    def _word(self) -> None:
        start, line = self._at, self._line
        parts: list[Part] = []
        while self._at < len(self._text):
            before = self._at
            self._part(parts, quoted=False)
            if self._at == before:
                break
        if self._at == start:  # nothing that a word may begin with: taken as it is
            self._at += 1
            parts.append(Part(Kind.TEXT, self._text[start : self._at], False, self._text[start : self._at]))
        plain = parts[0].text if len(parts) == 1 and parts[0].kind is Kind.TEXT and not parts[0].quoted else ""
        self._tokens.append(Token(plain, tuple(parts), start, self._at, line))

    def _part(self, parts: list[Part], *, quoted: bool) -> None:
        """Appends the next part; leaves the position where it is at the end of the word or of the quotation."""
        text, at = self._text, self._at
        if match := _QUOTED.match(text, at, self._stop) if quoted else _PLAIN.match(text, at):
            self._move(match.end())
            parts.append(Part(Kind.TEXT, match[0], quoted, match[0]))
            return
        char = text[at]
        if char == "\\":
            self._move(min(at + 2, len(text)))
            escaped = text[at + 1 : self._at]
            kept = escaped if not quoted or escaped in '$`"\\' else "\\" + escaped
            if escaped != "\n":
                parts.append(Part(Kind.TEXT, kept, True, text[at : self._at]))
        elif char == "$":
            self._expansion(parts, quoted)
        elif char == "`":
            self._opaque(parts, at + 1, "`", quoted)
        elif quoted:
            return
        elif char == "'":
            self._single(parts, at + 1, Kind.TEXT)
        elif char == '"':
            self._double(parts)
        elif text.startswith(("<(", ">("), at) or (char == "(" and parts and parts[-1].text.endswith("=")):
            self._opaque(parts, at + (1 if char == "(" else 2), ")", quoted)

    def _single(self, parts: list[Part], start: int, escapes: Kind) -> None:
        """A quotation up to the next mark; ``escapes`` is what it is with a backslash in it."""
        end = self._text.find("'", start)
        closed = end >= 0
        end = end if closed else self._end_of_line(start)
        content = self._text[start:end]
        begin = self._at
        self._move(end + closed)
        parts.append(Part(escapes if "\\" in content else Kind.TEXT, content, True, self._text[begin : self._at]))

    def _double(self, parts: list[Part]) -> None:
        end, closed = self._end_of(self._at + 1, '"')
        self._at += 1
        self._stop = end
        if self._at == end:
            parts.append(Part(Kind.TEXT, "", True, '""'))
        while self._at < end:
            before = self._at
            self._part(parts, quoted=True)
            if self._at == before:  # a quotation mark inside of one that is never closed
                parts.append(Part(Kind.TEXT, self._text[before], True, self._text[before]))
                self._move(before + 1)
        if closed:
            self._at = end + 1

    def _expansion(self, parts: list[Part], quoted: bool) -> None:
        text, at = self._text, self._at
        following = text[at + 1 : at + 2]
        if following == "{":
            end, closed = self._end_of(at + 2, "}")
            match = _BRACED.fullmatch(text, at + 2, end)
            self._move(end + closed)
            source = text[at : self._at]
            if closed and match:
                name = match[1] if match[2] is None else f"{match[1]}\0{match[2]}"
                parts.append(Part(Kind.VARIABLE, name, quoted, source))
            else:
                parts.append(Part(Kind.OPAQUE, source, quoted, source))
        elif following == "(":
            self._opaque(parts, at + 2, ")", quoted)
        elif following == "'" and not quoted:
            self._single(parts, at + 2, Kind.OPAQUE)
        elif match := _NAME.match(text, at + 1):
            self._move(match.end())
            parts.append(Part(Kind.VARIABLE, match[0], quoted, text[at : self._at]))
        else:
            self._move(at + 1)
            parts.append(Part(Kind.TEXT, "$", True, "$"))

    def _opaque(self, parts: list[Part], start: int, closer: str, quoted: bool) -> None:
        begin = self._at
        end, closed = self._end_of(start, closer)
        self._move(end + closed)
        source = self._text[begin : self._at]
        parts.append(Part(Kind.OPAQUE, source, quoted, source))

    def _end_of_line(self, start: int) -> int:
        end = self._text.find("\n", start)
        return len(self._text) if end < 0 else end

    def _end_of(self, start: int, closer: str) -> tuple[int, bool]:
        """Where ``closer`` stands, with everything nested skipped, and True; else the end of the line and False.

        One search may run in vain to the end of the text. Later ones then stop at the end of their line, so that the
        whole stays linear.
        """
        limit = self._end_of_line(start) if self._broken else len(self._text)
        found = _matching(self._text, start, limit, closer)
        if found is not None:
            return found, True
        self._broken = True
        return self._end_of_line(start), False


def _matching(text: str, start: int, limit: int, closer: str) -> int | None:
    """The place of the ``closer`` that belongs to what was opened before ``start``, below ``limit``."""
    open_ = [closer]
    at = start
    while match := _NESTING.search(text, at, limit):
        found, top = match[0], open_[-1]
        at = match.end()
        if found == top:
            open_.pop()
            if not open_:
                return match.start()
        elif found == "\\":
            at += 1
        elif found == "$(":
            open_.append(")")
        elif found == "${":
            open_.append("}")
        elif found == "`" and top != "`":
            open_.append("`")
        elif top == '"':
            continue
        elif found == '"':
            open_.append('"')
        elif found == "(" and top == ")":
            open_.append(")")
        elif found == "'":
            end = text.find("'", at, limit)
            if end < 0:
                return None
            at = end + 1
    return None


def resolve_word(word: Word, variables: Mapping[str, str | None]) -> tuple[list[str], bool]:
    """The words that it becomes with these variables, and whether they are exact.

    They are not where a substitution, an unknown variable, a pattern or a brace expansion is left: its source then
    stands in the text. A variable that is None is known to be set to something unknown; one that is missing is taken
    as unset where a default is given (``${NAME:-default}``).
    """
    made: list[str] = [""]
    exact, anything = True, False
    for part in word:
        if part.kind is Kind.TEXT:
            made[-1] += part.text
            anything = True
            exact = exact and (part.quoted or not _is_pattern(part.text, first=part is word[0]))
            continue
        value = _value_of(part, variables)
        if value is None:
            made[-1] += part.source
            exact, anything = False, True
        elif part.quoted and part.text != "@":
            made[-1] += value
            anything = True
        elif fields := value.split():
            if value[0] in _SPACES and made[-1]:
                made.append("")
            made[-1] += fields[0]
            made += fields[1:]
            anything = True
    return (made if anything else []), exact


def _value_of(part: Part, variables: Mapping[str, str | None]) -> str | None:
    if part.kind is not Kind.VARIABLE:
        return None
    name, has_default, default = part.text.partition("\0")
    value = variables.get(name)
    if has_default and not value and (name not in variables or value == ""):
        return default
    return value


def _is_pattern(text: str, *, first: bool) -> bool:
    """Whether the shell would replace this unquoted text: by matching files, a home directory or several words.

    ``[...]`` is let pass: in commands it is the extra of a requirement (``.[test]``), which no file matches.
    """
    if "*" in text or "?" in text or (first and text.startswith("~")):
        return True
    return "{" in text and ("," in text or ".." in text) and "}" in text
