"""Every ecosystem whose rules are conventions: markers make projects, projects have managers and usual commands.

The conventions are data (``data/conventions.toml``); this reads them. Code of an ecosystem that needs more uses
:func:`steps_by_rules` for the part that is data all the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

from autopack_kit.commands import Command

from .model import Candidate, Evidence, StepKind
from .places import nearest
from .registry import Ecosystem, Language, ProjectRule, StepRule
from .search import captured, count_text, find_text
from .workspace import Workspace, join, parents

__all__ = ["detect_conventional", "detect_languages", "owned_tests", "present", "steps_by_rules"]

_LOCK_WEIGHT = 0.9


def detect_conventional(workspace: Workspace) -> Iterator[Candidate]:
    """All candidates for the ecosystems that have project rules."""
    for ecosystem in workspace.registry.ecosystems.values():
        if ecosystem.projects:
            yield from _detect(workspace, ecosystem)


def _detect(workspace: Workspace, ecosystem: Ecosystem) -> Iterator[Candidate]:
    marks = _marks(workspace, ecosystem)
    projects = sorted(directory for directory in marks if not _absorbed(ecosystem, directory, marks))
    tests = owned_tests(workspace, ecosystem, projects)
    for directory in projects:
        mine = list(marks[directory].values())
        locks = [name for name in ecosystem.locks if workspace.has(directory, name)]
        held = [Evidence(join(directory, name), 0, "lock file", _LOCK_WEIGHT) for name in locks]
        yield Candidate(directory, ecosystem.name, (*(evidence for _, evidence in mine), *held))
        for rule, evidence in mine:
            if rule.manager:
                version = _version(workspace, directory, rule)
                yield Candidate(directory, ecosystem.name, (evidence,), manager=rule.manager, version=version)
        for name, evidence in zip(locks, held, strict=True):
            yield Candidate(directory, ecosystem.name, (evidence,), manager=ecosystem.locks[name])
        manifests = [evidence.path for _, evidence in mine]
        yield from steps_by_rules(workspace, directory, ecosystem, manifests, tests[directory])


def _marks(workspace: Workspace, ecosystem: Ecosystem) -> dict[str, dict[str, tuple[ProjectRule, Evidence]]]:
    """For each directory its markers, each with the first rule that holds for it."""
    places = [(rule, list(_marked(workspace, rule.markers))) for rule in ecosystem.projects]
    kept = set(nearest(directory for _, found in places for directory, _ in found))
    marks: dict[str, dict[str, tuple[ProjectRule, Evidence]]] = defaultdict(dict)
    for rule, pairs in places:
        for directory, path in pairs:
            known = directory not in kept or path in marks.get(directory, {})
            if not known and (evidence := _evidence(workspace, directory, rule, path)):
                marks[directory][path] = (rule, evidence)
    return marks


def _marked(workspace: Workspace, markers: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(directory of the project, path of the marker)."""
    for marker in markers:
        inner, _, name = marker.rpartition("/")
        paths = [join(d, name) for d in workspace.directories_with(name)]
        if "*" in name:
            extension = f".{name.rpartition('.')[2]}"
            paths = [p for p in workspace.ending(extension) if fnmatchcase(p.rpartition("/")[2], name)]
        for path in paths:
            directory = path.rpartition("/")[0] or "."
            if not inner:
                yield directory, path
            elif directory.rpartition("/")[2] == inner:
                yield directory.rpartition("/")[0] or ".", path


def _evidence(workspace: Workspace, directory: str, rule: ProjectRule, path: str) -> Evidence | None:
    if present(workspace, directory, rule.unless):
        return None
    line = 0
    if rule.text and not (line := find_text(workspace, path, rule.text)[0]):
        return None
    return Evidence(path, line, path.rpartition("/")[2], rule.weight)


def _absorbed(ecosystem: Ecosystem, directory: str, projects: Collection[str]) -> bool:
    """Whether a project above has this one as a part."""
    for above in parents(directory):
        if above in projects:
            first = (directory if above == "." else directory.removeprefix(f"{above}/")).partition("/")[0]
            if any(name in {"*", first} for name in ecosystem.absorbs):
                return True
    return False


def _version(workspace: Workspace, directory: str, rule: ProjectRule) -> str:
    if not rule.version:
        return ""
    name, pattern = rule.version
    return captured(workspace, join(directory, name), pattern)[0]


def owned_tests(workspace: Workspace, ecosystem: Ecosystem, projects: Iterable[str]) -> dict[str, list[str]]:
    """Test files of an ecosystem by the nearest of its projects above them, sorted."""
    found: dict[str, set[str]] = {directory: set() for directory in projects}
    for pattern in ecosystem.tests if found else ():
        inner, _, name = pattern.rpartition("/")
        paths = [join(d, name) for d in workspace.directories_with(name)]
        if "*" in name:
            extension = f".{name.rpartition('.')[2]}"
            paths = [p for p in workspace.ending(extension) if fnmatchcase(p.rpartition("/")[2], name)]
        for path in paths:
            owner = next((above for above in parents(path) if above in found), None)
            if owner is not None and (not inner or inner in path.removeprefix(f"{owner}/").split("/")[:-1]):
                found[owner].add(path)
    return {owner: sorted(paths) for owner, paths in found.items()}


