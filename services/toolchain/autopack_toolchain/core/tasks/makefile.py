"""The explicit rules of a makefile, its includes read too; nothing is run.

Conditionals are decided where both sides are known, and otherwise read in all branches, of which the first holds.
Pattern rules, rules of special targets and ``define`` give no task.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from ..workspace import Workspace, join
from .expansion import Expander
from .model import MAX_BODIES, MAX_TASKS, readable
from .text import joined

__all__ = ["Makefile", "Rule", "read_makefile"]

MAX_INCLUDES = 30
"""Included files at most; the largest set surveyed has 11."""

MAX_TARGETS_OF_A_RULE = 20
"""Targets that share one recipe; more of them are files that some tool generated."""

MAX_VALUE = 16_384
"""Characters at which a variable is no longer added to: lists of generated files."""

_ASSIGNMENT = re.compile(r"^[ \t]*([\w.-]+)[ \t]*(\+=|\?=|!=|:{0,3}=)[ \t]*(.*)$", re.DOTALL)
_MODIFIERS = frozenset({"export", "override", "private", "unexport"})
_CONDITIONAL = re.compile(r"^[ \t]*(ifeq|ifneq|ifdef|ifndef|else|endif)(?![\w-])[ \t]*(.*)$")
_INCLUDE = re.compile(r"^ *(?:-include|sinclude|include)[ \t]+(.*)$")
_DEFINE = re.compile(r"^[ \t]*(?:define|endef)(?![\w-])")
_TARGET = re.compile(r"^(?:[A-Za-z0-9_]|\.[a-z/])[\w.+/@-]*$")
_SUFFIX_RULE = re.compile(r"^\.[\w+]*\.[\w+]+$")
_QUOTED = re.compile(r"""^(?:"([^"]*)"|'([^']*)')[ \t]*(?:"([^"]*)"|'([^']*)')$""")


@dataclass(slots=True)
class Rule:
    """One target: where it is defined, what it needs, its recipe as written, and variables of its own."""

    path: str
    line: int
    needs: list[str] = field(default_factory=list)
    recipe: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    description: str = ""
    closed: bool = False


@dataclass(slots=True)
class Makefile:
    """Rules by target in the order of the file, and what expands their recipes."""

    rules: dict[str, Rule] = field(default_factory=dict)
    expander: Expander = field(default_factory=Expander)

    @property
    def default_goal(self) -> str:
        """What ``make`` without a target makes; empty if there is nothing."""
        named = self.expander.expand(self.expander.variables.get(".DEFAULT_GOAL", "")).strip()
        visible = (target for target in self.rules if "/" in target or not target.startswith("."))
        return named if named in self.rules else next(visible, "")


def read_makefile(workspace: Workspace, directory: str, name: str) -> Makefile:
    """The rules that ``make`` sees when it is called in ``directory`` and finds the file ``name`` there."""
    reader = _Reader(workspace, directory)
    reader.read(join(directory, name))
    return reader.made


@dataclass(frozen=True, slots=True)
class _Branch:
    """A branch of a conditional: whether it holds, and whether one before it did; None is "not known"."""

    holds: bool | None
    before: bool | None


