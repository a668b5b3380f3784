"""The patterns of one ``.gitignore``, asked about directories only, as git asks while it walks.

Written for walks, where a general library costs more than the walk itself: compiling the usual 90 patterns takes it
16 ms, here below one, because most of them are plain names. A pattern speaks for the very directory that it matches:
what lies below an ignored directory is not walked. Anything from outside may stand in such a file, so wildcards are
matched by RE2, in linear time. Where git matches bytes, ``?`` and ``[...]`` match characters. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import re2

__all__ = ["MAX_PATTERN", "IgnoreFile", "Patterns", "Verdict", "parse_ignore_file"]

MAX_PATTERN = 256
"""Characters of a pattern; longer ones are passed over."""

_WILD = frozenset("*?[\\")
_STARS = re.compile(r"\*{3,}")
_ANY_DEPTH = 1 << 30
_NOTHING = "[^\\x00-\\x{10FFFF}]"

Verdict = tuple[int, bool]
"""The line of a pattern, and whether it says that the directory is ignored; the last line that matches decides."""


class Patterns:
    """Patterns of one kind: plain ones by their text, the others as one set of expressions."""

    def __init__(self) -> None:
        self.plain: dict[str, Verdict] = {}
        self._wild: list[Verdict] = []
        options = re2.Options()
        options.log_errors = False
        self._matcher = re2.Set.FullMatchSet(options)

    @property
    def cost(self) -> int:
        """Expressions that one question is asked of."""
        return len(self._wild)

    def __bool__(self) -> bool:
        return bool(self.plain or self._wild)

    def add(self, body: str, verdict: Verdict) -> None:
        """One more pattern; a malformed one matches nothing, as in git."""
        if _WILD.isdisjoint(body):
            self.plain[body] = verdict
            return
        try:
            self._matcher.Add("(?s)" + "".join(_pieces(body)))
        except re2.error:
            return
        self._wild.append(verdict)

    def compile(self) -> None:
        """Ends the adding. Raises re2.error if the expressions are too much for RE2."""
        if self._wild:
            self._matcher.Compile()

    def last(self, text: str) -> Verdict | None:
        """What the last pattern that matches says."""
        found = self.plain.get(text)
        for index in (self._matcher.Match(text) or ()) if self._wild else ():
            found = max(found, self._wild[index]) if found else self._wild[index]
        return found


@dataclass(frozen=True, slots=True)
class IgnoreFile:
    """The patterns of one file; those without a slash see only the name of a directory.

    Attributes:
        names: patterns without a slash, to be asked about a directory's name.
        paths: patterns with a slash, to be asked about its path, relative to the directory of the file.
        depth: slashes at most in a path that these can match; -1 = there are none.
    """

    names: Patterns
    paths: Patterns
    depth: int


def parse_ignore_file(text: str) -> IgnoreFile | None:
    """The patterns of a ``.gitignore``. Malformed ones match nothing, as in git.

    Returns:
        None if there is no pattern, or if they are more than RE2 takes at once.
    """
    names, paths, depth = Patterns(), Patterns(), -1
    for number, line in enumerate(text.split("\n")):
        pattern = _stripped(line)
        is_ignored = not pattern.startswith("!")
        body = _STARS.sub("**", pattern.removeprefix("!").removesuffix("/")).removeprefix("**/")
        if not body or pattern.startswith("#") or len(pattern) > MAX_PATTERN:
            continue
        kind = paths if "/" in body else names
        if kind is paths:
            depth = max(depth, _ANY_DEPTH if "**" in body else body.removeprefix("/").count("/"))
            body = body.removeprefix("/")
        kind.add(body, (number, is_ignored))
    try:
        names.compile()
        paths.compile()
    except re2.error:
        return None
    return IgnoreFile(names, paths, depth) if names or paths else None


def _stripped(line: str) -> str:
    """Without the spaces at its end, unless they are escaped, and without the CR of another system's line end."""
    line = line.removesuffix("\r")
    bare = line.rstrip(" ")
    return f"{bare} " if bare.endswith("\\") and bare != line else bare


def _pieces(body: str) -> Iterator[str]:
    at = 0
    while at < len(body):
        rest = body[at:]
        if rest.startswith("**/") and body[at - 1 : at] in {"", "/"}:
            yield "(?:.*/)?"
            at += 3
        elif rest == "**" and body[at - 1 : at] == "/":
            yield ".+"
            at += 2
        elif rest[0] == "[" and (end := _class_end(rest)):
            yield _class(rest[1:end])
            at += end + 1
        elif rest[0] == "\\":
            yield re2.escape(rest[1:2]) or _NOTHING  # nothing is escaped: it matches nothing
            at += 2
        else:
            yield {"*": "[^/]*", "?": "[^/]", "[": _NOTHING}.get(rest[0], re2.escape(rest[0]))
            at += 1


def _class_end(rest: str) -> int:
    """Where the bracket that opens ``rest`` is closed; 0 if it is not."""
    at = 2 if rest[1:2] in {"!", "^"} else 1
    at += rest[at : at + 1] == "]"
    while at < len(rest) and rest[at] != "]":
        if rest[at] == "\\":
            at += 1
        elif rest.startswith("[:", at) and (closed := rest.find(":]", at)) > 0:
            at = closed + 1
        at += 1
    return at if at < len(rest) else 0


def _class(inner: str) -> str:
    """A bracket expression; a slash is matched by none."""
    negated = inner[:1] in {"!", "^"}
    at = int(negated)
    pieces: list[str] = []
    while at < len(inner):
        if inner.startswith("[:", at) and (closed := inner.find(":]", at)) > 0:
            pieces.append(inner[at : closed + 2])
            at = closed + 2
            continue
        low, at = _class_char(inner, at)
        high = low
        if inner[at : at + 1] == "-" and at + 1 < len(inner):
            high, at = _class_char(inner, at + 1)
        # The first character of a range counts by itself too: [b-a] is b.
        halves = [(low, "."), ("0", high)] if low <= "/" <= high else [(low, high)]
        if low != "/":
            halves.append((low, low))
        pieces += [f"{re2.escape(first)}-{re2.escape(last)}" for first, last in halves if first <= last]
    if negated:
        return f"[^/{''.join(pieces)}]"
    return f"[{''.join(pieces)}]" if pieces else _NOTHING


def _class_char(inner: str, at: int) -> tuple[str, int]:
    """A character of a bracket expression, and where it ends; a backslash escapes the next one."""
    at += inner[at] == "\\" and at + 1 < len(inner)
    return inner[at], at + 1
