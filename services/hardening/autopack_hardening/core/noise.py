"""What reads like a failure and is none: lines, troubles that were overcome, and text that a command only shows."""

from __future__ import annotations

import fnmatch
import functools
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import re2

__all__ = [
    "NOTHING",
    "NO_RUN",
    "Filter",
    "Noise",
    "Overcome",
    "Recovery",
    "Shown",
    "Verdict",
    "one_command",
    "simple_commands",
]

# How much of the last line is read; a longer one is no sentence.
_LAST_LINE_BYTES = 400
_END_BYTES = 4 << 10
# What stands between commands; whatever else a shell reads is not understood here.
_BETWEEN_COMMANDS = frozenset(["&&", "||", ";", "|", "&", "|&"])
_NOT_READ = re.compile(r"[();|&<>]*[()][();|&<>]*$|.*(?:\$\(|`|\n)|-(?:exec|execdir|delete|ok)$|#$", re.S)

# What runs others, one after the other, whatever becomes of each: shells, runners of tasks; and scripts that may.
_SHELL = r"(?:ba|da|z)?sh |\S+\.sh\b|make\b|nox|tox|just\b|task\b|(?:npm|pnpm|yarn|bun) "
_RUNS_A_SHELL = re.compile(_SHELL)
_RUNS_OTHERS = re.compile(_SHELL + r"|(?:\S*python[\d.]*|node) \S+\.(?:py|[cm]?js)\b")


