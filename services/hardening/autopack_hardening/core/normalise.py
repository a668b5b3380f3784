"""Makes the output of terminals and CI systems readable for patterns, in linear time, line for line.

Every line of the input stays one line of the result, so a line number is the same in both. All expressions consist of
bounded repetitions or of single classes that their own terminator ends; none can backtrack over more than it consumed.
"""

from __future__ import annotations

import re

__all__ = ["normalise"]

# ECMA-48: control sequences (CSI), operating system commands (OSC), and the two-character escapes.
_ANSI = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[@-Z\\^_])")

# What CI systems and build tools put before a line: timestamps, docker build steps, docker compose services, markers.
_PREFIX = re.compile(
    rb"^(?:"
    rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:\d\d)? (?:\d\d[OE] ?)?"
    rb"|#\d{1,4} \d{1,6}\.\d{1,3} "
    rb"|[\w.]{1,40}-\d{1,3} {1,40}\| "
    rb"|\[\d\d:\d\d:\d\d\] "
    rb"|##\[error\]"
    rb")",
    re.MULTILINE,
)


def normalise(output: bytes) -> bytes:
    """``output`` as valid UTF-8 without colours, progress and prefixes; undecodable bytes become U+FFFD.

    >>> normalise(b"\\x1b[31mError\\x1b[0m: x\\n10%\\r100%\\r\\ndone")
    b'Error: x\\n100%\\ndone'
    """
    text = output
    if b"\x1b" in text:
        text = _ANSI.sub(b"", text)
    if b"\r" in text:
        text = b"\n".join(_last_drawn(line) if b"\r" in line else line for line in text.split(b"\n"))
    text = _PREFIX.sub(b"", text)
    return text.decode("utf-8", "replace").encode("utf-8")


def _last_drawn(line: bytes) -> bytes:
    """What a terminal shows of a line that redraws itself: the part after the last carriage return."""
    return line.rstrip(b"\r").rpartition(b"\r")[2]
