"""What the headings of an issue or a specification mean: the names that people give to the parts of a goal."""

from __future__ import annotations

import re
from enum import Enum

__all__ = ["Part", "parts_named"]


class Part(Enum):
    """What a piece of the text is for; the value is its name in a sentence."""

    GOAL = "Goal"
    CONSTRAINTS = "Constraints"
    FORBIDDEN = "Must not"
    """Constraints whose heading carries the negation."""
    ACCEPTANCE = "Acceptance"
    SCOPE = "Scope"
    NON_GOALS = "Non-goals"
    NOTES = "Notes"
    OTHER = "other text"
    """Under no known heading: it belongs to the description."""


_NAMES: dict[Part, tuple[str, ...]] = {
    Part.GOAL: (
        "goal", "goals", "the goal", "objective", "objectives", "aim", "task", "tasks", "the task", "todo", "summary",
        "description", "overview", "purpose", "what", "what to do", "problem", "the problem", "problem statement",
        "proposal", "proposed solution", "solution", "feature request", "user story", "describe the bug",
        "bug description", "describe the feature", "intention",
    ),
    Part.CONSTRAINTS: (
        "constraint", "constraints", "requirement", "requirements", "non functional requirements",
        "functional requirements", "technical requirements", "must", "musts", "must have", "rule", "rules",
        "ground rules", "guideline", "guidelines", "limits", "limitations", "restrictions", "invariants",
        "compatibility",
    ),
    Part.FORBIDDEN: ("must not", "must nots", "never", "do not", "dont", "not allowed", "forbidden", "prohibited"),
    Part.ACCEPTANCE: (
        "acceptance", "acceptance criteria", "acceptance criterion", "acceptance tests", "criteria", "done when",
        "definition of done", "dod", "done", "success criteria", "exit criteria", "test", "tests", "testing",
        "test plan", "how to test", "verification", "validation", "expected behavior", "expected behaviour",
        "expected result", "expected results", "expected outcome",
    ),
    Part.SCOPE: (
        "scope", "in scope", "files", "files in scope", "affected files", "relevant files", "files to change",
        "files to modify", "files to edit", "files that may change", "may change", "allowed files", "allowed paths",
        "paths", "where", "change only", "only change",
    ),
    Part.NON_GOALS: (
        "non goal", "non goals", "nongoal", "nongoals", "no goals", "not a goal", "not goals", "anti goals",
        "out of scope", "not in scope", "wont do", "will not do", "not doing", "exclusions", "excluded", "do not touch",
        "dont touch", "do not change", "dont change", "do not modify", "must not change", "may not change",
        "off limits", "protected files", "forbidden files", "forbidden paths", "files not to change",
    ),
    Part.NOTES: (
        "note", "notes", "context", "background", "motivation", "rationale", "why", "additional information",
        "additional context", "additional notes", "further information", "more information", "more context", "info",
        "information", "hint", "hints", "tip", "tips", "reference", "references", "link", "links", "related",
        "see also", "resources", "remarks", "technical notes", "implementation notes",
    ),
}  # fmt: skip

_KNOWN = {name: part for part, names in _NAMES.items() for name in names}

_MAX_NAME_CHARS = 80
_ASIDE = re.compile(r"\([^()]*\)|\[[^\[\]]*\]")
_NUMBER = re.compile(r"^[0-9.]{1,12}[).:]?\s+|^[ivx]{1,5}[).]\s+")
_WORDS = re.compile(r"[^\W_]+")
_SEVERAL = re.compile(r"\s(?:and|or)\s|[&/,+]")


def parts_named(heading: str) -> frozenset[Part]:
    """The parts that a heading names; empty if it is none of the known names, two where it joins two of them.

    >>> sorted(part.value for part in parts_named("3. Acceptance criteria (draft):"))
    ['Acceptance']
    >>> sorted(part.value for part in parts_named("Scope & non-goals"))
    ['Non-goals', 'Scope']
    """
    if len(heading) > _MAX_NAME_CHARS:
        return frozenset()
    name = _NUMBER.sub("", _ASIDE.sub(" ", heading.strip().lower()).replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))
    if (whole := _KNOWN.get(_words(name))) is not None:
        return frozenset({whole})
    found = [_KNOWN.get(_words(part)) for part in _SEVERAL.split(name)]
    return frozenset(part for part in found if part is not None) if all(found) else frozenset()


def _words(text: str) -> str:
    return " ".join(_WORDS.findall(text.replace("'", "")))
