"""The scan by words finds what the expressions find, at the places where they find it."""

from __future__ import annotations

import re
from typing import Any

import pytest
import re2
from autopack_hardening.adapters.registry import load_noise, read_patterns
from autopack_hardening.core.literals import DIGIT, LONGEST, Need, need
from autopack_hardening.core.normalise import normalise
from autopack_hardening.core.scanning import BYTES_A_LINE, END_BYTES, SHORT_BYTES, Found, Scanner
from hypothesis import example, given, settings
from hypothesis import strategies as st

BLANKS = " \t\n\f\r"


@pytest.mark.parametrize(
    ("regex", "words", "stays_in_line"),
    [
        (r"(?m)^error: no such file", ["error: no such file"], True),
        (r"(?m)^nothing that is longer than this says more", ["nothing that is longer than this"], True),
        (
            r"(?m)^error: [^\n]+ not found in (?:rack|row) \d+",
            [f" not found in rack {DIGIT}", f" not found in row {DIGIT}"],
            True,
        ),
        (r"(?m)^error: [^\n]+ in row \d+", [f" in row {DIGIT}"], True),
        (r"(?m)^(?:error: )?no (?:such )?file (?P<path>\S+)\s*$", ["no file ", "no such file "], True),
        (r"(?m)^\s*at (?P<file>[^\n:]+\.(?:py|pyi)):\d+", [f".py:{DIGIT}", f".pyi:{DIGIT}"], True),
        (r"first: \d+|second: [^\n]*x", [f"first: {DIGIT}", "second: "], True),
        (r"[Cc]annot[ \t]find", ["Cannot\tfind", "Cannot find", "cannot\tfind", "cannot find"], True),
        (r"(?i)Not Found", ["not found"], True),
        (r"key (?i:Missing) x+", ["key missing x"], True),
        (r"\bEXDEV\b[^x]*", ["EXDEV"], False),
        (r"one\ntwo", ["one\ntwo"], False),
        (r"\n\s*error: ", ["error: "], False),
        (r"error:\s*\n", ["error:"], True),
        (r"<{7} ", ["<<<<<<< "], True),
        (r"(?:abc)+x?", ["abc"], True),
        (r"(?:abc)*", [], True),
        (r"abcde|\d", [], True),
        (r"\d+ \w+", [], True),
        (r"[ab]\d{2} of", [f"a{DIGIT}{DIGIT} of", f"b{DIGIT}{DIGIT} of"], True),
        (r"x[0-9]+ (?:\d+|of)\b", [], True),
        (r" +\d+:\d+ +[✖✗] ", [" ✖ ", " ✗ "], True),
        (r"(?s)abcde.*", ["abcde"], False),
        (r"[[:alpha:]]abc[^[:space:]]", ["abc"], True),
        (r"\x{2713} done\.", ["✓ done."], True),
        (r"\pLabcde", ["abcde"], False),
        (r"[^\]x]a bc[]y]", ["a bc]", "a bcy"], False),
        (r"code 137\b|status of it", ["code 137", "status of it"], True),
        (r"(?:Error|status) 137\b", ["Error 137", "status 137"], True),
        # What is not read here is looked for as it is.
        (r"\Qa.b\E", [], False),
        (r"(?i)straße", [], False),
        (r"a(?#comment)", [], False),
        (r"[\p{Greek}]x", [], False),
    ],
)
def test_what_an_expression_needs(regex: str, words: list[str], stays_in_line: bool) -> None:
    """Words in the order of the alphabet."""
    found = need(regex)
    assert (sorted(found.words), found.stays_in_line) == (words, stays_in_line)
    assert all(len(word) <= LONGEST for word in found.words)


@st.composite
def expressions(draw: st.DrawFn, depth: int = 3) -> tuple[str, str]:
    """An expression, and a text that it matches."""
    kind = draw(
        st.sampled_from(["text", "class", "blank", "group", "choice", "times", "sequence"] if depth else ["text"])
    )
    if kind == "text":
        text = draw(st.sampled_from(["error", "Not found: ", "x", "12", ".", "\n", "é", "[a]"]))
        return re2.escape(text), text
    if kind == "class":
        return draw(
            st.sampled_from(
                [("[Ee]", "E"), ("[^a]", "\n"), (r"[^\n]", "z"), (r"\d", "7"), (r"\S", "-"), (r"[\w-]", "-")]
            )
        )
    if kind == "blank":
        return draw(st.sampled_from([(r"\s*", ""), (r"\s*", " \n"), (r"\s+", "\n "), (" ?", ""), ("[ \t]", "\t")]))
    inner, text = draw(expressions(depth - 1))
    if kind == "group":
        start = draw(st.sampled_from(["(?:", "(?P<name>" if "?P<" not in inner else "(?:", "(?i:"]))
        return f"{start}{inner})", text.upper() if start == "(?i:" and text.isascii() and inner.isascii() else text
    if kind == "choice":
        other, _ = draw(expressions(depth - 1))
        other = other.replace("?P<name>", "?:")
        return f"(?:{other}|{inner})", text
    if kind == "times":
        sign, times = draw(
            st.sampled_from([("?", 0), ("?", 1), ("*", 0), ("*", 2), ("+", 1), ("{2}", 2), ("{1,3}", 3)])
        )
        return f"(?:{inner}){sign}", text * times
    other, more = draw(expressions(depth - 1))
    return inner + other.replace("?P<name>", "?:"), text + more