# steps


def steps_by_rules(
    workspace: Workspace, directory: str, ecosystem: Ecosystem, manifests: Sequence[str], tests: Sequence[str]
) -> Iterator[Candidate]:
    """Candidates for the steps whose conditions hold. ``manifests`` are paths, ``tests`` the project's test files."""
    for rule in ecosystem.steps:
        found = _conditions(workspace, directory, rule, manifests, tests, ecosystem.locks)
        if found is None:
            continue
        evidence, file = found
        words = {"{file}": file, "{manifest}": manifests[0].rpartition("/")[2] if manifests else ""}
        yield Candidate(
            directory,
            ecosystem.name,
            (evidence,),
            kind=rule.kind,
            command=Command.of(*(words.get(word, word) for word in rule.argv), cwd=directory),
            only_with=rule.managers,
            source=rule.source,
        )


def _conditions(
    workspace: Workspace,
    directory: str,
    rule: StepRule,
    manifests: Sequence[str],
    tests: Sequence[str],
    locks: Collection[str],
) -> tuple[Evidence, str] | None:
    """The strongest observation behind a step and the file it names; None if a condition does not hold."""
    if (rule.tests and not tests) or present(workspace, directory, rule.unless):
        return None
    file = present(workspace, directory, rule.files)
    if rule.files and not file:
        return None
    if rule.text:
        paths = [join(directory, n) for name in rule.inside if (n := present(workspace, directory, (name,)))]
        for path in paths if rule.inside else (p for p in manifests if p.rpartition("/")[2] not in locks):
            line, text = find_text(workspace, path, rule.text)
            if line and not (rule.once and count_text(workspace, path, rule.text) > 1):
                return Evidence(path, line, text, rule.weight), file
        return None
    if rule.tests:
        return Evidence(tests[0], 0, "test file", rule.weight), file
    if rule.files:
        return Evidence(join(directory, file), 0, file, rule.weight), file
    if not manifests:
        return None
    return Evidence(manifests[0], 0, manifests[0].rpartition("/")[2], rule.weight), file


def present(workspace: Workspace, directory: str, patterns: Iterable[str]) -> str:
    """The first file that one of the patterns names, relative to the directory; empty if there is none."""
    for pattern in patterns:
        inner, _, name = pattern.rpartition("/")
        if "*" not in name:
            if workspace.has(directory, pattern):
                return pattern
            continue
        names = workspace.names(join(directory, inner) if inner else directory)
        matching = sorted(n for n in names if fnmatchcase(n, name) and not n.startswith("-"))
        if matching:
            return f"{inner}/{matching[0]}" if inner else matching[0]
    return ""


# languages without a manifest


def detect_languages(workspace: Workspace, found: Iterable[Candidate]) -> Iterator[Candidate]:
    """The language of a tree in which nothing else was found outside of side directories; it may have no manager."""
    sides = workspace.registry.side_directories
    if any(sides.isdisjoint(candidate.workdir.split("/")) for candidate in found):
        return
    sources = {
        language.extensions: [p for e in language.extensions for p in workspace.ending(e) if not _is_aside(p, sides)]
        for language in workspace.registry.languages
    }
    present_now = [language for language in workspace.registry.languages if sources[language.extensions]]
    if not present_now:
        return
    page = any(path.rpartition("/")[2] == "index.html" for path in sources.get((".html", ".htm"), ()))

    def files(language: Language) -> float:
        started = any(workspace.has(".", entry) for entry in language.entries)
        return _files(language, sources[language.extensions], page) + started

    best = max(present_now, key=files)
    share = len(sources[best.extensions]) / sum(map(len, sources.values()))
    yield from _language(workspace, best, sorted(sources[best.extensions]), 0.6 if share > 0.5 else 0.45)


def _is_aside(path: str, sides: frozenset[str]) -> bool:
    """Whether a file is part of the tooling or of an example."""
    parts = path.split("/")[:-1]
    return any(part.startswith(".") for part in parts) or not sides.isdisjoint(parts)


def _files(language: Language, paths: Sequence[str], page: bool) -> float:
    """Number of files; scripts of a page are parts of it, and shell scripts start other things."""
    if page and language.ecosystem == "node":
        return 0.0
    return len(paths) / 2 if language.ecosystem in {"shell", "html"} else len(paths)


def _language(workspace: Workspace, language: Language, paths: Sequence[str], weight: float) -> Iterator[Candidate]:
    entry = next((name for name in language.entries if workspace.has(".", name)), "")
    evidence = Evidence(entry or paths[0], 0, f"{language.ecosystem} source without a manifest", weight)
    yield Candidate(".", language.ecosystem, (evidence,))
    if language.manager:
        yield Candidate(".", language.ecosystem, (evidence,), manager=language.manager)
    if entry and language.run:
        argv = [entry if word == "{file}" else word for word in language.run]
        started = Evidence(entry, 0, "entry file", 0.5)
        yield Candidate(".", language.ecosystem, (started,), kind=StepKind.RUN, command=Command.of(*argv))
