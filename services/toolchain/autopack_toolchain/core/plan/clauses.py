"""Sentences, and the parts of a sentence that ask for different things: "Add X and update Y without changing Z" has
three.

A sentence does not end at "e.g.", in a version or behind a file's extension; nothing is cut inside of code or
parentheses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from .inline import code_spans
from .knowledge import Knowledge
from .signs import COLONS, COMMAS, DASHES, ENDS, QUOTES, SEMICOLONS
from .words import Token, stem, tokenize

__all__ = ["Part", "begins_negative", "masked", "parts", "sentences"]

_END = re.compile(rf"[.!?…][{QUOTES})\]]*(?=\s)|[{ENDS}]")
_LAST_WORD = re.compile(r"[\w.]*$")
_LOOK_BACK = 24
"""Characters in front of a full stop that are looked at for an abbreviation; longer ones are none."""

_STRIPPED = f" \t•{COMMAS}{SEMICOLONS}{COLONS}{DASHES}"
_JOINS = frozenset({"and", "but", "then", "or", "also", "plus", "while"})
_AFTER_JOINS = _JOINS | {
    "only",
    "just",
    "instead",
    "please",
    "finally",
    "later",
    "next",
    "additionally",
    "afterwards",
    "optionally",
}
_SUBORDINATE = frozenset({"that", "which", "who", "when", "if", "whose", "where", "so", "because", "unless", "until"})
_AMBIGUOUS = frozenset({"avoid", "please avoid", "refrain from"})
"""These forbid only what a condition is about: "avoid the clones" asks for work, "avoid adding clones" does not."""

_EXCEPTION_WORDS = 6
"""Words behind "except" in which the path stands."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a sentence.

    Attributes:
        text: as it stands there, without what joins it to the part before.
        negative: it says what not to do.
        excepted: it only takes something out of the part before ("except `x/`").
    """

    text: str
    negative: bool = False
    excepted: bool = False


def masked(text: str) -> str:
    """``text`` of the same length, each code span one opaque word between its backticks."""
    pieces: list[str] = []
    at = 0
    for start, end in code_spans(text):
        pieces += [text[at:start], "`", "x" * (end - start - 2), "`"]
        at = end
    return "".join([*pieces, text[at:]])


def sentences(text: str, known: Knowledge) -> list[str]:
    """The sentences of one line of text."""
    hidden = masked(text)
    found: list[str] = []
    at = 0
    for match in _END.finditer(hidden):
        if match.group()[0] in ".…" and not _ends(hidden, match, known):
            continue
        found.append(text[at : match.end()].strip())
        at = match.end()
    found.append(text[at:].strip())
    return [sentence for sentence in found if sentence]


def _ends(text: str, match: re.Match[str], known: Knowledge) -> bool:
    following = text[match.end() : match.end() + _LOOK_BACK].lstrip()
    before = _LAST_WORD.search(text[max(0, match.start() - _LOOK_BACK) : match.start()])
    word = before.group().lower() if before else ""
    if match.group()[0] == "…" or word.endswith("."):
        return following[:1].isupper()
    if word in ("etc", "al"):
        return following[:1].isupper()
    return word not in known.words["words.abbreviations"] and not (len(word) == 1 and word.isalpha())


def begins_negative(words: tuple[str, ...], known: Knowledge) -> bool:
    """Whether a part says what not to do: "do not ...", "no new dependencies"; "don't forget to ..." does not."""
    at = 0
    while at < len(words) and words[at] in known.words["words.fillers"]:
        at += 1
    if known.phrases["words.requests"].at(words, at) or known.phrases["words.requests"].at(words, 0):
        return False
    found = known.phrases["negation.starts"].at(words, at) or known.phrases["negation.starts"].at(words, 0)
    if found is not None:
        following = words[at + found[1] : at + found[1] + 1]
        return following != ("only",) and (found[0] not in _AMBIGUOUS or is_condition(words, at + found[1], known))
    return words[at : at + 1] in (("no",), ("without",)) and is_condition(words, at + 1, known)


def is_condition(words: tuple[str, ...], at: int, known: Knowledge) -> bool:
    """Whether within three words stands what conditions on work are about: "adding", "any new dependency"."""
    named = {stem(word) for word in words[at : at + 3] if word not in ("the", "any", "a", "an")}
    return not named.isdisjoint(known.words["negation.things"] | known.words["negation.forbidden"])


def parts(sentence: str, known: Knowledge) -> list[Part]:
    """What a sentence asks for, one thing each, and what it asks not to do."""
    return _Splitter(sentence, known).run()


class _Splitter:
    """One sentence; its tokens are walked once."""

    def __init__(self, sentence: str, known: Knowledge) -> None:
        self._text = sentence
        self._hidden = masked(sentence)
        self._known = known
        self._tokens = _outside_parentheses(self._hidden)
        self._words = tuple(token.word for token in self._tokens)

    def run(self) -> list[Part]:
        cuts = [(0, begins_negative(self._words, self._known), False), *self._cuts()]
        ends = [start for start, _, _ in cuts[1:]]
        found = []
        for (start, negative, excepted), end in zip(cuts, [*ends, len(self._text)], strict=True):
            text = self._text[start:end].strip(_STRIPPED)
            if start:
                text = self._without_join(text)
            if text:
                found.append(Part(text, negative, excepted))
        return found

    def _without_join(self, text: str) -> str:
        while text and (first := text.split(" ", 1)[0].rstrip(",").lower()) in _AFTER_JOINS and " " in text:
            text = text[len(first) :].lstrip(_STRIPPED)
        return text

    def _cuts(self) -> Iterator[tuple[int, bool, bool]]:
        """(offset, whether negative, whether an exception) of every part but the first."""
        first = 0
        negative = begins_negative(self._words, self._known)
        for index in range(1, len(self._tokens)):
            if index <= first:
                continue
            after = self._after_joins(index)
            joined = after > index or self._stopped(index)
            forbids = joined and (self._is_negation(index, after) or self._stays(after))
            if self._is_without(index) or forbids:
                yield self._tokens[index].start, True, False
                first, negative = after + 1, True
            elif self._is_exception(index):
                yield self._tokens[index].start, True, True
                first, negative = index + 1, True
            elif joined and self._is_request(first, index, after, negative):
                yield self._tokens[index].start, False, False
                first, negative = after, False

    def _after_joins(self, index: int) -> int:
        after = index
        while after < len(self._words) and self._words[after] in _JOINS:
            after += 1
        if after > index or self._stopped(index):
            while after < len(self._words) and self._words[after] in _AFTER_JOINS:
                after += 1
        return after

    def _stopped(self, index: int) -> bool:
        """Whether a comma or a dash stands in front of the token."""
        gap = self._hidden[self._tokens[index - 1].end : self._tokens[index].start]
        return (
            any(sign in gap for sign in f"{COMMAS}{SEMICOLONS}{DASHES[:-1]}{COLONS[1:]}") or " - " in gap or ": " in gap
        )

    def _is_without(self, index: int) -> bool:
        found = self._known.phrases["negation.without"].at(self._words, index)
        if found is None:
            return False
        return is_condition(self._words[: index + found[1] + 2], index + found[1], self._known)

    def _is_negation(self, index: int, after: int) -> bool:
        if self._words[after : after + 1] == ("no",):
            return self._stopped(index) and is_condition(self._words, after + 1, self._known)
        found = self._known.phrases["negation.starts"].at(self._words, after)
        if found is None or (found[0] in _AMBIGUOUS and not is_condition(self._words, after + found[1], self._known)):
            return False
        following = self._words[after + found[1] : after + found[1] + 1]
        forbidden = bool(following) and stem(following[0]) in self._known.words["negation.forbidden"]
        return forbidden or self._stopped(index)

    def _stays(self, after: int) -> bool:
        """ "leave the files in `x/` untouched"."""
        verb = self._words[after : after + 1]
        stays = verb in (("leave",), ("keep",), ("leaving",), ("keeping",))
        return stays and self._known.phrases["negation.frozen"].any(self._words[after:])

    def _is_exception(self, index: int) -> bool:
        found = self._known.phrases["negation.except"].at(self._words, index)
        if found is None:
            return False
        following = self._tokens[index + found[1] : index + found[1] + _EXCEPTION_WORDS]
        return any(self._is_code(token) or "/" in self._hidden[token.end : token.end + 1] for token in following)

    def _is_request(self, first: int, index: int, after: int, negative: bool) -> bool:
        """Whether an imperative begins at ``after`` that is not part of what stands before it."""
        found = self._known.action_of(self._words, after, only_imperative=True)
        if found is None or after + found[1] >= len(self._words):
            return False
        before = self._words[first:index]
        stopped = self._stopped(index)
        last = self._known.action_of(before, len(before) - 1, only_imperative=True)
        doubled = last is not None and before[-2:-1] in (("to",), ("and",), ("or",), ("can",))
        if len(before) < 2 or (doubled and not stopped):
            return False  # "build and push the image", "lets users add and remove items"
        asked = self._known.phrases["words.requests"].at(self._words, first)
        if asked is not None and first + asked[1] >= index:
            return False  # "we should also add": what stands before only asks
        if not negative and not self._begins_with_request(first):
            return False
        if not stopped and (not _SUBORDINATE.isdisjoint(before) or self._has_infinitive(before)):
            return False
        return self._words[after] not in self._known.words["words.also_nouns"] or self._has_object(after + found[1])

    def _begins_with_request(self, first: int) -> bool:
        at = first
        while at < len(self._words) and self._words[at] in self._known.words["words.fillers"]:
            at += 1
        request = self._known.phrases["words.requests"].at(self._words, first)
        return request is not None or self._known.action_of(self._words, at) is not None

    def _has_infinitive(self, before: tuple[str, ...]) -> bool:
        return any(
            word == "to" and self._known.action_of(before, place + 1, only_imperative=True)
            for place, word in enumerate(before[2:], 2)
        )

    def _has_object(self, index: int) -> bool:
        """Whether a determiner, code or a name stands at ``index``: the word before it is a verb then, not a noun."""
        if index >= len(self._tokens):
            return False
        token = self._tokens[index]
        word = self._text[token.start : token.end]
        return (
            self._words[index] in self._known.words["words.determiners"] or self._is_code(token) or word[:1].isupper()
        )

    def _is_code(self, token: Token) -> bool:
        return self._hidden[max(0, token.start - 1) : token.start] == "`"


def _outside_parentheses(text: str) -> list[Token]:
    depth = 0
    depths: list[int] = []
    for char in text:
        depth += char in "([{"
        depths.append(depth)
        depth = max(0, depth - (char in ")]}"))
    return [token for token in tokenize(text) if not depths[token.start]]
