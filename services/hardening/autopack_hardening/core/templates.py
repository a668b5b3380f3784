"""Failures that nothing explains, brought together by the line that tells most.

After Drain (He, Zhu, Zheng, Lyu: "Drain: An Online Log Parsing Approach with Fixed Depth Tree", ICWS 2017): lines of as
many words that begin alike are compared word by word; what differs becomes a placeholder. A template is a row of a
table, not the state of a process, so that replicas share them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from autopack_kit.commands import Command
from autopack_kit.redaction import MASK, redact

from autopack_hardening.core.matching import command_line
from autopack_hardening.core.model import Ending, Failure
from autopack_hardening.core.normalise import normalise
from autopack_hardening.core.patterns import parse_line

__all__ = [
    "MAX_EXAMPLES",
    "MAX_PROGRAMS",
    "READ_BYTES",
    "VARIABLE",
    "Cluster",
    "Example",
    "Unexplained",
    "best_of",
    "bucket_of",
    "cluster_id",
    "failure_of",
    "merged",
    "unexplained",
    "words_of",
]

VARIABLE = "<*>"
"""Stands for a word that differs."""
READ_BYTES = 64 << 10
"""Bytes of the end of an output that are looked at."""
MAX_EXAMPLE_BYTES = 4 << 10
MAX_EXAMPLE_LINES = 40
MAX_LINE = 400
MAX_WORDS = 40
MAX_EXAMPLES = 3
MAX_PROGRAMS = 10
MAX_FIRST = 48
SIMILARITY = 0.6
"""Share of the words that must be the same; Drain's authors use 0.3 to 0.7, the higher for lines with few variables."""
MAX_COMMAND_WORDS = 4
MAX_COMMAND = 200
TIMEOUT_CODE = 124
"""What ``timeout`` exits with."""
SIGNAL_CODE = 128
"""What a shell adds to the number of a signal."""

_TELLING = re.compile(
    r"error|fatal|fail|exception|panic|abort|cannot|can't|could ?n[o']t|unable|denied|not found|no such|missing|invalid"
    r"|undefined|unknown|unexpected|unsupported|refused|rejected|expired|exceeded|conflict|mismatch|not allowed|must "
    r"|\bE\d{3,}\b",
    re.IGNORECASE,
)
# A key or a certificate of which the first lines were cut off.
_BLOB = re.compile(r"[A-Za-z0-9+/]{60,}={0,2}")
# Numbers, hashes, times, versions and paths differ from run to run.
_VARIES = re.compile(r"\d|.[/\\].|^/.|^~")
_LETTER = re.compile(r"[^\W\d_]")


@dataclass(frozen=True, slots=True)
class Example:
    """One output that nothing explains.

    Attributes:
        command: the program and its first words; empty if it is not known.
        exit_code: as a shell gives it.
        output: its last lines, normalised, without secrets.
    """

    command: str
    exit_code: int
    output: str


@dataclass(frozen=True, slots=True)
class Unexplained:
    """A failure as it is counted.

    Attributes:
        words: of the line that tells most.
        program: that failed; empty if it is not known.
        example: the failure itself.
    """

    words: tuple[str, ...]
    program: str
    example: Example


@dataclass(frozen=True, slots=True)
class Cluster:
    """Failures that read alike.

    Attributes:
        id: of the words of the first one.
        words: what they have in common.
        count: how many there were.
        first_at: microseconds since 1970.
        last_at: microseconds since 1970.
        programs: that failed so, at most 10.
        examples: the first ones that differ, at most 3.
    """

    id: str
    words: tuple[str, ...]
    count: int
    first_at: int
    last_at: int
    programs: tuple[str, ...]
    examples: tuple[Example, ...]


def failure_of(example: Example) -> Failure:
    """An example as the input of a diagnosis."""
    return Failure(parse_line(example.command), Ending(example.exit_code), example.output.encode())


def unexplained(
    command: Command | None, ending: Ending, output: bytes, is_noise: Callable[[bytes], bool] = lambda _: False
) -> Unexplained | None:
    """A failure as it is counted; None if it printed nothing.

    Args:
        command: that failed.
        ending: how.
        output: its end; the last 64 KiB are looked at.
        is_noise: of a line that reads like a failure and is none.
    """
    text = _readable(output[-READ_BYTES:])
    line = _telling_line(text, is_noise)
    if not line:
        return None
    program, shown = _shown(command)
    return Unexplained(words_of(line), program, Example(shown, _exit_code(ending), text))


def words_of(line: str) -> tuple[str, ...]:
    """The words of a line, with a placeholder for those that differ from run to run.

    >>> words_of("cannot open /tmp/x after 30 s")
    ('cannot', 'open', '<*>', 'after', '<*>', 's')
    """
    return tuple(VARIABLE if _VARIES.search(word) else word for word in line[:MAX_LINE].split()[:MAX_WORDS])


def bucket_of(words: Sequence[str]) -> str:
    """What two lines must have in common to be compared at all: the number of words, and the first that stays."""
    first = next((word for word in words if word != VARIABLE), "")
    return f"{len(words)} {first[:MAX_FIRST]}"


def cluster_id(words: Sequence[str]) -> str:
    """Of the cluster that these words begin."""
    return hashlib.sha256(" ".join(words).encode()).hexdigest()[:16]


def best_of(templates: Sequence[Sequence[str]], words: Sequence[str]) -> int | None:
    """The index of the template that is most like ``words``, all of as many words; None if none is like them."""
    if not templates:
        return None
    scores = [sum(map(str.__eq__, template, words)) / len(words) for template in templates]
    best = max(range(len(scores)), key=scores.__getitem__)
    return best if scores[best] >= SIMILARITY else None


def merged(template: Sequence[str], words: Sequence[str]) -> tuple[str, ...]:
    """What both have in common."""
    return tuple(one if one == other else VARIABLE for one, other in zip(template, words, strict=True))


def _readable(output: bytes) -> str:
    """Its last lines, normalised. Secrets go first: what is cut in half has their form no more."""
    text = redact(normalise(output).decode("utf-8", "replace"))
    text = _BLOB.sub(MASK, text)
    lines = [line.rstrip() for line in text.split("\n")]
    kept: list[str] = []
    size = 0
    for line in reversed(lines):
        line = line[:MAX_LINE]
        size += len(line.encode()) + 1
        if (kept and size > MAX_EXAMPLE_BYTES) or len(kept) >= MAX_EXAMPLE_LINES:
            break
        if line or kept:  # no empty lines at the end
            kept.append(line)
    return "".join(f"{line}\n" for line in reversed(kept)).lstrip("\n")


def _telling_line(text: str, is_noise: Callable[[bytes], bool]) -> str:
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    worth = [line for line in lines if _LETTER.search(line) and not is_noise(line.encode())]
    for line in reversed(worth):
        if _TELLING.search(line):
            return line
    return (worth or lines or [""])[-1]


def _shown(command: Command | None) -> tuple[str, str]:
    """The program, and what may be shown of the command: its words up to the first option, which may be a secret."""
    words = command_line(command).split()
    shown: list[str] = []
    for word in words[:MAX_COMMAND_WORDS]:
        if word.startswith("-"):
            break
        shown.append(word)
    text = redact(" ".join(shown)).replace("\0", "")[:MAX_COMMAND]
    return text.partition(" ")[0], text


def _exit_code(ending: Ending) -> int:
    if ending.timed_out:
        return TIMEOUT_CODE
    return SIGNAL_CODE + ending.signal if ending.signal is not None else ending.exit_code or 1
