"""A pattern file for a cluster of failures, as far as a program can write it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from autopack_hardening.core.templates import VARIABLE, Cluster, Example

__all__ = ["skeleton"]

MAX_TITLE = 80
MAX_ID_WORDS = 4
MIN_LETTERS = 6
"""Letters that an expression must have to tell anything."""

_WORD = re.compile(r"[a-z][a-z0-9]{2,19}")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def skeleton(cluster: Cluster) -> str:
    """A pattern file that recognises ``cluster``. What only a person knows is marked with ``TO DO``."""
    expression = _expression(cluster.words)
    lines = [
        'family = "custom"',
        "",
        "[[pattern]]",
        f"id = {_text(_id(cluster))}",
        f"title = {_text(' '.join(cluster.words)[:MAX_TITLE])}  # TO DO: what went wrong, in a few words",
        "tier = 2",
        *_commands(cluster.programs),
        f"any = [{_literal(expression)}]" if expression else 'any = ["TO DO: an expression"]',
        'suggestions = ["TO DO: what to do about it."]',
    ]
    for example in cluster.examples:
        lines += ["", "[[pattern.examples]]", *_sample(example)]
    if len(cluster.examples) < 2:
        lines += ["", "# TO DO: a second example, [[pattern.examples]], best of another version of the tool"]
    lines += ["", "[[pattern.near_misses]]", 'output = "TO DO: what looks alike and is another failure, or none\\n"']
    return "\n".join(lines) + "\n"


def _id(cluster: Cluster) -> str:
    words = _WORD.findall(" ".join([*cluster.programs[:1], *cluster.words]).lower())
    chosen = list(dict.fromkeys(words))[:MAX_ID_WORDS]
    return "custom." + ("_".join(chosen) or f"unknown_{cluster.id}")


def _expression(words: Sequence[str]) -> str:
    """RE2 for lines of these words; empty if that would be nearly any line."""
    if sum(len(re.findall(r"[^\W\d_]", word)) for word in words if word != VARIABLE) < MIN_LETTERS:
        return ""
    parts = [r"\S+" if word == VARIABLE else re.escape(word) for word in words]
    return r"(?m)^[ \t]*" + r"[ \t]+".join(parts)


def _commands(programs: Sequence[str]) -> list[str]:
    plain = [program for program in programs if not set("[]*?!") & set(program)]
    if not plain or len(plain) < len(programs):
        return []
    return [f"commands = [{', '.join(_text(f'{program}*') for program in plain)}]"]


def _sample(example: Example) -> list[str]:
    lines = [f"command = {_text(example.command)}"] if example.command else []
    if example.exit_code != 1:
        lines.append(f"exit_code = {example.exit_code}")
    body = example.output.replace("\\", "\\\\").replace('"""', '""\\"')
    return [*lines, f'output = """\n{_escaped(body)}"""']


def _text(value: str) -> str:
    """A basic string of TOML, which is JSON's but for surrogate pairs and DEL."""
    return _escaped(json.dumps(value, ensure_ascii=False))


def _literal(value: str) -> str:
    """A string without escapes, as expressions are best read."""
    return _text(value) if "'" in value or _CONTROL.search(value) else f"'{value}'"


def _escaped(text: str) -> str:
    return _CONTROL.sub(lambda match: f"\\u{ord(match.group()):04x}", text)
