"""Makes the output of terminals and CI systems readable for patterns, in linear time, line for line.

Every line of the input stays one line of the result, so a line of the result is traced back to the output by
counting. All
expressions consist of bounded repetitions or of single classes that their own terminator ends; none can backtrack over
more than it consumed.
"""

from __future__ import annotations

import re

import re2

__all__ = ["Text", "normalise", "read"]

# ECMA-48: control sequences (CSI), operating system commands (OSC), and the two-character escapes.
_ANSI = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[()][0-9A-Za-z]|[@-Z\\^_])")

_STAMP = rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?"
# What CI systems and build tools put before a line, by what it begins with.
_COMMON = (
    # GitHub, GitLab (with the number of the stream), Amplify.
    rb"(?:\xef\xbb\xbf)?" + _STAMP + rb" (?:\d\d[OE][ +]?|\[(?:INFO|WARNING|ERROR)\]: )?"
    # TeamCity: the time and the step.
    rb"|\[\d\d:\d\d:\d\d\][ EFWi]?:?[ \t]{1,8}\[Step \d{1,3}/\d{1,3}\] "
    # Jenkins and others. Flutter: the time since the line before, or none.
    rb"|\[(?:" + _STAMP + rb"|\d\d:\d\d:\d\d(?:[.,]\d{1,6})?|[ ]{0,8}\+\d{1,8} ms| {8})\] "
    # docker build: the step and the seconds.
    rb"|#\d{1,4} \d{1,6}\.\d{1,3} "
    # Azure, GitHub.
    rb"|##\[(?:error|command|debug)\]|::error(?: [^:\n]{1,200})?::"
)
# At most three, one after the other, all taken at once. They are looked for after every line end, which costs little,
# and further only where a line begins like one of them.
_PREFIXES = re.compile(rb"\n(?=\d\d\d\d-|\[[\d +]|#\d|##|::|\xef)(?:" + _COMMON + rb"){1,3}")
_ANY_PREFIXES = re.compile(
    rb"\n(?:"
    # `gh run view --log`: job, step, timestamp.
    rb"[^\t\n]{1,80}\t[^\t\n]{1,80}\t" + _STAMP + rb" "
    # docker compose: the service.
    rb"|[\w.-]{1,60}[-_]\d{1,3} {1,40}\| "
    # pnpm with workspaces: the package and the script.
    rb"|(?:\.|[\w@.-]{1,60}/[\w@./-]{1,80}) "
    rb"(?:test|build|lint|start|dev|type-?check|check|prepare|(?:pre|post)?install)[\w:-]{0,40}\$? ?: "
    # turbo: the package and the task.
    rb"|[\w@./-]{1,80}:(?:test|build|lint|dev|type-?check|check)[\w-]{0,40}: "
    # yarn workspaces foreach, and lerna: the package. A level in brackets tells what the line is.
    rb"|\[(?!(?:WARN(?:ING)?|DEBUG|INFO|ERROR)\])@?[\w.-]{1,60}(?:/[\w.-]{1,60})?\]: |@[\w.-]{1,60}/[\w.-]{1,60}: "
    # Google Cloud Build: the step. Jenkins and Netlify: the time.
    rb"|Step #\d{1,4}(?: - \"[^\"\n]{1,80}\")?: |\d\d:\d\d:\d\d  |\d{1,2}:\d\d:\d\d [AP]M: "
    rb"|" + _COMMON + rb"){1,3}"
)
# The others begin like any line. What puts them there puts them before all its lines, so they are looked for in a text
# only if one of them is near its end, as RE2 tells quickly.
_END_BYTES = 16 << 10
_OTHER = re2.compile(
    r"(?m)^(?:[^\t\n]+\t[^\t\n]+\t\d\d\d\d-\d\d-\d\d|[\w.-]+[-_]\d+ +\| "
    r"|(?:\.|[\w@.-]+/[\w@./-]+) (?:test|build|lint|start|dev|type-?check|check|prepare|(?:pre|post)?install)"
    r"[\w:-]*\$? ?: |[\w@./-]+:(?:test|build|lint|dev|type-?check|check)[\w-]*: |\[@?[\w.-]+(?:/[\w.-]+)?\]: "
    r"|@[\w.-]+/[\w.-]+: |Step #\d+(?: - \"[^\"\n]+\")?: |\d\d:\d\d:\d\d  |\d{1,2}:\d\d:\d\d [AP]M: )"
)
# What `docker build` repeats of the step that failed, between two rules: seconds before each line, and no number of it.
_RULE = b"\n------\n"
_REPEATED = re.compile(_RULE + rb" > \[[^\n]*\n(?:\d{1,6}\.\d{1,3}(?: [^\n]*)?\n)+")
_SECONDS = re.compile(rb"\n\d{1,6}\.\d{1,3} ?")
# An excerpt of that, without the rules.
_TIMED = re.compile(rb"(?:\d{1,6}\.\d{1,3}(?: [^\n]*)?(?:\n|\Z)){2,}\Z")
_MIN_INDENT = 4
_INDENTED = re.compile(rb"\s{0,80}(?:    |\t)\S")
_QUOTED = re.compile(rb"\s{0,80}>")
_NOT_QUOTED = re.compile(rb"\n[ \t]*[^\s>]")
_NOT_INDENTED = re.compile(rb"\n {0,3}\S")


