"""What a line is for: decided by the line that introduces it, else by the nearest heading that is known."""

from __future__ import annotations

import re

from .blocks import Kind, Line
from .clauses import begins_negative, masked
from .knowledge import Knowledge
from .model import Role
from .signs import COLONS, DASHES
from .words import Token, tokenize, words_of

__all__ = ["Roles", "heading_role", "labelled"]

_NUMBERED = re.compile(r"^[\s#]*(?:[0-9]{1,3}(?:\.[0-9]{1,3})*[.):]?|[IVX]{1,5}[.)]|[A-Za-z][.)])\s+")
_LABEL = re.compile(rf"([A-Za-z][^:`\n]{{1,60}})[{COLONS}]\s+(?=\S)")
_FOLLOWS = frozenset({"for", "of", "in", "to", "on", "and", "with", "that", "which", "from", "or", "this", "per", "by"})
"""What may stand behind the name of a section: "Acceptance criteria for the export"."""

_MAX_HEADING_WORDS = 14
_LABEL_WORDS = 3
"""A line of so few words in front of a list is a heading of its own: what stands above it no longer holds."""


def heading_role(text: str, known: Knowledge) -> Role | None:
    """The role of a section with this heading; None if it is not a known one.

    >>> from .knowledge import knowledge
    >>> heading_role("3. Acceptance criteria (draft)", knowledge())
    <Role.ACCEPTANCE: 'acceptance'>
    """
    text = _NUMBERED.sub("", text)
    tokens = tokenize(text)
    words = tuple(token.word for token in tokens)
    if not words or len(words) > _MAX_HEADING_WORDS:
        return None
    for length in range(min(len(words), 6), 0, -1):
        role = known.sections.get(" ".join(words[:length]))
        if role is not None and _may_follow(text, tokens, length):
            return role
    prefix = known.section_prefix_index.at(words, 0)
    if prefix is not None:
        return known.section_prefixes[prefix[0]]
    if begins_negative(words, known) or (words[0] in ("not", "no") and len(words) > 1):
        return Role.NON_GOALS
    return None


def _may_follow(text: str, tokens: list[Token], length: int) -> bool:
    if length == len(tokens):
        return True
    gap = text[tokens[length - 1].end : tokens[length].start]
    return tokens[length].word in _FOLLOWS or any(sign in gap for sign in f"(:&/[?!{DASHES}")


def labelled(text: str, known: Knowledge) -> tuple[Role | None, str]:
    """The role that the text claims for itself, and its rest: "Out of scope: the CLI"; (None, text) without one."""
    found = _LABEL.match(text)
    if found is None:
        return None, text
    role = known.sections.get(" ".join(token.word for token in tokenize(found.group(1))))
    return (role, text[found.end() :]) if role is not None else (None, text)


class Roles:
    """The roles of the lines of one text; ``title`` is the index of its title, or -1."""

    def __init__(self, lines: list[Line], title: int, known: Knowledge) -> None:
        self._lines = lines
        self._title = title
        self._known = known
        self._headings: dict[int, Role | None] = {}
        self._leads: dict[int, Role | None] = {}

    def of(self, line: Line) -> Role | None:
        """The role of a line, or None where nothing says it."""
        if line.lead >= 0:
            if line.lead not in self._leads:
                self._leads[line.lead] = _lead_role(self._lines[line.lead].text.rstrip(COLONS), self._known)
            role = self._leads[line.lead]
            if role is not None or len(words_of(self._lines[line.lead].text)) <= _LABEL_WORDS:
                return role
        if line.parent >= 0 and line.kind is not Kind.HEADING:
            return self.of(self._lines[line.parent])
        return self.under(line.section)

    def under(self, section: int) -> Role | None:
        """The role of what stands under the heading with this index."""
        while section >= 0:
            if section not in self._headings:
                text = self._lines[section].text
                # "Bug: the login fails" is a title, not a section of that name.
                named = section != self._title or " ".join(words_of(text)) in self._known.sections
                self._headings[section] = heading_role(text, self._known) if named else None
            role = self._headings[section]
            if role is not None:
                return role
            section = self._lines[section].section
        return None


def _lead_role(text: str, known: Knowledge) -> Role | None:
    role = heading_role(text, known)
    if role is not None:
        return role
    # The last sentence of a paragraph is what introduces the list.
    last = masked(text).rpartition(". ")[2]
    words = tuple(token.word for token in tokenize(last))
    if begins_negative(words, known) or _ends_negative(words, known):
        return Role.NON_GOALS
    references = known.phrases["paths.references"]
    if references.at(words, 0) and not known.action_of(words, 0):
        return Role.REFERENCES
    if known.phrases["words.requests"].any(words) or (words[-1:] and words[-1] in known.words["words.modals"]):
        return Role.WORK
    if known.phrases["words.modals"].any(words) or known.action_of(words, 0, only_imperative=True):
        return Role.WORK
    return None


def _ends_negative(words: tuple[str, ...], known: Knowledge) -> bool:
    return any(found[0] + found[2] == len(words) for found in known.phrases["negation.starts"].find(words))
