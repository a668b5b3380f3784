"""switch_runtime: another version of the language is needed, and is installed already."""

from __future__ import annotations

import re
from collections.abc import Sequence

from autopack_hardening.core.actions import Action, SwitchRuntime
from autopack_hardening.core.matching import Hit
from autopack_hardening.core.model import Mitigation, Risk
from autopack_hardening.core.rules.context import Context, Finding, Parameters, Resolver, telling

__all__ = ["RUNTIMES", "SWITCH_RUNTIME", "satisfies"]

RUNTIMES = ("python", "node", "java", "go", "rust", "cmake", "ruby", "php")

_VERSION = re.compile(r"\d{1,4}(?:\.\d{1,6}){0,3}", re.ASCII)
_CLAUSE = re.compile(r"(\^|~=|~|>=|<=|==|!=|=|>|<)?\s*v?(\d{1,4}(?:\.\d{1,6}){0,3})(\.[x*]|\.\*)?", re.ASCII)


def _switch(parameters: Parameters, hits: Sequence[Hit], context: Context) -> Finding:
    """``runtime``: which. Reads the capture ``constraint`` (``>=3.13``, ``^20 || >=22``, ``17``); ``at_least =
    true``: a bare version is the lowest that will do.

    Of those that the caller says are installed, the highest that fits; ``at_least``: the lowest, since newer ones
    drop what older projects use. Without one there is advice. Nothing is downloaded.
    """
    hit = telling(hits)
    constraint = hit.captures.get("constraint", "")
    if not constraint or context.failure.command is None:
        return Finding(hit)
    at_least = bool(parameters.get("at_least", False))
    if parameters["runtime"] == "java":
        constraint = _java(constraint)
    fitting = [
        (_parts(_java(one.version) if one.name == "java" else one.version), one)
        for one in context.failure.runtimes
        if one.name == parameters["runtime"]
        and satisfies(_java(one.version) if one.name == "java" else one.version, constraint, at_least=at_least)
    ]
    if not fitting:
        return Finding(hit)
    is_floor = at_least and _VERSION.fullmatch(constraint) is not None
    _, best = (min if is_floor else max)(fitting, key=lambda one: one[0])
    action = Action(SwitchRuntime(best.name, best.version, best.directory))
    return Finding(hit, Mitigation((action,), risk=Risk.LOW, automatic=True))


def satisfies(version: str, constraint: str, *, at_least: bool = False) -> bool:
    """Whether ``version`` fits. Reads what pip, npm, cargo, go and maven print; anything else fits nothing.

    >>> satisfies("3.13.1", ">=3.12,<4"), satisfies("20.1.0", "^18 || >=22"), satisfies("17.0.2", "17")
    (True, False, True)
    """
    if not _VERSION.match(version):
        return False
    return any(_fits_all(_parts(version), part, at_least) for part in constraint.split("||"))


def _fits_all(version: tuple[int, ...], part: str, at_least: bool) -> bool:
    clauses = _CLAUSE.findall(part)
    rest = _CLAUSE.sub("", part)
    if not clauses or rest.strip(" ,"):
        return False
    return all(_fits(version, operator, text, at_least) for operator, text, _ in clauses)


def _fits(version: tuple[int, ...], operator: str, text: str, at_least: bool) -> bool:
    wanted = _parts(text)
    same = version[: len(wanted)] == wanted
    if not operator and at_least:
        operator = ">="
    match operator:
        case ">=":
            return version >= wanted
        case ">":
            return version > wanted and not same
        case "<=":
            return version <= wanted or same
        case "<":
            return version < wanted
        case "!=":
            return not same
        case "^":
            return version >= wanted and version[:1] == wanted[:1]
        case "~":  # npm and Poetry: the minor version stays, where one is named
            return version >= wanted and version[:2] == wanted[:2] if len(wanted) > 1 else same
        case "~=":  # PEP 440
            return version >= wanted and version[: max(1, len(wanted) - 1)] == wanted[: max(1, len(wanted) - 1)]
        case _:
            return same


def _java(version: str) -> str:
    """Java 8 calls itself 1.8."""
    return re.sub(r"\b1\.(?=[5-8]\b)", "", version)


def _parts(version: str) -> tuple[int, ...]:
    found = _VERSION.match(version)
    return tuple(int(part) for part in found.group().split(".")) if found else ()


def _check(parameters: Parameters) -> str:
    return "" if parameters["runtime"] in RUNTIMES else f"runtime must be one of {', '.join(RUNTIMES)}"


SWITCH_RUNTIME = Resolver(_switch, required=("runtime",), optional=("at_least",), check=_check)
