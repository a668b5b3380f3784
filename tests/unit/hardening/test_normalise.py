"""Normalisation: what a person would see, line for line, in linear time."""

from __future__ import annotations

import pytest
from autopack_hardening.core.normalise import normalise, read
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("raw", "seen"),
    [
        (b"\x1b[31mError\x1b[0m: x", b"Error: x"),
        (b"\x1b]0;title\x07Error", b"Error"),
        (b"\x1b]8;;file\x1b\\Error", b"Error"),
        (b"a\r\nb\r\n", b"a\nb\n"),
        (b" 10%\r 50%\rdone\nnext", b"done\nnext"),
        (b"2026-01-02T03:04:05.1234567Z Error: x", b"Error: x"),
        (b"2026-01-02T03:04:05.123456Z 00O Error: x", b"Error: x"),
        (b"#12 0.345 Error: x", b"Error: x"),
        (b"web-1  | Error: x", b"Error: x"),
        (b"##[error]Error: x", b"Error: x"),
        (b"build\tRun tests\t2026-01-02T03:04:05.1234567Z Error: x", b"Error: x"),
        (b"[2026-01-02T03:04:05.123Z] #12 0.345 Error: x", b"Error: x"),
        (b"web_1 | Error: x", b"Error: x"),
        (b"packages/a test: Error: x", b"Error: x"),
        (b"src/a.py: Error: x", b"src/a.py: Error: x"),
        (b"10%\rpackages/a test: Error: x\r\n\n#12 0.345 y", b"Error: x\n\ny"),
        (b"\n    a\n      b\n\n    c\n", b"\na\n  b\n\nc\n"),
        (b"\ta\n\t\tb", b"a\n\tb"),
        (b"    a\nb", b"    a\nb"),
        (b"  1 passing\n  1 failing", b"  1 passing\n  1 failing"),
        (b"> a\n>   b\n>\n> c", b"a\n  b\n\nc"),
        (b"> app@1.0.0 test\n> jest\n\nFAIL a.js", b"> app@1.0.0 test\n> jest\n\nFAIL a.js"),
        (
            b"x\n------\n > [2/3] RUN npm ci:\n0.645 npm error x\n0.650 \n------\n0.7 s",
            b"x\n------\n > [2/3] RUN npm ci:\nnpm error x\n\n------\n0.7 s",
        ),
        (b"@acme/web:build: sh: 1: next: not found\nweb:lint: a.ts", b"sh: 1: next: not found\na.ts"),
        (b"[@acme/ui]: Error: x\n[ui]: at y", b"Error: x\nat y"),
        (b"@acme/ui: Error: x", b"Error: x"),
        (b'Step #2 - "unit tests": Error: x\nStep #3: y', b"Error: x\ny"),
        (b"17:16:08  npm ERR! code E404\n17:16:08  ", b"npm ERR! code E404\n"),
        (b"9:41:07 PM: Error: x", b"Error: x"),
        (b"[19:20:43] :\t [Step 2/4] > ci\n[19:20:44]W:\t [Step 2/4] Error: x", b"> ci\nError: x"),
        (b"[        ] Error: x\n[  +25 ms]   at y", b"Error: x\n  at y"),
        (b"0.412 > vite build\n0.412 \n12.4 sh: vite: not found\n", b"> vite build\n\nsh: vite: not found\n"),
        (b"0.412 > vite build\nfailed", b"0.412 > vite build\nfailed"),
        (b"2024-05-01T10:00:00.123Z [WARNING]: npm ERR! code E404", b"npm ERR! code E404"),
        # No prefixes: the time of a log with milliseconds, a place in a file, a message of a program.
        (b"17:16:08.100 [main] ERROR x", b"17:16:08.100 [main] ERROR x"),
        (b"src/a.go:12:3: undefined: x", b"src/a.go:12:3: undefined: x"),
        (b"[ERROR] a: b", b"[ERROR] a: b"),
        (b"[WARNING]: a: b\n[web]: c", b"[WARNING]: a: b\nc"),
        (b"E\0r\0r\0o\0r\0", b"Error"),
        ("Error: x\nnext".encode("utf-16"), b"Error: x\nnext"),
        (b"caf\xe9", "caf\N{REPLACEMENT CHARACTER}".encode()),
        ("✘ [ERROR]".encode(), "✘ [ERROR]".encode()),
    ],
)
def test_what_surrounds_the_text_is_removed(raw: bytes, seen: bytes) -> None:
    assert normalise(raw) == seen


@given(st.binary(max_size=2000))
def test_every_line_stays_one_line_of_valid_utf8(raw: bytes) -> None:
    text = normalise(raw)
    assert text.decode().count("\n") == raw.count(b"\n")


def test_lines_are_numbered_as_in_the_whole_output() -> None:
    text = read(b"c\nd\n", head=b"a\nb", first_line=100)
    assert [text.line_number(text.bytes.index(char)) for char in (b"a", b"b", b"c", b"d")] == [1, 2, 100, 101]
    assert text.line_at(text.bytes.index(b"c")) == b"c"
