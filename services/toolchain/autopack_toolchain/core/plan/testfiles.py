"""Where the tests of a file or a directory stand, by the names that languages give them."""

from __future__ import annotations

from collections.abc import Iterator

from .knowledge import Knowledge
from .layout import Layout, parent_of

__all__ = ["new_test_place", "test_roots", "tests_of"]

MAX_TESTS = 5
"""Test files of one file at most: with more of that name the nearest are taken."""


def tests_of(path: str, layout: Layout, known: Knowledge) -> list[str]:
    """The test files of a file, or the directories of tests that mirror a directory; nearest first."""
    if layout.is_directory(path):
        name = path.rpartition("/")[2].lower()
        mirrored = [d for d in layout.directories_named(name) if layout.is_test(d) and d != path]
        return [f"{directory}/" for directory in sorted(mirrored, key=lambda d: (-_shared(d, path), d))[:MAX_TESTS]]
    directory = parent_of(path)
    named = [other for name in _names(path, known) for other in layout.files_named(name) if other != path]
    found = [other for other in named if parent_of(other) == directory or (_tests_for(other, layout, path))]
    beside = [name for name in layout.names_in(directory) if name in known.tests_beside]
    found += [name if directory == "." else f"{directory}/{name}" for name in beside]
    kept = [other for other in dict.fromkeys(found) if other != path]
    return sorted(kept, key=lambda other: (-_shared(other, path), other))[:MAX_TESTS]


def _tests_for(test: str, layout: Layout, path: str) -> bool:
    """Whether a directory of tests is one for the directory of a file: what holds the tests holds the file too."""
    above = test
    while above != "." and layout.is_test(above):
        above = parent_of(above)
    return above == "." or path.startswith(f"{above}/")


def new_test_place(path: str, layout: Layout, known: Knowledge) -> tuple[str, bool] | None:
    """(where a new test of a file belongs, whether that is a directory): beside it where tests are kept so, else the
    nearest root.
    """
    if not any(True for _ in _names(path, known)) and not layout.is_directory(path):
        return None
    directory = parent_of(path)
    siblings = layout.names_in(directory)
    extension = path.rpartition(".")[2]
    for name in _names(path, known):
        mark = name.replace(_stem(path), "", 1)
        if extension == "go" or any(
            sibling.endswith(mark) and sibling != name and len(mark) > len(extension) + 1 for sibling in siblings
        ):
            return (name if directory == "." else f"{directory}/{name}"), False
    mirrored = tests_of(directory, layout, known) if layout.is_directory(directory) and directory != "." else []
    if mirrored:
        return mirrored[0].rstrip("/"), True
    roots = test_roots(layout, known)
    if not roots:
        return None
    return max(roots, key=lambda root: (_common(root, path), -root.count("/"), root)), True


def test_roots(layout: Layout, known: Knowledge) -> list[str]:
    """The topmost directories of tests."""
    roots = [d for name in known.test_directories for d in layout.directories_named(name)]
    return sorted(d for d in roots if not layout.is_test(parent_of(d)))


def _stem(path: str) -> str:
    return path.rpartition("/")[2].rpartition(".")[0]


def _names(path: str, known: Knowledge) -> Iterator[str]:
    stem = _stem(path)
    extension = path.rpartition(".")[2]
    if not stem or stem.startswith("__"):
        return
    for names in known.test_names:
        if extension in names.extensions:
            for name in names.names:
                yield name.replace("{stem}", stem).replace("{ext}", extension)


def _shared(one: str, other: str) -> int:
    """Names of directories that two paths have in common."""
    return len(set(one.lower().split("/")[:-1] or [one.lower()]) & set(other.lower().split("/")))


def _common(root: str, path: str) -> int:
    count = 0
    for one, other in zip(parent_of(root).split("/"), path.split("/"), strict=False):
        if one != other:
            break
        count += 1
    return count
