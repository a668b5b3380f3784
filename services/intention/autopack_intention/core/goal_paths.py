"""Paths and globs in what people write under "Scope" and "Non-goals".

A word taken for a path by mistake is worse than one that is missed: a scope of one wrong glob forbids every change.
So prose needs backticks, or a word that cannot be anything else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto

from autopack_kit.globs import MalformedGlob, check_globs

__all__ = ["Mentions", "Sense", "mentions"]

EVERYTHING = "**"

_MAX_ALTERNATIVES = 32
_MAX_TEXT_CHARS = 20_000
"""Of one item that is searched; a longer one is prose."""

_TOKEN = re.compile(r"`([^`\n]{1,1100})`|((?:\{[^{}\s`]{1,200}\}|[^\s`,;{}])+)")
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"!?\[([^\[\]\n]{1,500})\]\([^()\s]{0,2000}\)")
_EMPHASIS = re.compile(r"(?<![^\s(])\*\*(?=[\w`.])|(?<=[\w`.])\*\*(?=[\s:,.;)]|$)")
_BRACES = re.compile(r"\{([^{}]{1,500})\}")
_PLACE = re.compile(r":[0-9]{1,7}(?:[-:][0-9]{1,7})?$|#L[0-9]{1,7}(?:-L?[0-9]{1,7})?$")
_PATH = re.compile(r"[\w.@+~$\-*?\[\]{},/()=%&'# ]+")
_PROSE_PATH = re.compile(r"[\w.@+\-*?\[\]{},/]+")
_EXTENSION = re.compile(
    r"\.(?:py|pyi|js|mjs|cjs|jsx|ts|tsx|go|rs|c|h|cc|cpp|cxx|hpp|cs|java|kt|kts|scala|rb|php|swift|m|mm|sh|bash|zsh|ps1|bat|sql|proto"
    r"|html?|css|s[ac]ss|less|vue|svelte|md|mdx|rst|txt|adoc|json[5c]?|ya?ml|toml|ini|cfg|conf|xml|csv|tsv|lock|env|tf|hcl|gradle"
    r"|ipynb|r|jl|lua|pl|ex|exs|erl|hs|clj|dart|zig|nim|png|svg|jpe?g|gif|snap|patch|diff|log|cmake|mk|nix|sum|mod)$",
    re.IGNORECASE,
)  # fmt: skip
_NAMED_FILE = re.compile(
    r"(?:Makefile|Dockerfile|Containerfile|Jenkinsfile|Vagrantfile|Procfile|Gemfile|Rakefile|LICENSE|README|CHANGELOG|CODEOWNERS)"
)
_NOT_PATHS = re.compile(
    r"(?:node|vue|next|nuxt|react|three|d3|express|backbone|socket|asp)\.(?:js|net|io)$", re.IGNORECASE
)
_NEGATION = re.compile(r"\b(?:not|never|no|without|except|excluding|excludes?|excluded|don't|dont)\b", re.IGNORECASE)
_OUTSIDE = re.compile(r"\b(?:outside|other than|besides|apart from|but|unless|instead)\b", re.IGNORECASE)
_FILLER = frozenset(
    [
        "a",
        "all",
        "and",
        "any",
        "anything",
        "are",
        "at",
        "be",
        "below",
        "but",
        "by",
        "can",
        "change",
        "changed",
        "changes",
        "changing",
        "code",
        "contents",
        "create",
        "delete",
        "directories",
        "directory",
        "do",
        "dont",
        "edit",
        "editing",
        "either",
        "every",
        "everything",
        "except",
        "exclude",
        "excluded",
        "excluding",
        "file",
        "files",
        "folder",
        "folders",
        "from",
        "in",
        "inside",
        "its",
        "leave",
        "may",
        "modify",
        "modifying",
        "must",
        "needed",
        "never",
        "no",
        "not",
        "of",
        "only",
        "or",
        "outside",
        "path",
        "paths",
        "plus",
        "remove",
        "rename",
        "should",
        "stay",
        "subdirectories",
        "the",
        "these",
        "this",
        "touch",
        "touched",
        "touching",
        "tree",
        "under",
        "unchanged",
        "untouched",
        "update",
        "will",
        "within",
        "without",
    ]
)
"""Words around a path that say only that it may, or must not, change."""


class Sense(Enum):
    """What an item says about the paths in it."""

    PLAIN = auto()
    NEGATED = auto()
    """It excepts or forbids them: "everything except `docs/`"."""
    UNCLEAR = auto()
    """More than one thing: "`src/`, but not `src/api/`"; "nothing outside `src/`"."""


@dataclass(frozen=True, slots=True)
class Mentions:
    """What one item says of paths.

    Attributes:
        globs: in their order.
        only: nothing else is said, apart from what stands behind a dash, a colon or in parentheses.
        explained: there is such an explanation.
        sense: what it says about them.
    """

    globs: tuple[str, ...] = ()
    only: bool = False
    explained: bool = False
    sense: Sense = Sense.PLAIN


def mentions(text: str, *, listed: bool = False) -> Mentions:
    """The paths and globs in ``text``; ``listed``: a line of a code block, in which even a bare word is a path.

    >>> mentions("`src/http/` - the client").globs
    ('src/http/',)
    >>> mentions("Read and/or write errors").globs
    ()
    """
    if len(text) > _MAX_TEXT_CHARS:
        return Mentions()
    text = _EMPHASIS.sub("", _LINK.sub(r"\1", text)).strip()
    head = _head(text)
    single = len(_TOKEN.findall(head)) == 1
    found: dict[str, None] = {}
    first, words, in_head = len(text), 0, 0
    for match in _TOKEN.finditer(text):
        quoted, alone = match[1] is not None, single and match.start() < len(head)
        globs = _globs(match[1] if quoted else _bare(match[2]), quoted or listed or alone, alone and (quoted or listed))
        if globs:
            first = min(first, match.start())
            found.update(dict.fromkeys(globs))
        if match.start() < len(head):
            in_head += bool(globs)
            words += not globs and _says_something(match[0])
    only = bool(in_head) and not words
    return Mentions(tuple(found), only, only and len(head.rstrip(" :.")) < len(text.rstrip(" :.")), _sense(head, first))


def _sense(head: str, first: int) -> Sense:
    bare = _CODE.sub(lambda match: " " * len(match[0]), head)
    negation = _NEGATION.search(bare)
    if _OUTSIDE.search(bare) or (negation is not None and negation.start() > first):
        return Sense.UNCLEAR
    return Sense.PLAIN if negation is None else Sense.NEGATED


def _head(text: str) -> str:
    """What stands before the explanation: "src/http/ - the client" or "src/http/ (the client)"."""
    ends = (" - ", " \u2013 ", " \u2014 ", ": ", " (", " # ", " // ")
    return text[: min((at for end in ends if (at := text.find(end)) > 0), default=len(text))].rstrip(" :")


def _says_something(word: str) -> bool:
    letters = word.strip("`*_.,;:!?()[]\"'-\u2013\u2014&+").replace("'", "").lower()
    return bool(letters) and letters not in _FILLER


def _bare(word: str) -> str:
    word = word.strip("\"'<>").rstrip(".:!") if word not in (".", "./") else word
    word = word.lstrip("(") if ")" not in word else word
    word = word.rstrip(")") if "(" not in word else word
    return word


def _globs(word: str, sure: bool, alone: bool) -> tuple[str, ...]:
    """The globs that ``word`` stands for; empty if it is no path.

    ``sure``: it stands where a path is to be expected; ``alone``: and cannot be anything else.
    """
    word = _PLACE.sub("", word.strip())
    if "\\" in word and "/" not in word:
        word = word.replace("\\", "/")  # a path of Windows; in a glob it would escape
    negation = "!" if word.startswith("!") else ""
    word = word.removeprefix("!")
    if word in (".", "./", "/", "./...") and sure:
        return (EVERYTHING,)
    if not _is_path(word, sure, alone):
        return ()
    word = word.removesuffix("...") if word.endswith("/...") else word
    while word.startswith("./"):
        word = word[2:]
    return tuple(negation + glob for glob in _expanded(word) if _is_glob(glob))


def _is_path(word: str, sure: bool, alone: bool) -> bool:
    if _PATH.fullmatch(word) is None or not word.strip("/.! ") or word.startswith(("../", "~", "-", "//")):
        return False
    last = word.rstrip("/").rpartition("/")[2]
    named = _EXTENSION.search(word) is not None or _NAMED_FILE.fullmatch(last) is not None
    if word.endswith(")") or (" " in word and not ("/" in word and sure)) or _NOT_PATHS.match(word):
        return False
    if not sure:
        return _PROSE_PATH.fullmatch(word) is not None and (named or word.endswith("/") or "**" in word)
    return alone or named or "/" in word or "**" in word or (word.startswith(".") and len(word) > 2)


def _expanded(glob: str) -> list[str]:
    """``src/{a,b}.py`` as two globs: those of git have no braces. What is too much is no glob at all."""
    found = [glob]
    while (braces := _BRACES.search(found[0])) is not None:
        parts = [part.strip() for part in braces[1].split(",")]
        if len(found) * len(parts) > _MAX_ALTERNATIVES:
            return []
        found = [item.replace(braces[0], part, 1) for item in found for part in parts]
    return found


def _is_glob(glob: str) -> bool:
    try:
        check_globs([glob])
    except MalformedGlob:
        return False
    return "{" not in glob and "}" not in glob