@dataclass(frozen=True, slots=True)
class Recovery:
    """A sign that a trouble was overcome.

    Attributes:
        regex: RE2; what stands before its last occurrence was overcome.
        of: globs of the ids of patterns that it is about. Empty for all.
    """

    regex: str
    of: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a tool says that all went well.

    Attributes:
        regex: RE2; the verdict, with which the output ends.
        begins: RE2; where the run of the tool begins. Empty if the tool prints nothing there.
    """

    regex: str
    begins: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """Commands that show text which is not theirs.

    Attributes:
        command: RE2; one command without a shell's operators.
        voice: RE2; the lines that they say themselves.
    """

    command: str
    voice: str


@dataclass(frozen=True, slots=True)
class Noise:
    """What is no failure although it reads like one.

    Attributes:
        lines: RE2; a hit on a line that one of these matches does not count: warnings, retries, names of tests.
        recovered: signs that what stands before them was overcome, and does not count.
        passed: verdicts of tools with which an output ends.
        failed: RE2; where one of these stands, something else failed, and neither ``passed`` nor ``well`` counts.
        survived: globs of the ids of patterns for what programs tell and live through. They do not count before a last
            line that is ``well``, nor before a verdict of which nobody knows where its run begins.
        well: RE2; a last line on which a program tells that all went well.
        all_well: RE2; such a line where several programs were run. Their runner's last word comes whatever became of
            them, so it must say more than that the end is reached.
        ill: RE2; a last line on which neither counts.
        shown: commands whose output is somebody else's text.
    """

    lines: tuple[str, ...] = ()
    recovered: tuple[Recovery, ...] = ()
    passed: tuple[Verdict, ...] = ()
    failed: tuple[str, ...] = ()
    survived: tuple[str, ...] = ()
    well: tuple[str, ...] = ()
    all_well: tuple[str, ...] = ()
    ill: tuple[str, ...] = ()
    shown: tuple[Shown, ...] = ()


NO_RUN = (0, 0)
"""No run passed."""
NOTHING = Noise()
"""Everything counts."""


@dataclass(frozen=True, slots=True)
class Overcome:
    """The parts of a text in which nothing counts, as positions in it.

    Attributes:
        before: nothing before it.
        run: nothing between these.
        survived: before it, nothing that programs live through.
        of: before each of these, none of these patterns.
    """

    before: int = 0
    run: tuple[int, int] = NO_RUN
    survived: int = 0
    of: tuple[tuple[int, re.Pattern[str]], ...] = ()

    def before_of(self, pattern_id: str, *, survivable: bool) -> int:
        """The position before which no hit of a pattern counts."""
        before = max(self.before, self.survived) if survivable else self.before
        if not self.of:
            return before
        return max([before, *(end for end, ids in self.of if ids.match(pattern_id))])

    def is_within(self, position: int) -> bool:
        """Whether ``position`` is within the run that passed."""
        return self.run[0] <= position < self.run[1]


class Filter:
    """A ``Noise``, compiled. Immutable and safe to share between threads."""

    def __init__(self, noise: Noise) -> None:
        self._lines = _any(noise.lines)
        self._well, self._all_well, self._ill = _any(noise.well), _any(noise.all_well), _any(noise.ill)
        self._begins = [_any([one.begins]) for one in noise.passed]
        self._shown = [(re2.compile(one.command), one.voice) for one in noise.shown]
        self._survived = _ids(noise.survived)
        self._recovered = [_ids(one.of) if one.of else None for one in noise.recovered]

    def is_noise(self, line: bytes) -> bool:
        """Whether nothing counts that stands on this line."""
        return self._lines is not None and self._lines.search(line) is not None

    def is_survivable(self, pattern_id: str) -> bool:
        """Whether programs live through what a pattern is for."""
        return self._survived.match(pattern_id) is not None

    def overcome(self, recovered: Sequence[tuple[int, int]], well: int) -> Overcome:
        """What was overcome.

        Args:
            recovered: numbers of the signs in ``Noise.recovered``, and where they end.
            well: before it, nothing counts that programs live through.
        """
        of = tuple((end, ids) for number, end in recovered if (ids := self._recovered[number]) is not None)
        before = max((end for number, end in recovered if self._recovered[number] is None), default=0)
        return Overcome(before, survived=well, of=of)

    def run_start(self, verdict: int, text: bytes, end: int, commands: Sequence[str] | None) -> int | None:
        """Where the run begins whose verdict stands before ``end``; None if nobody knows.

        Args:
            verdict: number of the verdict in ``Noise.passed``.
            text: the output.
            end: position of the verdict.
            commands: of which the text is the output, as far as they are understood; None if they are not known.
        """
        if commands and _is_one_tool(commands):
            return 0
        begins = self._begins[verdict]
        first = begins.search(text, 0, end) if begins is not None else None
        if first is not None:
            return int(first.start())
        return None if commands is not None else 0

    @staticmethod
    def last_line(text: bytes) -> bytes:
        """The last line that is not empty, as far as it is near the end."""
        return text[-_END_BYTES:].rstrip().rpartition(b"\n")[2]

    def last_line_is_well(self, text: bytes, commands: Sequence[str] | None, exit_code: int | None) -> int:
        """The position of the last line, if it tells that all went well; else 0.

        Args:
            text: the output.
            commands: of which it is the output, as far as they are understood; None if they are not known.
            exit_code: None if it is not known. One that somebody chose (not 1) tells that something did fail.
        """
        well = self._well if commands and not any(map(_RUNS_A_SHELL.match, commands)) else self._all_well
        if well is None or exit_code not in (None, 1):
            return 0
        line = self.last_line(text)
        start = text.rfind(line)
        if len(line) > _LAST_LINE_BYTES or well.search(line) is None:
            return 0
        return 0 if self._ill is not None and self._ill.search(line) is not None else start

    def voice(self, commands: tuple[str, ...] | None) -> Any | None:
        """The lines that count of a command that only shows text; None for every other command."""
        return _voice(self, commands) if self._shown and commands else None

    def voice_of(self, commands: Sequence[str]) -> Any | None:
        """``voice``, without a memory."""
        voices = set()
        for one in commands:
            voice = next((voice for command, voice in self._shown if command.search(one)), None)
            if voice is None:
                return None
            voices.add(voice)
        return _any(sorted(voices))


@functools.lru_cache(maxsize=256)
def _voice(one: Filter, commands: tuple[str, ...]) -> Any | None:
    return one.voice_of(commands)


def one_command(words: Sequence[str]) -> tuple[str, ...]:
    """The words of one command joined by blanks; none if it runs others, or was meant for a shell that would."""
    return () if any(map(_NOT_READ.match, words)) else (" ".join(words),)


def simple_commands(script: str) -> tuple[str, ...]:
    """The commands of a script, their words joined by blanks; none if it is more than commands in a row.

    >>> simple_commands("cat a.log | grep 'x|y'; true")
    ('cat a.log', 'grep x|y', 'true')
    >>> simple_commands("echo $(date)")
    ()
    """
    lexer = shlex.shlex(script, posix=True, punctuation_chars="();|&<>")
    # It would take the # within a word for the beginning of a comment, which a shell does not.
    lexer.commenters = ""
    try:
        words = list(lexer)
    except ValueError:
        return ()
    if "\n" in script.strip() or any(map(_NOT_READ.match, words)):
        return ()
    commands: list[list[str]] = [[]]
    for word in words:
        if word in _BETWEEN_COMMANDS:
            commands.append([])
        else:
            commands[-1].append(word)
    return tuple(" ".join(one) for one in commands if one)


def _is_one_tool(commands: Sequence[str]) -> bool:
    """Whether all the output is that of one program, as far as its command tells."""
    return len(commands) == 1 and _RUNS_OTHERS.match(commands[0]) is None


def _ids(globs: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(fnmatch.translate(one) for one in globs) or r"\Z.")


def _any(regexes: Iterable[str]) -> Any | None:
    given = [one for one in regexes if one]
    return re2.compile("|".join(f"(?:{one})" for one in given)) if given else None
