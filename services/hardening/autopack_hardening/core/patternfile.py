"""Reads a pattern file, and says exactly what is wrong with one: file, id, key.

The format is described in ``docs/patterns.md``. A file is parsed TOML: a ``family`` and a list of ``pattern`` tables.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import re2

from autopack_hardening.core.model import Approval, Risk, Suggestion
from autopack_hardening.core.patterns import ALIASES, EndingAlone, Expression, Pattern, PatternError, Sample, Step, Tier
from autopack_hardening.core.safety import CUSTOM_FORBIDDEN

__all__ = ["CheckStep", "parse_file", "placeholders"]

CheckStep = Callable[[Step], str]
"""Says what is wrong with a step of a mitigation; empty = nothing."""

# A pattern proves itself on at least this many different outputs, so that it is not written after a single one.
MIN_EXAMPLES = 2
MIN_NEAR_MISSES = 1
MAX_PRIORITY = 9
DEFAULT_PRIORITY = 5
DEFAULT_CONFIDENCE = 0.9
DEFAULT_ENDING_CONFIDENCE = 0.5
DEFAULT_VERIFY = "Re-run the same command: it exits 0, or fails later for another reason."
# One expression may cost this many instructions of RE2's program; counted repetitions are what makes them large.
MAX_PROGRAM = 4000

_REQUIRED = ("id", "title", "tier", "examples", "near_misses")
_OPTIONAL = (
    "description", "priority", "aliases", "commands", "exit_codes", "usual_exit_codes", "any", "all", "none", "codes",
    "ending", "wraps",
    "mitigation", "approval", "suggestions", "otherwise", "risk", "verify",
)  # fmt: skip
_EXPRESSION_KEYS = ("re", "confidence", "values", "commands", "exit_codes", "unless", "noisy")
_ENDING_KEYS = ("exit_codes", "signals", "timed_out", "confidence")
_SAMPLE_KEYS = ("output", "exit_code", "command", "paths", "best", "is")
_ID = re.compile(r"[a-z][a-z0-9]*(?:[._-][a-z0-9]+)*")
_CODE = re.compile(r"[A-Za-z0-9][\w:.-]*")
# What the code behind an action may add to the captures.
_RESOLVED = frozenset(["directory", "distribution", "name"])
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def parse_file(
    data: Mapping[str, Any],
    source: str,
    check_step: CheckStep,
    *,
    is_custom: bool = False,
    is_proven: bool = False,
) -> tuple[list[Pattern], list[PatternError]]:
    """The patterns of a file, and the errors of those that are bad.

    Args:
        data: the parsed TOML file.
        source: its name, for messages; of a built-in file ``<family>.toml``.
        check_step: knows the actions there are.
        is_custom: these are a user's patterns: what they may do is checked accordingly.
        is_proven: the expressions were checked before.
    """
    unknown = sorted(set(data) - {"family", "pattern"})
    if unknown:
        return [], [PatternError(source, "", f"the file has the unknown key {unknown[0]!r}; known are family, pattern")]
    family = data.get("family")
    if not isinstance(family, str) or (not is_custom and f"{family}.toml" != source):
        return [], [PatternError(source, "", f"family is {family!r}; it must be the file's name without .toml")]
    tables = data.get("pattern", [])
    if not isinstance(tables, list) or not all(isinstance(item, dict) for item in tables):
        return [], [PatternError(source, "", "patterns are written as [[pattern]] tables")]
    good: list[Pattern] = []
    bad: list[PatternError] = []
    for item in tables:
        try:
            good.append(parse_pattern(item, family, source, check_step, is_custom=is_custom, is_proven=is_proven))
        except PatternError as error:
            bad.append(error)
    return good, bad


def parse_pattern(
    data: Mapping[str, Any],
    family: str,
    source: str,
    check_step: CheckStep,
    *,
    is_custom: bool = False,
    is_proven: bool = False,
) -> Pattern:
    """One ``[[pattern]]`` table; the arguments as for :func:`parse_file`.

    Raises:
        PatternError: for an unknown or missing key, a wrong value, an expression that RE2 refuses, or too few samples.
    """
    pattern_id = str(data.get("id", ""))
    try:
        pattern = _pattern(data, family, source, is_custom=is_custom)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise PatternError(source, pattern_id, str(error)) from error
    problem = _problem(pattern, is_proven=is_proven) or next(filter(None, map(check_step, pattern.steps)), "")
    if problem:
        raise PatternError(source, pattern_id, problem)
    return pattern


def placeholders(text: str) -> list[str]:
    """The names in braces in a suggestion."""
    return _PLACEHOLDER.findall(text)


def _pattern(data: Mapping[str, Any], family: str, source: str, *, is_custom: bool) -> Pattern:
    _check_keys(data, (*_REQUIRED, *_OPTIONAL), "the pattern")
    missing = [key for key in _REQUIRED if key not in data]
    if missing:
        raise ValueError(f"lacks {', '.join(missing)}")
    codes = [_code(item) for item in _list(data, "codes")]
    steps = data.get("mitigation", [])
    steps = [steps] if isinstance(steps, dict) else steps
    return Pattern(
        id=str(data["id"]),
        family=family,
        title=str(data["title"]),
        description=" ".join(str(data.get("description", "")).split()),
        tier=Tier(data["tier"]),
        priority=int(data.get("priority", DEFAULT_PRIORITY)),
        aliases=_strings(data, "aliases"),
        commands=_strings(data, "commands"),
        exit_codes=_numbers(data, "exit_codes"),
        usual_exit_codes=_numbers(data, "usual_exit_codes"),
        any=(*map(_expression, _list(data, "any")), *codes),
        all=_strings(data, "all"),
        none=_strings(data, "none"),
        ending=_ending(data["ending"]) if "ending" in data else None,
        wraps=_strings(data, "wraps"),
        steps=tuple(map(_step, steps)),
        approval=Approval(str(data.get("approval", "never")).upper()),
        suggestions=tuple(map(_suggestion, _list(data, "suggestions"))),
        otherwise=tuple(map(_suggestion, _list(data, "otherwise"))),
        risk=Risk(str(data.get("risk", "none")).upper()),
        verify=str(data.get("verify", DEFAULT_VERIFY)),
        examples=tuple(_sample(item, "best") for item in _list(data, "examples")),
        near_misses=tuple(_sample(item, "is") for item in _list(data, "near_misses")),
        source=source,
        is_custom=is_custom,
    )


def _expression(data: str | Mapping[str, Any]) -> Expression:
    if isinstance(data, str):
        return Expression(data, DEFAULT_CONFIDENCE)
    _check_keys(data, _EXPRESSION_KEYS, "an expression")
    values = {str(key): str(value) for key, value in data.get("values", {}).items()}
    return Expression(
        regex=str(data["re"]),
        confidence=float(data.get("confidence", DEFAULT_CONFIDENCE)),
        values=MappingProxyType(values),
        commands=_strings(data, "commands"),
        exit_codes=_numbers(data, "exit_codes"),
        unless=str(data.get("unless", "")),
        noisy=_flag(data, "noisy"),
    )


def _code(item: Any) -> Expression:
    """A literal error code: survives every change of the words around it."""
    if not isinstance(item, str) or not _CODE.fullmatch(item):
        raise ValueError(f"codes has {item!r}; a code is a word such as E404 or ERR_PNPM_NO_LOCKFILE")
    return Expression(rf"(?m)(?:^|[^\w-])(?P<code>{re.escape(item)})(?:[^\w-]|$)", DEFAULT_CONFIDENCE)


def _ending(data: Mapping[str, Any]) -> EndingAlone:
    _check_keys(data, _ENDING_KEYS, "ending")
    confidence = float(data.get("confidence", DEFAULT_ENDING_CONFIDENCE))
    found = EndingAlone(_numbers(data, "exit_codes"), _numbers(data, "signals"), _flag(data, "timed_out"), confidence)
    if not found.exit_codes and not found.signals and not found.timed_out:
        raise ValueError("ending needs exit_codes, signals or timed_out = true")
    if 0 in found.exit_codes:
        raise ValueError("ending has exit code 0: success never matches")
    return found


def _step(data: Mapping[str, Any]) -> Step:
    if not isinstance(data, dict) or not isinstance(data.get("action"), str):
        raise ValueError('a mitigation is a table with an action, for example { action = "change_cwd" }')
    return Step(data["action"], MappingProxyType({key: value for key, value in data.items() if key != "action"}))


def _suggestion(data: str | Mapping[str, Any]) -> Suggestion:
    if isinstance(data, str):
        return Suggestion(" ".join(data.split()))
    _check_keys(data, ("text", "risk"), "a suggestion")
    return Suggestion(" ".join(str(data["text"]).split()), " ".join(str(data.get("risk", "")).split()))


def _sample(data: Mapping[str, Any], best: str) -> Sample:
    _check_keys(data, tuple(key for key in _SAMPLE_KEYS if key not in {"best", "is"} - {best}), "a sample")
    return Sample(
        output=str(data["output"]),
        exit_code=int(data.get("exit_code", 1)),
        command=str(data.get("command", "")),
        paths=_strings(data, "paths"),
        best=_strings(data, best),
    )


def _list(data: Mapping[str, Any], key: str) -> list[Any]:
    found = data.get(key, [])
    if not isinstance(found, list):
        raise ValueError(f"{key} must be a list")
    return found


def _strings(data: Mapping[str, Any], key: str) -> tuple[str, ...]:
    found = _list(data, key)
    if not all(isinstance(item, str) and item for item in found):
        raise ValueError(f"{key} must be a list of texts")
    return tuple(found)


def _numbers(data: Mapping[str, Any], key: str) -> tuple[int, ...]:
    found = _list(data, key)
    if not all(isinstance(item, int) and not isinstance(item, bool) for item in found):
        raise ValueError(f"{key} must be a list of numbers")
    return tuple(found)


def _flag(data: Mapping[str, Any], key: str) -> bool:
    found = data.get(key, False)
    if not isinstance(found, bool):
        raise ValueError(f"{key} must be true or false")
    return found


def _check_keys(data: Mapping[str, Any], known: Sequence[str], what: str) -> None:
    unknown = sorted(set(data) - set(known))
    if unknown:
        raise ValueError(f"{what} has the unknown key {unknown[0]!r}; known are {', '.join(known)}")


def _problem(pattern: Pattern, *, is_proven: bool) -> str:
    if not _ID.fullmatch(pattern.id):
        return "the id must be like tool.what_happened, in lower case"
    if pattern.is_custom != pattern.id.startswith("custom."):
        return "the id of a custom pattern, and of no other, begins with custom."
    if not 1 <= pattern.priority <= MAX_PRIORITY:
        return f"priority {pattern.priority} is not between 1 and {MAX_PRIORITY}"
    if not pattern.any and pattern.ending is None:
        return "needs at least one of any, codes and ending"
    if len(pattern.examples) < MIN_EXAMPLES or len(pattern.near_misses) < MIN_NEAR_MISSES:
        return f"needs at least {MIN_EXAMPLES} examples and {MIN_NEAR_MISSES} near miss"
    if any(sample.exit_code == 0 for sample in (*pattern.examples, *pattern.near_misses)):
        return "a sample with exit code 0 proves nothing: success never matches"
    confidences = [expression.confidence for expression in pattern.any]
    if pattern.ending is not None:
        confidences.append(pattern.ending.confidence)
    for confidence in confidences:
        if not 0 < confidence <= 1:
            return f"confidence {confidence} is not above 0 and at most 1"
    for alias in pattern.aliases:
        if ALIASES.get(alias) != pattern.priority:
            known = ", ".join(f"{name} (priority {priority})" for name, priority in ALIASES.items())
            return f"alias {alias!r} with priority {pattern.priority}; aliases are {known}"
    return ("" if is_proven else _regex_problems(pattern)) or _action_problem(pattern)


def _action_problem(pattern: Pattern) -> str:
    if pattern.steps and pattern.approval is Approval.NEVER:
        return "has a mitigation, but approval is never; it is automatic or consent"
    if not pattern.steps and pattern.approval is not Approval.NEVER:
        return f"approval is {pattern.approval.value.lower()}, but there is no mitigation"
    advice = (*pattern.suggestions, *pattern.otherwise)
    if not pattern.steps and not advice:
        return "needs a mitigation, or at least one suggestion"
    if pattern.is_custom and pattern.approval is Approval.AUTOMATIC:
        return "a custom pattern is never automatic"
    forbidden = sorted(CUSTOM_FORBIDDEN.intersection(step.action for step in pattern.steps))
    if pattern.is_custom and forbidden:
        return f"a custom pattern may not {forbidden[0]}"
    known = {name for expression in pattern.any for name in (*expression.values, *_groups(expression.regex))}
    known |= _RESOLVED if pattern.steps else set()
    used = {name for one in advice for name in placeholders(one.text + one.risk)}
    if used - known:
        return f"a suggestion names {{{min(used - known)}}}, which no expression captures"
    return ""


def _groups(regex: str) -> list[str]:
    return re.findall(r"\(\?P<(\w+)>", regex)


def _regex_problems(pattern: Pattern) -> str:
    regexes = [expression.regex for expression in pattern.any]
    regexes += [expression.unless for expression in pattern.any if expression.unless]
    for regex in (*regexes, *pattern.all, *pattern.none):
        problem = _regex_problem(regex)
        if problem:
            return problem
    return ""


def _regex_problem(regex: str) -> str:
    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(regex, options)
    except re2.error as error:
        why = error.args[0]  # in bytes
        return f"RE2 refuses {regex!r}: {why.decode() if isinstance(why, bytes) else why}"
    if compiled.search("") is not None:
        return f"{regex!r} matches the empty text and so everything"
    if compiled.programsize > MAX_PROGRAM:
        return f"{regex!r} is too large for RE2 ({compiled.programsize} instructions); use + or * instead of counts"
    return ""
