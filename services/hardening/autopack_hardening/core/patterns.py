"""Patterns as data: what a failure looks like, which rule explains it, and the samples that prove both.

A pattern file is TOML, one pattern a file::

    id = "wrong_working_dir"
    title = "..."
    description = "..."
    priority = 2                 # 1 comes first
    rule = "wrong_working_dir"   # the code that resolves what was read against the facts (core/rules)
    risk = "LOW"                 # what its strongest action may touch
    verify = "..."
    none = ['(?m)^...']          # RE2; if any matches anywhere, the pattern is silent

    [[any]]                      # RE2, at least one; named groups are what the rule reads
    re = '(?m)^No (?P<manifest>[\\w.]+) found$'
    confidence = 0.9
    values = { kind = "..." }    # optional: fixed values beside the groups
    commands = ["npm *"]         # optional: only for such command lines (fnmatch; program without its directory)
    exit_codes = [4]             # optional: only for these

    [[examples]]                 # at least two; output, exit_code, and optionally command and paths
    [[near_misses]]              # at least one: looks alike and must not match
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import re2
from autopack_kit.commands import Command

from autopack_hardening.core.model import Ending, Failure, Risk

__all__ = ["Expression", "Pattern", "PatternError", "Sample", "parse_pattern"]

# A pattern proves itself on at least this many different outputs, so that it is not written after a single one.
MIN_EXAMPLES = 2
MIN_NEAR_MISSES = 1

_REQUIRED = ("id", "title", "description", "priority", "rule", "risk", "verify", "any", "examples", "near_misses")
_OPTIONAL = ("none",)
_EXPRESSION_KEYS = ("re", "confidence", "values", "commands", "exit_codes")
_SAMPLE_KEYS = ("output", "exit_code", "command", "paths")


class PatternError(ValueError):
    """A pattern that cannot be used; the message names the file, the id and what is wrong."""

    def __init__(self, source: str, pattern_id: str, problem: str) -> None:
        super().__init__(f"{source}: pattern {pattern_id or '(without id)'}: {problem}")


@dataclass(frozen=True, slots=True)
class Expression:
    """One RE2 expression of a pattern, with the conditions under which it counts."""

    regex: str
    confidence: float
    values: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    commands: tuple[str, ...] = ()
    exit_codes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """An output with what is known beside it."""

    output: str
    exit_code: int
    command: str = ""
    paths: tuple[str, ...] = ()

    def failure(self) -> Failure:
        """The sample as the input of a diagnosis."""
        command = Command.of(*shlex.split(self.command)) if self.command else None
        return Failure(command, Ending(self.exit_code), self.output.encode(), paths=self.paths)


@dataclass(frozen=True, slots=True)
class Pattern:
    """How one kind of failure is recognised. The fields are described at the head of this module."""

    id: str
    title: str
    description: str
    priority: int
    rule: str
    risk: Risk
    verify: str
    any: tuple[Expression, ...]
    none: tuple[str, ...]
    examples: tuple[Sample, ...]
    near_misses: tuple[Sample, ...]
    source: str


def parse_pattern(data: Mapping[str, Any], source: str, rules: Sequence[str]) -> Pattern:
    """The pattern in ``data``.

    Args:
        data: the parsed TOML file.
        source: its name, for messages.
        rules: the rules that exist.

    Raises:
        PatternError: for an unknown or missing key, a wrong value, an expression that RE2 refuses, or too few samples.
    """
    pattern_id = str(data.get("id", ""))
    try:
        pattern = _pattern(data, source)
    except (KeyError, TypeError, ValueError) as error:
        raise PatternError(source, pattern_id, str(error)) from error
    problem = _problem(pattern, rules)
    if problem:
        raise PatternError(source, pattern_id, problem)
    return pattern


def _pattern(data: Mapping[str, Any], source: str) -> Pattern:
    _check_keys(data, (*_REQUIRED, *_OPTIONAL), "the pattern")
    missing = [key for key in _REQUIRED if key not in data]
    if missing:
        raise ValueError(f"lacks {', '.join(missing)}")
    return Pattern(
        id=str(data["id"]),
        title=str(data["title"]),
        description=" ".join(str(data["description"]).split()),
        priority=int(data["priority"]),
        rule=str(data["rule"]),
        risk=Risk(data["risk"]),
        verify=str(data["verify"]),
        any=tuple(_expression(item) for item in data["any"]),
        none=tuple(str(regex) for regex in data.get("none", ())),
        examples=tuple(_sample(item) for item in data["examples"]),
        near_misses=tuple(_sample(item) for item in data["near_misses"]),
        source=source,
    )


def _expression(data: Mapping[str, Any]) -> Expression:
    _check_keys(data, _EXPRESSION_KEYS, "an expression")
    return Expression(
        regex=str(data["re"]),
        confidence=float(data["confidence"]),
        values=MappingProxyType({str(key): str(value) for key, value in data.get("values", {}).items()}),
        commands=tuple(str(glob) for glob in data.get("commands", ())),
        exit_codes=tuple(int(code) for code in data.get("exit_codes", ())),
    )


def _sample(data: Mapping[str, Any]) -> Sample:
    _check_keys(data, _SAMPLE_KEYS, "a sample")
    return Sample(
        output=str(data["output"]),
        exit_code=int(data.get("exit_code", 1)),
        command=str(data.get("command", "")),
        paths=tuple(str(path) for path in data.get("paths", ())),
    )


def _check_keys(data: Mapping[str, Any], known: Sequence[str], what: str) -> None:
    unknown = sorted(set(data) - set(known))
    if unknown:
        raise ValueError(f"{what} has the unknown key {unknown[0]!r}; known are {', '.join(known)}")


def _problem(pattern: Pattern, rules: Sequence[str]) -> str:
    if not pattern.id.replace("_", "").isalnum() or not pattern.id.islower():
        return "the id must be lower_snake_case"
    if not 1 <= pattern.priority <= 10:
        return f"priority {pattern.priority} is not between 1 and 10"
    if pattern.rule not in rules:
        return f"rule {pattern.rule!r} does not exist; known are {', '.join(sorted(rules))}"
    if not pattern.any:
        return "has no expression"
    if len(pattern.examples) < MIN_EXAMPLES or len(pattern.near_misses) < MIN_NEAR_MISSES:
        return f"needs at least {MIN_EXAMPLES} examples and {MIN_NEAR_MISSES} near miss"
    for sample in (*pattern.examples, *pattern.near_misses):
        if sample.exit_code == 0:
            return "a sample with exit code 0 proves nothing: success never matches"
    for expression in pattern.any:
        if not 0 < expression.confidence <= 1:
            return f"confidence {expression.confidence} is not above 0 and at most 1"
    return _regex_problem([expression.regex for expression in pattern.any] + list(pattern.none))


def _regex_problem(regexes: Sequence[str]) -> str:
    options = re2.Options()
    options.log_errors = False
    for regex in regexes:
        try:
            compiled = re2.compile(regex, options)
        except re2.error as error:
            return f"RE2 refuses {regex!r}: {error}"
        if compiled.search("") is not None:
            return f"{regex!r} matches the empty text and so everything"
    return ""
