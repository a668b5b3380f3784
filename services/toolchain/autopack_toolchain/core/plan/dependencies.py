"""What phases say about their order: "(depends on 1 and 2)", "Depends on: Setup", "after Phase 1", "in parallel with
2".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ...errors import DependencyCycle, UnknownPhase
from .knowledge import Knowledge
from .signs import DASHES
from .words import Token, stem, tokenize, words_of

__all__ = ["Names", "Need", "find_needs", "in_order", "resolve", "roman", "says_nothing"]

_PARENTHESES = re.compile(r"\s*[(\[]([^()\[\]\n]{1,300})[)\]]")
_PIECE = re.compile(r"\s*(?:,|;|&|\+|/|\band\b|\bor\b)\s*")
_RANGE = re.compile(rf"#?([0-9]{{1,3}})\s*(?:[{DASHES}]|to|through|\.\.)\s*#?([0-9]{{1,3}})")
_NUMBER = re.compile(r"#?([0-9]{1,3}|[ivxIVX]{1,5}|[A-Za-z])\.?")
_DASH = re.compile(rf"\s+[{DASHES}]{{1,2}}\s+|,\s+")
_STOP = re.compile(rf"[.;:!?](?:\s|$)|\s+[{DASHES}]\s+")
_NOTHING = frozenset({"none", "nothing", "n/a", "na", "no", "", *DASHES})
_PREVIOUS = frozenset({"previous", "preceding", "prior", "above", "earlier"})
_MAX_RANGE = 100


@dataclass(frozen=True, slots=True)
class Need:
    """One statement about order.

    Attributes:
        text: what is named, as it stands there.
        strong: the words say that it is a dependency ("depends on"); an unknown name is a mistake then.
        explicit: it stands in parentheses or behind a label, not in a sentence.
        parallel: it says that there is no dependency.
        line: index of its line.
    """

    text: str
    strong: bool
    explicit: bool
    parallel: bool
    line: int


def find_needs(text: str, line: int, known: Knowledge, *, begins_phase: bool) -> tuple[list[Need], str]:
    """The statements about order in a text, and the text without those in parentheses and behind dashes.

    What stands in parentheses is about a phase only where one begins: "Add a column (requires a migration)" is not.
    """
    needs: list[Need] = []

    def taken(match: re.Match[str]) -> str:
        found = list(_in_text(match.group(1), line, known, explicit=begins_phase))
        needs.extend(found)
        return "" if found else match.group()

    rest = _PARENTHESES.sub(taken, text)
    label, colon, behind = rest.partition(":")
    words = words_of(label)
    if colon and words and _order_phrase(words, 0, known) == len(words):
        strong = known.phrases["phases.strong"].at(words, 0) is not None or words in (
            ("dependencies",),
            ("blocked", "by"),
        )
        needs.append(Need(behind.strip(), strong, True, _is_parallel(words_of(behind), known), line))
        return needs, ""
    for dash in _DASH.finditer(rest) if begins_phase else ():
        found = list(_in_text(rest[dash.end() :], line, known, explicit=True, only_start=True))
        if found:
            return [*needs, *found], rest[: dash.start()].strip()
    needs += _in_text(rest, line, known, explicit=False)
    return needs, rest.strip()


def _order_phrase(words: Sequence[str], at: int, known: Knowledge) -> int:
    """The number of words of the phrase about order at ``at``, or 0."""
    for name in ("phases.strong", "phases.weaker"):
        found = known.phrases[name].at(words, at)
        if found is not None:
            return found[1]
    return 0


def _is_parallel(words: Sequence[str], known: Knowledge) -> bool:
    return known.phrases["phases.parallel"].any(words)


def _in_text(text: str, line: int, known: Knowledge, *, explicit: bool, only_start: bool = False) -> Iterator[Need]:
    tokens = tokenize(text)
    words = tuple(token.word for token in tokens)
    if _is_parallel(words, known) and (explicit or len(words) < 20):
        yield Need(text, False, explicit, True, line)
        return
    index = 0
    while index < len(words) and not (only_start and index):
        length = _order_phrase(words, index, known)
        if length and index + length < len(words):
            strong = known.phrases["phases.strong"].at(words, index) is not None
            yield Need(_named(text, tokens, index + length), strong, explicit, False, line)
        index += length or 1


def _named(text: str, tokens: Sequence[Token], at: int) -> str:
    rest = text[tokens[at - 1].end :].lstrip(" :")
    end = _STOP.search(rest)
    return rest[: end.start()] if end else rest


class Names:
    """How the phases of a plan may be called: by number, by id, by title."""

    def __init__(self, phases: Mapping[str, tuple[str, str]], word: str, known: Knowledge) -> None:
        """``phases``: id -> (number, title); ``word``: what they are called, for example "phase"."""
        self._trailing = known.words["phases.trailing"]
        self._by_number = {number.lower(): phase for phase, (number, _) in phases.items() if number}
        self._titles = [(tuple(_stems(title, self._trailing)), phase) for phase, (_, title) in phases.items()]
        self._ids = {phase.lower(): phase for phase in phases}
        self._order = list(phases)
        self._words = frozenset({*known.phases["words"], *(f"{name}s" for name in known.phases["words"]), word})
        self._numbers = {name: str(number) for number, name in enumerate(known.phases["numbers"])}
        self._numbers |= {name: str(number) for number, name in enumerate(known.phases["ordinals"], 1)}

    def number(self, text: str) -> str:
        """The canonical form of a number: "II", "two" and "2" are the same."""
        text = text.lower().strip("#. ")
        if text in self._by_number:
            return text
        return self._numbers.get(text, roman(text) or text)

    def find(self, piece: str, own: str) -> tuple[list[str], bool]:
        """(the phases that a piece of text names, whether it names a phase by number at all)."""
        words = [word for word in piece.lower().split() if word not in ("the", "both", "all", "of")]
        called = bool(words) and words[0].rstrip(":") in self._words
        rest = " ".join(words[1:] if called else words)
        spread = _RANGE.match(rest)
        if spread:
            numbers = range(int(spread.group(1)), min(int(spread.group(2)), int(spread.group(1)) + _MAX_RANGE) + 1)
            return [self._by_number[str(n)] for n in numbers if str(n) in self._by_number], True
        if set(words) & _PREVIOUS:
            place = self._order.index(own)
            return (
                self._order[:place] if "all" in piece.lower().split() else self._order[max(0, place - 1) : place]
            ), False
        head = rest.split(" ", 1)[0]
        tail = set(rest.split()[1:])
        if (head and _NUMBER.fullmatch(head)) or self.number(head) in self._by_number:
            bare = tail <= self._trailing
            if called or bare:
                found = self._by_number.get(self.number(head))
                return ([found] if found else []), True if called or head.strip("#.").isdigit() else found is not None
        return self._titled(piece), False

    def _titled(self, piece: str) -> list[str]:
        if piece.strip().lower() in self._ids:
            return [self._ids[piece.strip().lower()]]
        wanted = _stems(piece, self._trailing)
        if not wanted:
            return []
        exact = [phase for title, phase in self._titles if set(title) == set(wanted)]
        within = [
            phase for title, phase in self._titles if title and (set(wanted) <= set(title) or set(title) <= set(wanted))
        ]
        return (exact or within)[:1] if len(exact or within) == 1 or exact else []


def _stems(text: str, ignored: frozenset[str]) -> list[str]:
    return [stem(word) for word in words_of(text) if word not in ignored]


def roman(text: str) -> str:
    """The number that Roman digits stand for, or an empty text.

    >>> roman("iv"), roman("two")
    ('4', '')
    """
    values = [{"i": 1, "v": 5, "x": 10}.get(char, 0) for char in text.lower()]
    if not values or 0 in values:
        return ""
    return str(sum(-v if v < max(values[i + 1 :], default=0) else v for i, v in enumerate(values)))


def resolve(own: str, needs: Sequence[Need], names: Names, lines: Mapping[int, int]) -> tuple[list[str], list[Need]]:
    """(the phases that ``own`` depends on, needs that are about something outside of the plan).

    ``lines``: line index -> number in the text, for errors.

    Raises:
        UnknownPhase: a name or a number that should be a phase and is none.
    """
    found: list[str] = []
    outside: list[Need] = []
    for need in needs:
        if need.parallel or says_nothing(need):
            continue
        called = False
        for piece in filter(None, _PIECE.split(need.text)):
            phases, numbered = names.find(f"phase {piece}" if called and _NUMBER.fullmatch(piece) else piece, own)
            called = called or numbered
            if phases:
                found += phases
            elif _must_exist(need, piece, numbered=numbered):
                raise UnknownPhase(own, piece.strip(), lines[need.line])
            elif need.explicit:
                outside.append(need)
    return list(dict.fromkeys(found)), outside


def says_nothing(need: Need) -> bool:
    """ "Depends on: none"."""
    return need.text.strip().lower() in _NOTHING


def _must_exist(need: Need, piece: str, *, numbered: bool) -> bool:
    """Whether a name that no phase has is a mistake: "depends on X", or "Phase 9" wherever it stands."""
    if need.strong and need.explicit:
        return True
    return numbered and (need.explicit or need.strong or not piece.strip("#. ").isdigit())


def in_order(needs: Mapping[str, Sequence[str]]) -> list[str]:
    """The phases, each behind those it needs, else in the order of the text.

    Raises:
        DependencyCycle: naming the phases of one cycle.
    """
    done: dict[str, None] = {}
    waiting = list(needs)
    while waiting:
        ready = next((phase for phase in waiting if all(need in done for need in needs[phase])), None)
        if ready is None:
            raise DependencyCycle(_cycle(waiting, needs))
        done[ready] = None
        waiting.remove(ready)
    return list(done)


def _cycle(waiting: Sequence[str], needs: Mapping[str, Sequence[str]]) -> list[str]:
    path = [waiting[0]]
    while True:
        following = next(need for need in needs[path[-1]] if need in waiting)
        if following in path:
            return [*path[path.index(following) :], following]
        path.append(following)
