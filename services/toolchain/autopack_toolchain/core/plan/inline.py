"""One block's inline Markdown as plain text: emphasis, links, comments and struck-out words go, code spans stay.

A parser of inline Markdown needs seconds for hostile text of a quarter megabyte, and the plan needs less than it gives;
each step here is one pass over the text.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable

from .signs import DASHES

__all__ = ["code_spans", "outside_code", "plain"]

# Each pattern stops at the character that opens it, so that the tries of one pass never overlap: linear.
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_IMAGE = re.compile(r"!\[([^\[\]]*)\]\(([^()\s]*)(?:\s+\"[^\"()]*\")?\)")
_LINK = re.compile(r"\[([^\[\]]*)\]\(([^()\s]*)(?:\s+\"[^\"()]*\")?\)")
_REFERENCE = re.compile(r"\[([^\[\]]+)\]\[[^\[\]]*\]")
_STRUCK = re.compile(r"~~[^~]+~~|<(?:del|s)>[^<]*</(?:del|s)>", re.IGNORECASE)
_CODE_TAG = re.compile(r"<(?:code|kbd|tt)>([^<>`]*)</(?:code|kbd|tt)>", re.IGNORECASE)
_TAG = re.compile(
    r"</?(?:a|b|i|u|em|strong|br|hr|p|div|span|details|summary|img|sub|sup|small|big|h[1-6]|ul|ol|li|table|thead|tbody|tr|td|th|blockquote"
    r"|center|font|pre|code|kbd|input|section|article|main|header|footer|nav|dl|dt|dd|mark|ins|del|s)\b[^<>]*>",
    re.IGNORECASE,
)
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_OPENS_STRONG = re.compile(rf"(?:(?<=[\s(\"'\[|:{DASHES}])|^)\*{{1,3}}(?=[^\s*./])", re.MULTILINE)
_CLOSES_STRONG = re.compile(rf"(?<=[^\s*/\\])\*{{1,3}}(?=$|[\s.,:;!?)\"'\]|{DASHES}])", re.MULTILINE)
_EMPHASIS = re.compile(r"(?<![\w/])_{1,2}([^\W_][^_\n]*[^\W_]|[^\W_])_{1,2}(?![\w./])")
_ESCAPE = re.compile(r"\\([\\`*_{}\[\]()#+\-.!|<>~])")
_BLANKS = re.compile(r"[ \t\u00a0\u200b]+")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|//|#")


def plain(text: str) -> str:
    """The text as a reader sees it; line breaks and backticks stay, so that lines can be counted and code told apart.

    >>> plain("**Add** a [retry](src/http.py) to `a*b*`, ~~twice~~ <!-- or not -->")
    'Add a retry (src/http.py) to `a*b*`,'
    """
    if "<!--" in text:
        # The line breaks of a comment stay, so that the lines behind it keep their numbers.
        text = _COMMENT.sub(lambda match: "\n" * match.group().count("\n"), text)
    text = _CODE_TAG.sub(r"`\1`", text)
    text = outside_code(text, _clean)
    return "\n".join(_BLANKS.sub(" ", line).strip() for line in text.split("\n"))


def outside_code(text: str, change: Callable[[str], str]) -> str:
    """``text`` with ``change`` applied to what stands between code spans."""
    parts: list[str] = []
    at = 0
    for start, end in code_spans(text):
        parts += [change(text[at:start]), text[start:end]]
        at = end
    return "".join([*parts, change(text[at:])])


def code_spans(text: str) -> list[tuple[int, int]]:
    """Where code spans begin and end, backticks included: a run of backticks and the next run of the same length."""
    runs = [(match.start(), match.end()) for match in re.finditer(r"`+", text)]
    later: dict[int, list[int]] = {}
    for index in range(len(runs) - 1, -1, -1):
        later.setdefault(runs[index][1] - runs[index][0], []).append(index)
    found: list[tuple[int, int]] = []
    index = 0
    while index < len(runs):
        start, end = runs[index]
        same = later[end - start]
        while same and same[-1] <= index:
            same.pop()
        if same:
            index = same[-1]
            found.append((start, runs[index][1]))
        index += 1
    return found


def _clean(text: str) -> str:
    text = _STRUCK.sub("", text)
    text = _IMAGE.sub("", text)
    text = _LINK.sub(_link, text)
    text = _REFERENCE.sub(r"\1", text)
    text = _TAG.sub("", _BREAK.sub(" ", text))
    if "*" in text:
        text = _CLOSES_STRONG.sub("", _OPENS_STRONG.sub("", text))
    if "_" in text:
        text = _EMPHASIS.sub(_emphasis, text)
    if "\\" in text:
        text = _ESCAPE.sub(r"\1", text)
    return html.unescape(text) if "&" in text else text


def _link(match: re.Match[str]) -> str:
    label, target = match.groups()
    relative = target and not _SCHEME.match(target) and target.strip("./") != label.strip("./")
    return f"{label} ({target})" if relative else label


def _emphasis(match: re.Match[str]) -> str:
    # __init__ and _private are names; _not_ and _do not_ are emphasis.
    inner = match.group(1)
    words = inner.replace(" ", "").replace("'", "")
    return inner if words.isalpha() and (" " in inner or not match.group().startswith("__")) else match.group()