class _Reader:
    def __init__(self, workspace: Workspace, directory: str) -> None:
        self.made = Makefile()
        self._workspace = workspace
        self._directory = directory
        self._seen: set[str] = set()
        self._conditions: list[_Branch] = []
        self._rules: list[Rule] = []
        self._in_rule = False
        self._defining = 0

    def read(self, path: str) -> None:
        if path in self._seen or len(self._seen) > MAX_INCLUDES:
            return
        self._seen.add(path)
        outer, self._conditions = self._conditions, []
        for number, line in joined(self._workspace.lines(path)):
            self._line(path, number, line)
        self._conditions, self._rules, self._in_rule, self._defining = outer, [], False, 0

    def _line(self, path: str, number: int, line: str) -> None:
        if not line or line.startswith("#"):
            return
        if self._defining or _DEFINE.match(line):
            if match := _DEFINE.match(line):
                self._defining = max(0, self._defining + (1 if "define" in match[0] else -1))
            return
        if line.startswith("\t") and self._in_rule:
            if self._reading():
                self._recipe(line)
        elif match := _CONDITIONAL.match(line):
            self._conditional(match[1], _without_comment(match[2]))
        elif self._reading() and (code := _without_comment(line).strip()):
            self._statement(path, number, code, line)

    def _statement(self, path: str, number: int, code: str, line: str) -> None:
        if match := _INCLUDE.match(code):
            self._include(match[1])
        elif match := _ASSIGNMENT.match(_without_modifiers(code)):
            self._rules, self._in_rule = [], False
            self._assign(self.made.expander.variables, match[1], match[2], match[3])
        else:
            self._rule(path, number, code, line)

    # conditionals

    def _reading(self) -> bool:
        return all(branch.holds is not False for branch in self._conditions)

    def _conditional(self, word: str, rest: str) -> None:
        if word == "endif":
            del self._conditions[-1:]
        elif word != "else":
            self._conditions.append(_Branch(self._verdict(word, rest), False))
        elif self._conditions:
            last = self._conditions.pop()
            again = _CONDITIONAL.match(rest)
            now = self._verdict(again[1], again[2]) if again and again[1] not in {"else", "endif"} else True
            before = _either(last.before, last.holds)
            self._conditions.append(_Branch(False if before is True else _both(before, now), before))

    def _verdict(self, word: str, rest: str) -> bool | None:
        expander = self.made.expander
        if word in {"ifdef", "ifndef"}:
            value = expander.expand(f"$({rest.strip()})")
            known = None if "$" in value else bool(value)
        else:
            sides = _sides(rest)
            if sides is None:
                return None
            left, right = (expander.expand(side).strip() for side in sides)
            known = None if "$" in left + right else left == right
        return known if known is None or word in {"ifeq", "ifdef"} else not known

    # variables, includes and rules

    def _assign(self, variables: dict[str, str], name: str, operator: str, value: str) -> None:
        value = value.strip()
        old = variables.get(name, self.made.expander.variables.get(name))
        if operator == "?=" or (operator != "+=" and any(branch.holds is None for branch in self._conditions)):
            if old is None:
                variables[name] = value
        elif operator == "+=":
            if f"$({name})" not in value and f"${{{name}}}" not in value and len(old or "") < MAX_VALUE:
                variables[name] = f"{old} {value}" if old else value
        elif operator == "!=":
            variables[name] = f"$(shell {value})"
        elif operator == "=":
            variables[name] = value
        else:
            variables[name] = self.made.expander.expand(value).replace("$", "$$")

    def _include(self, words: str) -> None:
        for word in self.made.expander.expand(words).split():
            path = posixpath.normpath(join(self._directory, word))
            if "$" in path or path.startswith(("..", "/")):
                continue
            parent, _, pattern = path.rpartition("/")
            names = self._workspace.names(parent or ".")
            for name in sorted(name for name in names if fnmatchcase(name, pattern)):
                if readable(self._workspace, included := join(parent or ".", name)):
                    self.read(included)

    def _rule(self, path: str, number: int, code: str, line: str) -> None:
        head, rest = _split(code)
        if rest is None:
            return
        double = rest.startswith(":")
        rest = rest.lstrip(":")
        words = self.made.expander.expand(head.rstrip("&")).split()
        names = [word for word in words if _TARGET.match(word) and not _SUFFIX_RULE.match(word)]
        own = _ASSIGNMENT.match(_without_modifiers(rest))
        found = [self._target(name, path, number) for name in names[:MAX_TARGETS_OF_A_RULE]]
        self._rules, self._in_rule = [], True
        if own:
            for rule in found:
                self._assign(rule.variables, own[1], own[2], own[3])
            return
        needs, semicolon, command = rest.partition(";")
        prerequisites = self.made.expander.expand(needs.rpartition(":")[2]).replace("|", " ").split()[:MAX_TASKS]
        for rule in found:
            rule.needs += prerequisites
            rule.description = rule.description or line.partition("##")[2].strip()
            if not rule.closed or double:
                self._rules.append(rule)
                rule.closed = rule.closed or bool(rule.recipe)
        if semicolon:
            self._recipe(command)

    def _target(self, name: str, path: str, number: int) -> Rule:
        rules = self.made.rules
        if name not in rules and len(rules) < MAX_TASKS:
            rules[name] = Rule(path, number)
        return rules.get(name) or Rule(path, number)

    def _recipe(self, line: str) -> None:
        command = line.strip().lstrip("@-+ \t")
        if command and not command.startswith("#"):
            for rule in self._rules:
                if len(rule.recipe) < MAX_BODIES:
                    rule.recipe.append(command)


def _either(a: bool | None, b: bool | None) -> bool | None:
    """Whether one of two conditions holds, None being "not known"."""
    return True if a is True or b is True else (None if a is None or b is None else False)


def _both(before: bool | None, now: bool | None) -> bool | None:
    """Whether a branch is taken: its own condition holds, and none before it did or may have."""
    return False if now is False else (None if before is None else now)


def _without_modifiers(code: str) -> str:
    code = code.lstrip()
    word, space, rest = code.partition(" ")
    while space and word in _MODIFIERS:
        code = rest.lstrip()
        word, space, rest = code.partition(" ")
    return code


def _without_comment(line: str) -> str:
    at = line.find("#")
    while at > 0 and line[at - 1] == "\\":
        at = line.find("#", at + 1)
    return line if at < 0 else line[:at]


def _sides(text: str) -> tuple[str, str] | None:
    """Both sides of ``(a,b)``, ``"a" "b"`` or ``'a' 'b'``."""
    text = text.strip()
    if match := _QUOTED.match(text):
        return match[1] or match[2] or "", match[3] or match[4] or ""
    if text.startswith("(") and text.endswith(")"):
        level = 0
        for at, character in enumerate(text[1:-1], 1):
            level += (character in "({") - (character in ")}")
            if character == "," and not level:
                return text[1:at], text[at + 1 : -1]
    return None


def _split(code: str) -> tuple[str, str | None]:
    """Before and after the first colon outside of references; nothing after it where there is none."""
    level = 0
    for at, character in enumerate(code):
        if character == ":" and not level:
            return code[:at], code[at + 1 :]
        level += (character in "({") - (character in ")}")
    return code, None