@settings(max_examples=120, deadline=None)
@given(one=expressions())
def test_a_match_has_one_of_the_words(one: tuple[str, str]) -> None:
    """Whatever is matched; and it lies in one line, but for its margins, where that is said."""
    regex, text = one
    match = re2.fullmatch(regex, text)
    if match is None:  # a group without regard to case spelled its text in capitals, which a part of it does not take
        return
    found = need(regex)
    seen = text.lower() if found.is_folded else text
    words = [re.escape(word).replace(DIGIT, r"\d") for word in found.words]
    assert not words or any(re.search(word, seen) for word in words)
    assert not found.stays_in_line or "\n" not in text.strip(BLANKS)


def _spans(found: list[Any]) -> list[tuple[int, dict[str, Any]]]:
    return [(match.end(), match.groupdict()) for match in found]


def _check(regexes: list[str], text: bytes) -> int:
    """The occurrences, with those that are found without words. How many expressions occur."""
    text = b"\n" * SHORT_BYTES + text
    found = Found(Scanner(regexes), text)
    occurring = 0
    for number, regex in enumerate(regexes):
        expected = _spans(list(re2.compile(regex).finditer(text)))[-64:]
        assert _spans(found.last(number, 64)) == expected, regex
        assert found.occurs(number) == bool(expected)
        occurring += bool(expected)
    return occurring


def test_the_expressions_occur_where_they_occur_without_words() -> None:
    """Every expression of every packaged pattern, in the samples of its family."""
    patterns, _ = read_patterns(is_proven=True)
    noise = load_noise()
    texts: dict[str, list[bytes]] = {}
    regexes: dict[str, list[str]] = {}
    for pattern in patterns:
        outputs = [normalise(one.output.encode()) for one in (*pattern.examples, *pattern.near_misses)]
        texts.setdefault(pattern.family, []).extend(outputs)
        regexes.setdefault(pattern.family, []).extend(
            [*(one.regex for one in pattern.any), *pattern.all, *pattern.none]
        )
    for family in texts:
        regexes[family] += [one.regex for one in noise.recovered] + [one.regex for one in noise.passed]
        regexes[family] += noise.failed
    occurring = sum(_check(regexes[family], b"\n\n  \n".join(texts[family])) for family in texts)
    assert occurring > 500


def test_most_of_the_packaged_expressions_are_looked_for_by_words() -> None:
    """Each of the others makes the automaton of all slower."""
    patterns, _ = read_patterns(is_proven=True)
    without = [one.regex for pattern in patterns for one in pattern.any if not need(one.regex).words]
    assert len(without) <= 5, without


@settings(max_examples=60, deadline=None)
@given(
    lines=st.lists(
        st.sampled_from(["error: a", "  ERROR: b", "error: 7", "error:", "", "   ", "x error: c error: d", "é"])
    )
)
@example(lines=["error: a"] * 400)
@example(lines=["error: a", "x" * BYTES_A_LINE] * 9)
@example(lines=["error: a", *["error: "] * 400])
def test_occurrences_near_words(lines: list[str]) -> None:
    """Between lines, at their ends, many of them, several on a line."""
    regexes = [
        r"(?m)^error: (?P<what>\d+)",
        r"(?m)^error: (?P<what>\w+)", r"(?m)error: (?P<what>\w)\s*$", r"(?mi)^\s*error:(?P<rest>[^\n]*)$",
        r"(?m)error:\s*\n", r"error: a\s*\z", r"\A\n+error: ", r"(?mi)error: b|error: c", r"(?m)error:[^\n]*\n *x",
    ]  # fmt: skip
    _check(regexes, "\n".join(lines).encode())


def test_of_a_long_text_the_end_comes_first() -> None:
    """What occurs in its end is all that is said; what does not is looked for before."""
    early, late = b"error: first\n", b"error: last\n"
    filler = b"nothing to see on this line\n" * (3 * END_BYTES // 28)
    regexes = [r"(?m)^error: (?P<what>\w+)$", r"(?m)^error: (?P<what>first)$", r"(?mi)^Error: (?P<what>\w+)\n[^x]"]
    found = Found(Scanner(regexes), early + filler + late)
    assert [[match["what"] for match in found.last(number, 64)] for number in range(3)] == [
        [b"last"], [b"first"], [b"first"],
    ]  # fmt: skip


def test_more_expressions_beside_others() -> None:
    """Their numbers follow; conditions without a word are found when they are asked for."""
    base = Scanner(["error: a", r"\d\d"], conditions={1})
    both = Scanner(["error: b", r"[xy]"], base, conditions={3})
    assert base.scan(b"error: a 12 error: b y") == [0]
    found = Found(both, b"error: a 12 error: b y")
    assert found.numbers == [0, 2]
    assert [found.occurs(number) for number in range(4)] == [True] * 4
    assert not any(Found(both, b"error").occurs(number) for number in range(4))
    assert Found(Scanner([]), b"error: a").numbers == []


def test_an_expression_that_is_not_understood_needs_nothing() -> None:
    """However deep it is nested."""
    assert need("(" * 3000 + "a" + ")" * 3000) == Need()
