"""What stands for an expression in the scan over all finds whatever the expression finds."""

from __future__ import annotations

import pytest
import re2
from autopack_hardening.adapters.registry import read_patterns
from autopack_hardening.core.normalise import normalise
from autopack_hardening.core.prefilter import prefilter


@pytest.mark.parametrize(
    ("regex", "expected"),
    [
        (r"(?m)^error: no such file", r"(?m)^error: no such file"),
        (r"(?m)^[^\n]{0,80}error: no such \S+", r"(?m)error: no such "),
        (r"(?mi)^(?P<tool>[\w.-]+): not found here", r"(?mi): not found here"),
        (r"first branch: \d+|second branch: [^\n]*x", r"first branch: |second branch: "),
        (r"a{40}b{0,3}c{1}d{0,1}e{2,}", r"a+b*c{1}d{0,1}e+"),
        (r"[{}*+]{3}x\{2,9\}", r"[{}*+]+x\{2,9\}"),
        (r"\x{2713} \pL{2}", r"\x{2713} \pL+"),
        (r"(?:a{2,9}|[^]x]{3})(?:b)?", r"(?:a+|[^]x]+)(?:b)?"),
        (r"missing?: a", r"missing?: a"),
        (r"x(?i)y{2}", r"x(?i)y{2}"),
    ],
)
def test_what_stands_for_an_expression(regex: str, expected: str) -> None:
    """The first telling stretch, else the whole with open repetitions."""
    assert prefilter(regex) == expected


def test_finds_what_the_expressions_find_in_the_samples() -> None:
    """For every expression of every packaged pattern, in every sample of its family in which it occurs."""
    patterns, _ = read_patterns()
    samples: dict[str, list[bytes]] = {}
    for pattern in patterns:
        outputs = [normalise(one.output.encode()) for one in (*pattern.examples, *pattern.near_misses)]
        samples.setdefault(pattern.family, []).extend(outputs)
    occurrences, lost = 0, []
    for pattern in patterns:
        text = b"\n".join(samples[pattern.family])
        for regex in (*(one.regex for one in pattern.any), *pattern.all, *pattern.none):
            match = re2.search(regex.encode(), text)
            if match is None:
                continue
            occurrences += 1
            if re2.search(prefilter(regex).encode(), text) is None:
                lost.append(f"{pattern.id}: {regex}")
    assert occurrences > 300
    assert not lost
