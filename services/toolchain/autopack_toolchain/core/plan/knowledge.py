"""What plan normalisation knows: ``data/plan.toml`` as typed values."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from .model import Category, Policy, Role, Size
from .words import Phrases, stem, words_of

__all__ = ["Action", "CategorySigns", "Knowledge", "Protection", "SizeLimits", "TestNames", "knowledge"]

_VOWELS = frozenset("aeiou")


@dataclass(frozen=True, slots=True)
class Action:
    """What a deliverable does, and what category that speaks for how strongly."""

    name: str
    category: Category
    weight: float


@dataclass(frozen=True, slots=True)
class CategorySigns:
    """What speaks for a category beside the verb."""

    weight: float
    labels: frozenset[str]
    objects: Phrases
    signs: Phrases
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Protection:
    """Files that an agent does not change unasked."""

    globs: tuple[str, ...]
    excepted: tuple[str, ...]
    policy: Policy
    categories: frozenset[Category]
    reason: str


@dataclass(frozen=True, slots=True)
class TestNames:
    """Names of the tests of a file with one of the extensions."""

    __test__ = False  # not a test class of pytest's

    extensions: frozenset[str]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SizeLimits:
    """From how many deliverables or files on a plan has this size, and what it may use by default."""

    deliverables: int
    files: int
    tokens: int
    cost_microusd: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Knowledge:
    """The registry. Words are in lower case; ``verbs`` and ``imperatives`` map a form to the name of an action."""

    actions: Mapping[str, Action]
    imperatives: Mapping[str, str]
    verbs: Mapping[str, str]
    verb_phrases: Mapping[str, str]
    verb_phrase_index: Phrases
    nouns: Mapping[str, str]
    noun_index: Phrases
    words: Mapping[str, frozenset[str]]
    phrases: Mapping[str, Phrases]
    sections: Mapping[str, Role]
    section_prefixes: Mapping[str, Role]
    section_prefix_index: Phrases
    phases: Mapping[str, tuple[str, ...]]
    categories: Mapping[Category, CategorySigns]
    aliases: tuple[tuple[Phrases, tuple[str, ...]], ...]
    paths: Mapping[str, frozenset[str]]
    protections: tuple[Protection, ...]
    test_directories: frozenset[str]
    tests_beside: frozenset[str]
    test_names: tuple[TestNames, ...]
    languages_of: Mapping[str, str]
    sizes: Mapping[Size, SizeLimits]

    def action_of(
        self, words: tuple[str, ...], at: int = 0, *, only_imperative: bool = False
    ) -> tuple[str, int] | None:
        """(action, number of words) of the verb at ``at``, or None."""
        phrase = self.verb_phrase_index.at(words, at)
        if phrase is not None:
            return self.verb_phrases[phrase[0]], phrase[1]
        table = self.imperatives if only_imperative else self.verbs
        action = table.get(words[at]) if at < len(words) else None
        return None if action is None else (action, 1)


def verb_forms(verb: str) -> set[str]:
    """The base form, the third person and the gerund of a verb; a few that do not exist do no harm.

    >>> sorted(verb_forms("apply"))
    ['applies', 'apply', 'applying', 'applys']
    """
    found = {verb, verb + "s", verb + "ing"}
    if verb.endswith(("s", "x", "z", "ch", "sh", "o")):
        found.add(verb + "es")
    if verb.endswith("y") and verb[-2:-1] not in _VOWELS:
        found.add(verb[:-1] + "ies")
    if verb.endswith("e"):
        found.add(verb[:-1] + "ing")
    elif verb[-1] not in _VOWELS | {"w", "x", "y"} and verb[-2:-1] in _VOWELS:
        found.add(verb + verb[-1] + "ing")
    return found


def parse_knowledge(text: str) -> Knowledge:
    """The registry from its TOML text."""
    data = tomllib.loads(text)
    actions = {
        name: Action(name, Category(table["category"]), table["weight"]) for name, table in data["actions"].items()
    }
    imperatives = {verb: name for name, table in reversed(data["actions"].items()) for verb in table["verbs"]}
    forms = {form: name for verb, name in imperatives.items() for form in verb_forms(verb)}
    verb_phrases = _phrase_forms(data["actions"])
    nouns = {phrase: name for name, table in data["actions"].items() for phrase in table["nouns"]}
    words, phrases = _word_sets(data)
    prefixes = {name: Role(role) for role, names in data["section_prefixes"].items() for name in names}
    return Knowledge(
        actions=actions,
        imperatives=imperatives,
        verbs={**forms, **imperatives},
        verb_phrases=verb_phrases,
        verb_phrase_index=Phrases(verb_phrases),
        nouns=nouns,
        noun_index=Phrases(nouns),
        words=words,
        phrases=phrases,
        sections={" ".join(words_of(name)): Role(role) for role, names in data["sections"].items() for name in names},
        section_prefixes=prefixes,
        section_prefix_index=Phrases(prefixes),
        phases={name: tuple(values) for name, values in data["phases"].items()},
        categories={Category(name): _signs(table) for name, table in data["categories"].items()},
        aliases=tuple((Phrases(alias["words"], stemmed=True), tuple(alias["globs"])) for alias in data["aliases"]),
        paths={name: frozenset(values) for name, values in data["paths"].items()},
        protections=tuple(_protection(table) for table in data["protected"]),
        test_directories=frozenset(data["tests"]["directories"]),
        tests_beside=frozenset(data["tests"]["beside"]),
        test_names=tuple(TestNames(frozenset(t["extensions"]), tuple(t["names"])) for t in data["tests"]["patterns"]),
        languages_of=data["languages_of"],
        sizes={Size(name): _size(table) for name, table in data["budgets"]["sizes"].items()},
    )


def _phrase_forms(actions: Mapping[str, Any]) -> dict[str, str]:
    """The forms of verbs of several words: "set up", "sets up", "setting up"."""
    found: dict[str, str] = {}
    for name, table in actions.items():
        for phrase in table["phrases"]:
            first, *rest = phrase.split()
            found.update((" ".join([form, *rest]), name) for form in verb_forms(first))
    return found


def _word_sets(data: Mapping[str, Any]) -> tuple[dict[str, frozenset[str]], dict[str, Phrases]]:
    """Every list of words of the tables that are nothing but lists, by "table.name": as a set, and as phrases."""
    words: dict[str, frozenset[str]] = {}
    phrases: dict[str, Phrases] = {}
    for table in ("words", "defects", "negation", "constraints", "phases", "tables", "paths", "languages"):
        for name, values in data[table].items():
            words[f"{table}.{name}"] = frozenset(values)
            phrases[f"{table}.{name}"] = Phrases(values)
    for name in ("strong", "weak", "subjects"):
        words[f"budgets.{name}"] = frozenset(data["budgets"][name])
        phrases[f"budgets.{name}"] = Phrases(data["budgets"][name])
    # Compared as stems: "crashes" and "crash" are the same sign.
    for name in (
        "defects.words",
        "negation.forbidden",
        "negation.touch",
        "negation.things",
        "paths.generic",
        "paths.cues",
        "words.stop",
    ):
        words[name] |= _stemmed(words[name])
    return words, phrases


def _stemmed(words: Iterable[str]) -> frozenset[str]:
    return frozenset(stem(word) for word in words)


def _signs(table: Mapping[str, Any]) -> CategorySigns:
    return CategorySigns(
        table["weight"],
        frozenset(table["labels"]),
        Phrases(table["objects"], stemmed=True),
        Phrases(table["signs"], stemmed=True),
        tuple(table["paths"]),
    )


def _protection(table: Mapping[str, Any]) -> Protection:
    return Protection(
        tuple(table["globs"]),
        tuple(table.get("except", ())),
        Policy(table["policy"]),
        frozenset(Category(name) for name in table.get("categories", ())),
        table["reason"],
    )


def _size(table: Mapping[str, int]) -> SizeLimits:
    return SizeLimits(
        table["deliverables"], table["files"], table["tokens"], table["cost_usd"] * 1_000_000, table["minutes"] * 60
    )


@cache
def knowledge() -> Knowledge:
    """The registry that ships with the package."""
    return parse_knowledge(files("autopack_toolchain").joinpath("data/plan.toml").read_text("utf-8"))
