"""Whether a text asks for something, and for what: an imperative, "we need to ...", a user story, a noun for a verb."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .clauses import masked
from .knowledge import Knowledge
from .words import words_of

__all__ = ["STORY", "Request", "request_of", "skip_fillers", "without_label"]

STORY = "user story"
"""Why a sentence is a deliverable: "As a ..., I want ..."."""

_CONVENTIONAL = re.compile(r"([a-zA-Z]{2,12})(\([^()\n]{1,60}\))?!?:\s+(?=\S)")
_STORY = re.compile(r"[Aa]s (?:an?|the) [^,\n]{1,80},?\s+(?:I|we)\s+(?:want|need|would like|can|should be able)\b")


@dataclass(frozen=True, slots=True)
class Request:
    """That a text asks for something: how sure, which action, the text without what introduces it, and why."""

    text: str
    action: str
    confidence: float
    signal: str


def request_of(text: str, known: Knowledge, *, is_item: bool) -> Request | None:
    """What a text asks for, if it asks: an imperative, "we need to ...", a story, or a noun for a verb.

    A paragraph has to be in the imperative ("Add ..."); an item may also say "Adds ..." or "Adding ...".
    """
    if _STORY.match(text):
        return Request(text, "create", 0.8, STORY)
    words = words_of(masked(text))
    asked = known.phrases["words.requests"].at(words, 0)
    if asked is not None:
        rest = _behind(text, asked[1])
        action = known.action_of(words, asked[1] + skip_fillers(words[asked[1] :], known))
        return Request(_capital(rest), action[0] if action else "", 0.8 if action else 0.6, "request") if rest else None
    skipped = skip_fillers(words, known)
    wished = known.phrases["words.wishes"].at(words, skipped)
    if wished is not None and len(words) > wished[1]:
        return Request(_capital(_behind(text, skipped + wished[1])), "create", 0.65, "wish")
    noun = known.noun_index.at(words, skipped)
    if noun is not None and is_item:
        return Request(_capital(_behind(text, skipped)), known.nouns[noun[0]], 0.75, "noun for a verb")
    found = known.action_of(words, skipped, only_imperative=not is_item)
    if found is None or len(words) <= skipped + found[1] or _is_noun(words, skipped, known):
        return None
    return Request(_capital(_behind(text, skipped)), found[0], 0.9 if is_item else 0.85, "imperative")


def without_label(text: str, known: Knowledge) -> str:
    """ "fix(cart): round per line" without its label."""
    label = _CONVENTIONAL.match(text)
    if label and any(label.group(1).lower() in signs.labels for signs in known.categories.values()):
        return text[label.end() :]
    return text


def _is_noun(words: tuple[str, ...], at: int, known: Knowledge) -> bool:
    """Whether the word is a subject ("Cache invalidation fails"), not a verb."""
    if words[at] not in known.words["words.also_nouns"]:
        return False
    following = words[at + 1 : at + 4]
    if following and following[0] in known.words["words.determiners"]:
        return False
    return not known.words["words.finite"].isdisjoint(following) or following[:1] == ("of",)


def skip_fillers(words: tuple[str, ...], known: Knowledge) -> int:
    return next((n for n, word in enumerate(words) if word not in known.words["words.fillers"]), len(words))


def _behind(text: str, count: int) -> str:
    """``text`` without its first ``count`` words."""
    from_words = [match.start() for match in re.finditer(r"\S+", text)]
    hidden = masked(text)
    starts = [at for at in from_words if words_of(hidden[at : at + 100].split(" ", 1)[0])]
    return text[starts[count] :] if count < len(starts) else ""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
