"""change_cwd, set_python_path: the command runs where the files it needs are not."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from autopack_kit.safe_actions import is_movable

from autopack_hardening.core.matching import Hit, command_line
from autopack_hardening.core.model import (
    Action,
    ChangeCwd,
    DirectoryExists,
    FileExists,
    Mitigation,
    PathAbsent,
    Precondition,
    Risk,
    SetEnv,
    Suggestion,
)
from autopack_hardening.core.rules.context import Context, Finding, Parameters, Resolver, distinct, printable, telling
from autopack_hardening.core.rules.local import is_own, likely_roots, python_roots
from autopack_hardening.core.workspace import join, relative_to

__all__ = ["CHANGE_CWD", "SET_PYTHON_PATH"]

# Several directories qualify: the reading stands, the choice is not ours.
_AMBIGUOUS = 0.9
# No file list, or no such file anywhere: then it may as well be a file that was never written.
_UNCONFIRMED = 0.9
_MAX_SHOWN = 5
_OTHER_TESTS = "elsewhere the command may find other tests"
# What runs the tests that it finds from where it runs.
_FINDS_TESTS = re.compile(r"(?:^|[\s/])(?:pytest|unittest|jest|vitest|mocha|ctest|rspec|phpunit|tox|nox|tests?)(?!\S)")


def _change_cwd(parameters: Parameters, hits: Sequence[Hit], context: Context) -> Finding | None:
    """``manifest``: file names, ``|`` between alternatives, of which the directory must have one. Without it the
    captures are read: ``manifest`` (the same), ``path`` (as the command was given it).

    Finds the one directory in which everything that was missing exists. If it is in the cwd, the pattern did not match.
    """
    if "manifest" in parameters:
        return _missing_manifest(parameters["manifest"].split("|"), telling(hits), context)
    manifests, paths = distinct(hits, "manifest"), distinct(hits, "path")
    if paths:
        return _missing_paths({_as_given(path, context): hit for path, hit in paths.items()}, context)
    if manifests:
        name, hit = next(iter(manifests.items()))
        return _missing_manifest(name.split("|"), hit, context)
    return Finding(telling(hits))


def _set_python_path(parameters: Parameters, hits: Sequence[Hit], context: Context) -> Finding | None:
    """Reads the capture ``module``. If that is not a module of the project, the pattern did not match."""
    return _own_module(distinct(hits, "module"), context)


def _missing_manifest(names: Sequence[str], hit: Hit, context: Context) -> Finding | None:
    names = [posixpath.basename(name) for name in names]
    places = {name: context.workspace.directories_with(name) for name in names}
    if any(context.cwd in found for found in places.values()):
        return None
    if _is_missed_where_told(names, hit, context):
        return Finding(hit)
    targets = {place: name for name in reversed(names) for place in places[name]}
    return _finding(targets, " or ".join(names), hit, context)


def _is_missed_where_told(names: Sequence[str], hit: Hit, context: Context) -> bool:
    """Whether the file is missing in a directory that the command names: then it would be in every other place."""
    words = {posixpath.normpath(word) for word in context.words[1:] if word and not word.startswith(("-", "/"))}
    return any(f"/{word}/{name}".encode() in hit.excerpt for word in words - {"."} for name in names)


def _missing_paths(paths: dict[str, Hit], context: Context) -> Finding | None:
    hit = next(iter(paths.values()))
    wanted = [path for path in paths if path and not path.startswith(("/", ".."))]
    if any(context.workspace.exists(join(context.cwd, path)) for path in wanted):
        return None
    if len(wanted) < len(paths):
        return Finding(hit, certainty=_UNCONFIRMED)
    common = set.intersection(*(set(context.workspace.directories_with(path)) for path in wanted))
    found = _finding(dict.fromkeys(common, wanted[0]), ", ".join(wanted), hit, context)
    if not found.mitigation.automatic or _names(wanted, context):
        return found
    # That others pass would prove nothing of those that failed.
    return replace(found, mitigation=replace(found.mitigation, automatic=False, consent_reason=_OTHER_TESTS))


def _names(paths: Sequence[str], context: Context) -> bool:
    """Whether the command names one of ``paths``, or finds no tests by where it runs."""
    if _FINDS_TESTS.search(command_line(context.failure.command)) is None:
        return True
    given = {posixpath.normpath(word.partition("::")[0]) for word in context.words[1:] if word}
    return not given.isdisjoint(paths)


def _own_module(modules: dict[str, Hit], context: Context) -> Finding | None:
    for module, hit in modules.items():
        top = module.partition(".")[0]
        if top in context.names.standard_library or not is_own(module, context):
            continue
        roots = python_roots(top, context.workspace)
        if len(roots) > 1:
            roots = [root for root in roots if root in likely_roots(context)] or roots
        if not roots or not _is_importable(module, roots, context):
            continue
        if len(roots) > 1:
            return Finding(hit, _advice(roots, module), _AMBIGUOUS)
        root = roots[0]
        if _runs_module(module, context):
            return _finding({root: ""}, module, hit, context) if root != context.cwd else None
        return _search_path(root, module, hit, context)
    return None


def _is_importable(module: str, roots: Sequence[str], context: Context) -> bool:
    """Whether the whole dotted name exists; else the code asks for a module that nobody wrote."""
    path = module.replace(".", "/")
    names = (f"{path}.py", f"{path}/__init__.py", f"{path}/__main__.py")
    return any(join(root, name) in context.workspace.files for root in roots for name in names)


def _runs_module(module: str, context: Context) -> bool:
    words = context.words
    return any(pair == ("-m", module) for pair in pairwise(words))


def _search_path(root: str, module: str, hit: Hit, context: Context) -> Finding | None:
    command = context.failure.command
    if command is None:
        return Finding(hit, _advice([root], module), _UNCONFIRMED)
    entry = relative_to(root, context.cwd)
    before = command.env.get("PYTHONPATH", "")
    if entry in before.split(":"):
        return None
    path = f"{entry}:{before}" if before else entry
    action = Action(SetEnv({"PYTHONPATH": path}), (DirectoryExists(root),))
    text = f"{printable(module)} is the project's own, in {root!r}. An editable install of the project settles it."
    known = root in likely_roots(context)
    reason = "" if known else f"{root!r} is no usual place to import from; another module may be meant"
    mitigation = Mitigation((action,), (Suggestion(text),), Risk.NONE, automatic=known, consent_reason=reason)
    return Finding(hit, mitigation, 1.0, {"directory": root})


def _finding(targets: dict[str, str], what: str, hit: Hit, context: Context) -> Finding:
    """The finding for the directories in ``targets``, each with the file that speaks for it."""
    targets = {place: name for place, name in targets.items() if place != context.cwd}
    if len(targets) != 1 or context.failure.command is None:
        certainty = _AMBIGUOUS if targets else _UNCONFIRMED
        return Finding(hit, _advice(sorted(targets), what), certainty)
    place, name = next(iter(targets.items()))
    reason = _unmoved(place, context)
    if not reason and not is_movable(command_line(context.failure.command)):
        reason = f"in {place!r} the command may take away, or change, something else"
    preconditions: list[Precondition] = [DirectoryExists(place)]
    if name:
        target = join(place, name)
        preconditions.append(FileExists(target) if target in context.workspace.files else DirectoryExists(target))
        preconditions.append(PathAbsent(join(context.cwd, name)))
    mitigation = Mitigation(
        actions=(Action(ChangeCwd(place), tuple(preconditions)),),
        risk=Risk.NONE,
        automatic=not reason,
        consent_reason=reason,
    )
    return Finding(hit, mitigation, 1.0, {"directory": place})


def _unmoved(place: str, context: Context) -> str:
    """Why the command would not be the same one in ``place``: a path among its words that means something else there.

    That is one that exists only where it ran, and, of those that can be nothing but paths, one that exists in both
    places or, as far as is known, in neither.
    """
    for number, word in enumerate(context.words):
        path = word.partition("::")[0]
        is_path = "/" in path if number == 0 else not path.startswith("-")
        if not is_path or path.startswith("/") or path in ("", "."):
            continue
        is_here = number == 0 or context.workspace.exists(join(context.cwd, path))
        is_there = context.workspace.exists(join(place, path))
        if is_here and not is_there:
            return f"the command also names {printable(path)!r}, which exists in {context.cwd!r} and not in {place!r}"
        if number > 0 and is_here == is_there and _is_surely_path(path):
            return f"the command also names {printable(path)!r}, which may be something else in {place!r}"
    return ""


def _is_surely_path(word: str) -> bool:
    """Whether a word can be nothing else: no package, address, expression or pattern."""
    return word.startswith(("./", "../")) and not word.endswith("...") and not set("*?$").intersection(word)


def _advice(places: Sequence[str], what: str) -> Mitigation:
    what = printable(what)
    if not places:
        return Mitigation()  # the pattern says what to do
    shown = ", ".join(places[:_MAX_SHOWN]) + (", ..." if len(places) > _MAX_SHOWN else "")
    text = f"{what} was not found here, but exists in: {shown}. Run the command there."
    return Mitigation(suggestions=(Suggestion(text),), risk=Risk.NONE)


def _as_given(path: str, context: Context) -> str:
    """The path as a word of the command had it: tools report it absolute, the command often names it relative."""
    path = path.partition("::")[0]
    if not path.startswith("/"):
        return posixpath.normpath(path)
    given = [word.partition("::")[0] for word in context.words]
    fitting = [posixpath.normpath(word) for word in given if word and path.endswith("/" + posixpath.normpath(word))]
    return max(fitting, key=len, default=path)


CHANGE_CWD = Resolver(_change_cwd, optional=("manifest",))
SET_PYTHON_PATH = Resolver(_set_python_path)
