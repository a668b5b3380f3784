"""Where a phase works: the paths that its text names, else the words that name directories and files, else what else it
says.

Explicit beats guessed: where a deliverable names a path, its words are not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..model import Evidence
from .clauses import masked
from .deliverables import Draft, object_of
from .forbidden import allows_only, forbid, forbid_objects
from .knowledge import Knowledge
from .layout import Layout, Match, parent_of
from .located import Located
from .mentions import Mention, find_mentions
from .model import Part, Role
from .named import NAMED, refer, take
from .places import find_places
from .statements import Sense, Statement
from .testfiles import new_test_place, test_roots, tests_of
from .words import words_of

__all__ = ["CodeBlock", "PhaseText", "add_aliases", "is_test_draft", "locate"]

BY_ALIAS = 0.8
"""How surely a word such as "README" means the file of that name."""

BY_TEXT = 0.6
"""... a path that stands elsewhere in the text is meant."""

BY_TRACEBACK = 0.65
"""... the last own file of a stack trace is where the defect is."""

BY_TESTS = 0.7
"""... the tests of a file are those that carry its name."""

_EXPLICIT = 0.9
"""From here on a deliverable says itself where it belongs."""

_WEAK = 0.5
"""A file that is guessed less surely than this widens to its directory: too narrow a scope costs the run, too wide a
one a look.
"""

MAX_FILES = 5
"""Files taken for one word, and files whose tests are looked for."""

MAX_ROOTS = 2
"""Directories of tests that are all taken where nothing says which."""

_CONTEXT = 2_000
"""Characters of title and deliverables that decide between places of one name."""

_CODE_TAIL = 8_000
"""Characters of the end of a code block that are looked at: where a stack trace says what failed."""


@dataclass(frozen=True, slots=True)
class CodeBlock:
    """A block of code or output in the text; never a source of deliverables."""

    text: str
    number: int


@dataclass(frozen=True, slots=True)
class PhaseText:
    """What the text says about one phase; ``numbers``: line of the text by index of the logical line."""

    title: str
    title_number: int
    drafts: Sequence[Draft]
    statements: Sequence[Statement]
    code: Sequence[CodeBlock]
    numbers: Sequence[int]


def is_test_draft(draft: Draft, known: Knowledge) -> bool:
    """Whether it asks for tests and nothing else."""
    head, _ = object_of(draft.text, known)
    about_tests = bool(head) and head[-1] in ("test", "coverag", "fuzz")
    return draft.action == "test" or (about_tests and draft.action in ("create", "change", ""))


def locate(text: PhaseText, layout: Layout, known: Knowledge) -> Located:
    """Everything that the text of a phase says about where it works."""
    return _Locator(text, layout, known).run()


def add_aliases(globs: Sequence[str], subject: str, evidence: Evidence, found: Located) -> float:
    """Takes what the first of the globs that matches something stands for; how sure that is, 0 if none does."""
    for glob in globs:
        root = glob.strip("/*")
        if glob.endswith("/**") and found.layout.is_directory(root):
            found.add_path(root, BY_ALIAS, "WELL_KNOWN_NAME", subject, evidence)
            return BY_ALIAS
        hits = [] if glob.endswith("/**") else found.layout.named_like(glob)
        hits = [path for path in hits if not found.layout.is_side(path)]
        if hits:
            top = min(path.count("/") for path in hits)
            for path in [path for path in hits if path.count("/") == top][:MAX_FILES]:
                found.add_path(path, BY_ALIAS, "WELL_KNOWN_NAME", subject, evidence)
            return BY_ALIAS
    return 0.0


class _Locator:
    def __init__(self, text: PhaseText, layout: Layout, known: Knowledge) -> None:
        self._text = text
        self._layout = layout
        self._known = known
        self._found = Located(layout)
        self._context = " ".join([text.title, *(draft.text for draft in text.drafts)])[:_CONTEXT]

    def run(self) -> Located:
        for statement in self._text.statements:
            if statement.sense is Sense.NON_GOAL:
                self._only(
                    forbid(statement.text, self._evidence(statement), self._found, self._known),
                    self._evidence(statement),
                )
            elif statement.sense is Sense.EXCEPTION:
                forbid_objects(statement.text, self._evidence(statement), self._found, self._known)
        for position, draft in enumerate(self._text.drafts):
            self._found.sure[position] = self._draft(draft)
        own = dict(self._found.sure)
        for statement in self._text.statements:
            self._statement(statement)
        if not self._found.include:
            self._title()
        if not self._found.exclusive and min(self._found.sure.values(), default=0.0) < _EXPLICIT:
            self._anywhere()
        self._code()
        self._words(own)
        self._tests()
        self._contradictions()
        if self._found.exclusive:
            self._found.sure = dict.fromkeys(self._found.sure, NAMED)
        return self._found

    def _draft(self, draft: Draft) -> float:
        """Takes the places of a deliverable; how sure they are."""
        evidence = Evidence("", self._number(draft.line), draft.signal, round(draft.confidence, 4))
        test = is_test_draft(draft, self._known)
        source = " ; ".join(filter(None, (draft.text, draft.places, *draft.details)))
        before = len(self._found.include)
        sure = 0.0
        # A new file without a directory last: it belongs beside the others.
        for mention in sorted(find_mentions(source, self._layout, self._known), key=_is_bare):
            if mention.reference:
                refer(self._found, mention, evidence, "REFERENCED")
            elif test and self._is_source(mention):
                self._found.tests_of.update(dict.fromkeys(mention.resolution.paths, evidence))
                sure = max(sure, BY_TESTS)
            else:
                sure = max(sure, take(self._found, mention, evidence, action=draft.action))
        if not sure and not test:
            sure = self._aliases(draft.text, evidence)
        if test and len(self._found.include) == before:
            self._found.wants_tests.append(evidence)
        return sure

    def _is_source(self, mention: Mention) -> bool:
        """Whether it is what is tested, and not a test."""
        existing = mention.resolution.match in (Match.FILE, Match.DIRECTORY)
        return existing and not all(self._layout.is_side(path) for path in mention.resolution.paths)

    def _aliases(self, text: str, evidence: Evidence) -> float:
        """ "README", "changelog", "CI": what every repository names alike, as an object or behind a preposition."""
        words = words_of(masked(text))
        sure = 0.0
        for phrases, globs in self._known.aliases:
            named = next(phrases.find(words), None)
            if named is not None:
                sure = max(
                    sure, add_aliases(globs, " ".join(words[named[0] : named[0] + named[2]]), evidence, self._found)
                )
        return sure

    def _words(self, own: Mapping[int, float]) -> None:
        """For deliverables without a path: the directories and files that their words name, else those of the title's
        words.
        """
        if self._found.exclusive:
            return
        named = bool(self._found.include or self._layout.planned)
        for position, draft in enumerate(self._text.drafts):
            if not own[position]:
                evidence = Evidence("", self._number(draft.line), draft.signal, round(draft.confidence, 4))
                test = is_test_draft(draft, self._known)
                sure = self._place(draft.text, evidence, named=named, test=test)
                self._found.sure[position] = max(sure, self._found.sure[position])
        if not self._found.include and not self._found.tests_of:
            evidence = Evidence("", self._text.title_number, "title", BY_ALIAS)
            sure = self._place(self._text.title, evidence, named=False, test=False)
            self._found.sure = {position: known or sure for position, known in self._found.sure.items()}

    def _place(self, text: str, evidence: Evidence, *, named: bool, test: bool) -> float:
        first = words_of(text)[:1]
        skip = (*(first if self._known.action_of(first) else ()), "test", "docs")
        places = find_places(text, self._layout, self._known, skip=skip, context=self._context)
        for place in places:
            path = place.path
            if test and not self._layout.is_side(path):
                self._found.tests_of[path] = evidence
                continue
            # A weak guess beside named paths stays narrow; alone it takes in what lies around it.
            if not named and not place.directory and place.confidence < _WEAK and parent_of(path) != ".":
                path = parent_of(path)
            self._found.add_path(path, place.confidence, "WORDS_NAME_IT", place.words, evidence)
        return max((place.confidence for place in places), default=0.0)

    def _statement(self, statement: Statement) -> None:
        """Sections that list files, pointers, checks, and "only change ..."."""
        evidence = self._evidence(statement)
        source = f"{statement.text} {statement.places}".strip()
        match statement.sense:
            case Sense.LOCATION:
                mentions = find_mentions(source, self._layout, self._known)
                for mention in mentions:
                    take(self._found, mention, evidence)
                for place in [] if mentions else find_places(source, self._layout, self._known):
                    self._found.add_path(place.path, place.confidence, "WORDS_NAME_IT", place.words, evidence)
            case Sense.REFERENCE | Sense.VALIDATION | Sense.ACCEPTANCE:
                reason = "REFERENCED" if statement.sense is Sense.REFERENCE else "NAMED_IN_CHECKS"
                for mention in find_mentions(source, self._layout, self._known):
                    refer(self._found, mention, evidence, reason)
            case Sense.CONSTRAINT | Sense.CONTEXT | Sense.DEFECT | Sense.EXPECTED:
                mentions = find_mentions(source, self._layout, self._known)
                if mentions and allows_only(source) and statement.sense in (Sense.CONSTRAINT, Sense.CONTEXT):
                    self._only(mentions, evidence)
                for mention in mentions:
                    refer(self._found, mention, evidence, "REFERENCED" if mention.reference else "NAMED_IN_TEXT")
            case _:
                pass

    def _only(self, mentions: Sequence[Mention], evidence: Evidence) -> None:
        """Nothing outside of these may change."""
        usable = (Match.FILE, Match.DIRECTORY, Match.PATTERN, Match.NEW, Match.NEW_DIRECTORY)
        kept = [mention for mention in mentions if mention.resolution.match in usable]
        if not kept:
            return
        if not self._found.exclusive:
            for glob in self._found.include:
                self._found.decide(Part.SCOPE, glob, "", "OUTSIDE_OF_THE_ONLY_PLACE", (evidence,))
            self._found.include.clear()
            self._found.exclusive = True
        for mention in kept:
            take(self._found, mention, evidence)

    def _title(self) -> None:
        evidence = Evidence("", self._text.title_number, "title", BY_ALIAS)
        for mention in find_mentions(self._text.title, self._layout, self._known):
            if not mention.reference:
                take(self._found, mention, evidence)
        self._raise_sure()

    def _anywhere(self) -> None:
        """Paths elsewhere in the text, unless each deliverable names its own: where a defect is described, its file is
        named.
        """
        named = bool(self._found.include)
        for statement in self._text.statements:
            told = statement.sense in (Sense.DEFECT, Sense.CONTEXT, Sense.EXPECTED)
            if told and statement.role not in (Role.REPRODUCTION, Role.IGNORED, Role.DEPENDENCIES):
                for mention in find_mentions(statement.text, self._layout, self._known):
                    if not mention.reference and mention.resolution.match in (Match.FILE, Match.DIRECTORY):
                        take(self._found, mention, self._evidence(statement), sure=BY_TEXT)
        if not named:
            self._raise_sure()

    def _raise_sure(self) -> None:
        best = max((glob.confidence for glob in self._found.include.values()), default=0.0)
        self._found.sure = {position: max(sure, best) for position, sure in self._found.sure.items()}

    def _code(self) -> None:
        """Paths in code and output: the place of the defect where nothing else says it, and something to read."""
        for block in self._text.code:
            evidence = Evidence("", block.number, "code block", BY_TRACEBACK)
            output = re.sub(r"[\"'(),`]", " ", block.text[-_CODE_TAIL:])
            mentions = find_mentions(output, self._layout, self._known)
            paths = [m.resolution.paths[0] for m in mentions if m.resolution.match is Match.FILE]
            own = [path for path in paths if not self._layout.is_side(path)]
            if own and not self._found.include:
                self._found.add_path(own[-1], BY_TRACEBACK, "LAST_IN_STACK_TRACE", own[-1], evidence)
                self._raise_sure()
            for path in paths:
                self._found.read(path, "NAMED_IN_CODE", evidence)

    def _tests(self) -> None:
        """Where tests that are asked for belong."""
        found = self._found
        if found.wants_tests and not found.tests_of:
            files = [
                path for path in found.places() if not self._layout.is_side(path) and found.confidence(path) >= _WEAK
            ]
            found.tests_of.update(dict.fromkeys(files[:MAX_FILES], found.wants_tests[0]))
        for path, evidence in found.tests_of.items():
            self._tests_of(path, evidence)
        if found.wants_tests and not found.tests_of and not found.exclusive:
            roots = test_roots(self._layout, self._known)
            # Of many the one with the most tests: the others are those of side projects.
            for root in roots if len(roots) <= MAX_ROOTS else [max(roots, key=lambda r: self._layout.counts[r])]:
                found.add_path(root, BY_TESTS, "TESTS_BELONG_THERE", root, found.wants_tests[0])
        for position, draft in enumerate(self._text.drafts):
            if is_test_draft(draft, self._known) and found.include:
                found.sure[position] = max(found.sure[position], BY_TESTS)

    def _tests_of(self, path: str, evidence: Evidence) -> None:
        found = self._found
        tests = tests_of(path, self._layout, self._known)
        for test in tests:
            found.add_path(test.rstrip("/"), BY_TESTS, "TESTS_OF_IT", path, evidence)
        place = None if tests else new_test_place(path, self._layout, self._known)
        if place is not None:
            found.add_path(place[0], BY_TESTS, "TESTS_BELONG_THERE", path, evidence)
            if not place[1]:
                found.new_files[place[0]] = True
        if path not in found.places():
            found.read(path, "TESTED", evidence)

    def _contradictions(self) -> None:
        for glob in [glob for glob in self._found.include if glob in self._found.exclude]:
            del self._found.include[glob]
            lines = ", ".join(str(item.line) for item in self._found.exclude[glob].evidence)
            message = f"{glob} is asked for and must not change (line {lines}); it is left out."
            self._found.warn("CONTRADICTION", f"{message} Delete one of the two from the text.", glob)

    def _evidence(self, statement: Statement) -> Evidence:
        return Evidence("", self._number(statement.line), statement.sense.name.lower().replace("_", " "), 1.0)

    def _number(self, line: int) -> int:
        return self._text.numbers[line] if line >= 0 else self._text.title_number


def _is_bare(mention: Mention) -> bool:
    return mention.resolution.match is Match.NEW and "/" not in mention.resolution.paths[0]