class Text:
    """A normalised output: what patterns are matched against, and where its lines stood.

    Attributes:
        bytes: valid UTF-8.
        head_lines: how many of its lines come from the head; the others are the tail's.
        first_line: number of the tail's first line in the whole output, from 1.
    """

    def __init__(self, content: bytes, head_lines: int = 0, first_line: int = 1) -> None:
        self.bytes = content
        self.head_lines = head_lines
        self.first_line = first_line
        # A place, and the line ends before it: what is asked for next is near, as a rule.
        self._counted = (0, 0)

    def line_number(self, position: int) -> int:
        """The number, in the output as it was sent, of the line around the byte at ``position``; from 1."""
        known, index = self._counted
        if known <= position:
            index += self.bytes.count(b"\n", known, position)
        else:
            index -= self.bytes.count(b"\n", position, known)
        self._counted = (position, index)
        return index + 1 if index < self.head_lines else index - self.head_lines + self.first_line

    def line_at(self, position: int) -> bytes:
        """The line around the byte at ``position``, without its end."""
        start = self.bytes.rfind(b"\n", 0, position) + 1
        end = self.bytes.find(b"\n", position)
        return self.bytes[start : len(self.bytes) if end < 0 else end]


def read(tail: bytes, head: bytes = b"", first_line: int = 0) -> Text:
    """The output of a command, of which the middle may be missing.

    Args:
        tail: the end of it, or all.
        head: the beginning, if the middle was dropped.
        first_line: number of the tail's first line in the whole, from 1; 0 = it follows the head.
    """
    clean_head = normalise(head)
    if clean_head and not clean_head.endswith(b"\n"):
        clean_head += b"\n"
    lines = clean_head.count(b"\n")
    return Text(clean_head + normalise(tail), lines, first_line or lines + 1)


def normalise(output: bytes) -> bytes:
    """``output`` as valid UTF-8 without colours, progress, prefixes and NUL; undecodable bytes become U+FFFD.

    >>> normalise(b"\\x1b[31mError\\x1b[0m: x\\n10%\\r100%\\r\\ndone")
    b'Error: x\\n100%\\ndone'
    >>> normalise(b"build\\tTest\\t2024-05-01T10:00:00.0000000Z #12 3.141 no space")
    b'no space'
    """
    text = output
    if b"\0" in text:
        # Binary noise, or UTF-16, of which this leaves the ASCII and every line end.
        text = text.removeprefix(b"\xff\xfe").removeprefix(b"\xfe\xff").replace(b"\0", b"")
    if b"\x1b" in text:
        text = _ANSI.sub(b"", text)
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n")
    if b"\r" in text:
        text = b"\n".join([_last_drawn(line) if b"\r" in line else line for line in text.split(b"\n")])
    prefixes = _PREFIXES if _OTHER.search(text, max(0, len(text) - _END_BYTES)) is None else _ANY_PREFIXES
    text = prefixes.sub(b"\n", b"\n" + text)
    if text.find(_RULE, max(0, len(text) - _END_BYTES)) >= 0:
        text = _REPEATED.sub(lambda match: _SECONDS.sub(b"\n", match[0]), text)
    elif _TIMED.match(text, 1) is not None:
        text = _SECONDS.sub(b"\n", text)
    return _decodable(_dedented(_unquoted(text[1:])))


def _unquoted(text: bytes) -> bytes:
    """Without the signs of a quotation, if all its lines have one."""
    if _QUOTED.match(text) is None or _NOT_QUOTED.search(text) is not None:
        return text
    return b"\n".join([line.lstrip().removeprefix(b">").removeprefix(b" ") for line in text.split(b"\n")])


def _dedented(text: bytes) -> bytes:
    """Without what stands before every line: an output that was pasted or wrapped as a block of code.

    Four blanks or a tab at least: some tools begin all their lines with two.
    """
    if _INDENTED.match(text) is None or _NOT_INDENTED.search(text) is not None:
        return text
    lines = text.split(b"\n")
    told = [line for line in lines if line.strip()]
    if all(line.startswith(b"\t") for line in told):
        return b"\n".join([line[1:] for line in lines])
    width = min(len(line) - len(line.lstrip(b" ")) for line in told)
    return text if width < _MIN_INDENT else b"\n".join([line[width:] for line in lines])


def _decodable(text: bytes) -> bytes:
    """With U+FFFD for what cannot be decoded."""
    try:
        text.isascii() or text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("utf-8", "replace").encode("utf-8")
    return text


def _last_drawn(line: bytes) -> bytes:
    """What a terminal shows of a line that redraws itself: the part after the last carriage return."""
    return line.rstrip(b"\r").rpartition(b"\r")[2]
