"""The repository as a plan sees it: which files and directories there are, and which of them a path means."""

from __future__ import annotations

import fnmatch
import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Sequence
from copy import copy
from dataclasses import dataclass
from enum import Enum, auto

from ..registry import Registry
from .globs import matching
from .knowledge import Knowledge
from .words import name_words

__all__ = ["Layout", "Match", "Resolution", "parent_of"]

MAX_SAME_NAME = 3
"""Files of one name that are all taken where the text does not say which; with more of them it has to."""

MAX_GLOBS = 10
"""Different globs of one text that are looked up: each takes a second in a tree of 200,000 files."""

MAX_COMPARED = 1_000
"""Files or directories of one name that are compared with a path of the text."""

MAX_PATH = 400
"""Characters of a path in a text."""

_LINES = re.compile(
    r"(?::[0-9]{1,7}(?:[:-][0-9]{1,7})?|#L[0-9]{1,7}(?:-L?[0-9]{1,7})?|::[\w:\[\].-]*|\([0-9]{1,7}\))+$"
)
_PLAIN = re.compile(r"[\w.@+~()\[\]{}$ -]+")
_SHORT_EXTENSIONS = frozenset({"d", "m", "r", "s", "env", "name", "value"})
_MODULE_EXTENSIONS = ("py", "java", "kt", "scala", "cs", "ex", "rb", "ts", "js")


class Match(Enum):
    """What a path of the text is in the repository."""

    FILE = auto()
    DIRECTORY = auto()
    PATTERN = auto()
    NEW = auto()
    NEW_DIRECTORY = auto()
    AMBIGUOUS = auto()
    OUTSIDE = auto()
    PRUNED = auto()
    NOTHING = auto()


@dataclass(frozen=True, slots=True)
class Resolution:
    """``paths``: the files or directories, the pattern, the file to be created, or the candidates.

    ``known_parent``: of a file to be created, whether its directory is there.
    """

    match: Match
    paths: tuple[str, ...] = ()
    known_parent: bool = True


_NOTHING = Resolution(Match.NOTHING)


def parent_of(path: str) -> str:
    """The directory of a path, ``"."`` for the root."""
    return path.rpartition("/")[0] or "."


class Layout:
    """An index of the paths of a tree.

    Attributes:
        planned: files and directories that an earlier phase creates.
    """

    def __init__(self, paths: Sequence[str], registry: Registry, known: Knowledge) -> None:
        self.paths = paths
        self.planned: frozenset[str] = frozenset()
        self.files = frozenset(paths)
        self.counts = _counts(paths)
        self._registry = registry
        self._known = known
        self._by_name: dict[str, list[str]] = defaultdict(list)
        self._dirs_by_name: dict[str, list[str]] = defaultdict(list)
        self._names_in: dict[str, list[str]] = defaultdict(list)
        for path in paths:
            directory, _, name = path.rpartition("/")
            self._by_name[name.lower()].append(path)
            self._names_in[directory or "."].append(name)
        self._subdirectories: dict[str, list[str]] = defaultdict(list)
        for directory in self.counts:
            if directory != ".":
                self._dirs_by_name[directory.rpartition("/")[2].lower()].append(directory)
                self._subdirectories[parent_of(directory)].append(directory.rpartition("/")[2])
        self._resolved: dict[tuple[str, bool], Resolution] = {}
        self._globs: dict[str, Sequence[str]] = {}
        # Filled when first asked for, and shared with what `after` makes.
        self._by_words: dict[str, list[tuple[tuple[str, ...], str, bool]]] = {}
        self._by_extension: dict[str, set[str]] = {}

    def after(self, created: Collection[str]) -> Layout:
        """The same tree as it is expected to be once ``created`` is there."""
        later = copy(self)
        later.planned = self.planned | frozenset(created)
        later._resolved = {}
        return later

    def is_planned(self, path: str) -> bool:
        """Whether an earlier phase creates it, or the directory that it lies in."""
        while path != ".":
            if path in self.planned:
                return True
            path = parent_of(path)
        return False

    def directories_of(self, extension: str) -> set[str]:
        """The directories that hold files with this extension, tests and examples left out."""
        if extension not in self._by_extension:
            ending = f".{extension}".lower()
            names = (name for name in self._by_name if name.endswith(ending))
            paths = (path for name in names for path in self._by_name[name] if not self.is_side(path))
            self._by_extension[extension] = {parent_of(path) for path in paths}
        return self._by_extension[extension]

    def is_directory(self, path: str) -> bool:
        """Whether it is a directory with files in it."""
        return path in self.counts

    def is_test(self, path: str) -> bool:
        """Whether it is a test by its name or its directory."""
        name = path.rpartition("/")[2].lower()
        parts = name.split(".")
        in_tests = not self._known.test_directories.isdisjoint(path.lower().split("/"))
        named = (
            name.startswith("test_")
            or name in self._known.tests_beside
            or (len(parts) > 2 and parts[-2] in ("test", "spec"))
        )
        return in_tests or named or parts[0].endswith(("_test", "_spec"))

    def is_text(self, path: str) -> bool:
        """Whether it is documentation by its extension."""
        return path.rpartition(".")[2].lower() in self._known.paths["texts"]

    def is_side(self, path: str) -> bool:
        """Whether it is a test, or lies in fixtures, examples or the like."""
        if self.is_test(path):
            return True
        parts = frozenset(path.lower().split("/"))
        side = self._registry.side_directories | self._registry.fixture_directories
        return not side.isdisjoint(parts)

    def files_named(self, name: str) -> Sequence[str]:
        """The files with this name, whatever its case."""
        return self._by_name.get(name.lower(), ())

    def names_like(self, name: str) -> list[str]:
        """Names of files, in lower case, that begin with the same letter."""
        return sorted(other for other in self._by_name if other[:1] == name[:1])

    def directories_named(self, name: str) -> Sequence[str]:
        """The directories with this name, whatever its case."""
        return self._dirs_by_name.get(name.lower(), ())

    def names_in(self, directory: str) -> Sequence[str]:
        """The names of the files that stand directly in a directory."""
        return self._names_in.get(directory, ())

    def children(self, directory: str) -> list[str]:
        """The files and directories that stand directly in a directory."""
        prefix = "" if directory == "." else f"{directory}/"
        return [
            prefix + name for name in (*self._names_in.get(directory, ()), *self._subdirectories.get(directory, ()))
        ]

    def below(self, directory: str) -> Sequence[str]:
        """The files below a directory."""
        if directory == ".":
            return self.paths
        # "0" is the character behind "/": the paths are sorted.
        return self.paths[bisect_left(self.paths, directory + "/") : bisect_left(self.paths, directory + "0")]

    def named_like(self, pattern: str) -> list[str]:
        """The files whose name fits a shell pattern; those of one directory if it begins with "/"."""
        directory, _, name = pattern.lstrip("/").rpartition("/")
        if pattern.startswith("/"):
            here = directory or "."
            hits = fnmatch.filter(self.names_in(here), name)
            return sorted(hit if here == "." else f"{here}/{hit}" for hit in hits)
        return sorted(path for hit in fnmatch.filter(self._by_name, name.lower()) for path in self._by_name[hit])

    def matching(self, glob: str) -> Sequence[str]:
        """The files that a glob of the text matches; nothing once too many different globs were asked for."""
        if glob not in self._globs:
            self._globs[glob] = matching(self.paths, (glob,)) if len(self._globs) < MAX_GLOBS else ()
        return self._globs[glob]

    def resolve(self, text: str, *, in_code: bool) -> Resolution:
        """What a path that stands in a text means; ``NOTHING`` if it is none."""
        if (text, in_code) not in self._resolved:
            self._resolved[text, in_code] = self._resolve(text, in_code=in_code)
        return self._resolved[text, in_code]

    def _resolve(self, text: str, *, in_code: bool) -> Resolution:
        path = _LINES.sub("", text.strip()).replace("\\", "/")
        as_directory = path.endswith("/")
        path = path.removeprefix("./").rstrip("/")
        if not path or len(path) > MAX_PATH or "//" in path or path == ".":
            return _NOTHING
        if path.startswith(("~", "../")) or "/../" in path:
            return Resolution(Match.OUTSIDE, (path,)) if self._looks_new(path) or as_directory else _NOTHING
        if path.startswith("/"):
            found = self._existing(path.lstrip("/"))
            return found or (Resolution(Match.OUTSIDE, (path,)) if self._looks_new(path) else _NOTHING)
        if (
            not in_code
            and "/" not in path
            and not as_directory
            and "." not in path
            and path not in self._known.paths["names"]
        ):
            return _NOTHING  # a word: see .places
        found = self._existing(path)
        if found is None and "*" in path:
            is_glob = "/" in path or in_code
            return Resolution(Match.PATTERN, (path,)) if is_glob and self.matching(path) else _NOTHING
        if found is None:
            found = self._by_suffix(path, in_code=in_code, as_directory=as_directory) or self._module(
                path, in_code=in_code
            )
        if found is None and (as_directory or in_code) and not self._looks_new(path):
            return self._new_directory(path, as_directory=as_directory)
        return found or self._new(path, in_code=in_code)

    def with_words(self, first: str) -> list[tuple[tuple[str, ...], str, bool]]:
        """(words of the name, path, whether a directory) of everything whose name begins with this word (its stem)."""
        if not self._by_words:
            index: dict[str, list[tuple[tuple[str, ...], str, bool]]] = defaultdict(list)
            for directory in self.counts:
                words = name_words(directory.rpartition("/")[2])
                if words:
                    index[words[0]].append((words, directory, True))
            for paths in self._by_name.values():
                words = name_words(paths[0].rpartition("/")[2].lstrip(".").partition(".")[0])
                if words:
                    index[words[0]] += [(words, path, False) for path in paths]
            self._by_words.update(index)
        return self._by_words.get(first, [])

    def _existing(self, path: str) -> Resolution | None:
        if path in self.files:
            return Resolution(Match.FILE, (path,))
        if path in self.counts:
            return Resolution(Match.DIRECTORY, (path,))
        if any(part in self._registry.prune_rules.never for part in path.split("/")[:-1] or [path]):
            return Resolution(Match.PRUNED, (path,))
        return None

    def _by_suffix(self, path: str, *, in_code: bool, as_directory: bool) -> Resolution | None:
        name = path.rpartition("/")[2].lower()
        ending = "/" + path.lower()
        same = [] if as_directory else self._by_name.get(name, [])[:MAX_COMPARED]
        files = [path for path in same if f"/{path.lower()}".endswith(ending)]
        if files and ("." in name or "/" in path or in_code or name in {n.lower() for n in self._known.paths["names"]}):
            return self._chosen(files, Match.FILE)
        same = self._dirs_by_name.get(name, [])[:MAX_COMPARED]
        directories = [d for d in same if f"/{d.lower()}".endswith(ending)]
        if directories and ("/" in path or as_directory or in_code):
            return self._chosen(directories, Match.DIRECTORY)
        return None

    def _chosen(self, found: list[str], match: Match) -> Resolution:
        """Of several places the one that is no test or example; the few that remain, or a question."""
        main = [path for path in found if not self.is_side(path)] or found
        top = min(path.count("/") for path in main)
        main = [path for path in main if path.count("/") == top] if top == 0 else main
        if match is Match.DIRECTORY:
            main = [path for path in main if not any(path.startswith(other + "/") for other in main)]
        return Resolution(match if len(main) <= MAX_SAME_NAME else Match.AMBIGUOUS, tuple(sorted(main)))

    def _module(self, path: str, *, in_code: bool) -> Resolution | None:
        """ "shop.http.client" and "shop.http.client.Client"."""
        parts = path.removesuffix("()").split(".")
        if (
            "/" in path
            or len(parts) < 2
            or not all(part.isidentifier() for part in parts)
            or not (in_code or len(parts) > 2)
        ):
            return None
        for length in (len(parts), len(parts) - 1):
            if length < 2:
                break
            joined = "/".join(parts[:length])
            for extension in _MODULE_EXTENSIONS:
                files = self._by_name.get(f"{parts[length - 1]}.{extension}".lower(), ())
                hits = [p for p in files if ("/" + p).endswith(f"/{joined}.{extension}")]
                if hits:
                    return self._chosen(hits, Match.FILE)
            directories = [
                d for d in self._dirs_by_name.get(parts[length - 1].lower(), ()) if ("/" + d).endswith("/" + joined)
            ]
            if directories:
                return self._chosen(directories, Match.DIRECTORY)
        return None

    def _looks_new(self, path: str) -> bool:
        name = path.rpartition("/")[2]
        extension = name.rpartition(".")[2].lower()
        return name in self._known.paths["names"] or ("." in name and extension in self._known.paths["extensions"])

    def _new_directory(self, path: str, *, as_directory: bool) -> Resolution:
        """A directory that is to be created: next to others, or named as one."""
        directory, _, _ = path.rpartition("/")
        if not _PLAIN.fullmatch(path.replace("/", "")) or "." in path.rpartition("/")[2] or " " in path:
            return _NOTHING
        if (directory and directory in self.counts) or self.is_planned(path):
            return Resolution(Match.NEW_DIRECTORY, (path,))
        parents = [
            d
            for d in self._dirs_by_name.get(directory.rpartition("/")[2].lower(), ())
            if directory and ("/" + d).endswith("/" + directory)
        ]
        if len(parents) == 1:
            return Resolution(Match.NEW_DIRECTORY, (f"{parents[0]}/{path.rpartition('/')[2]}",))
        return Resolution(Match.NEW_DIRECTORY, (path,), known_parent=False) if as_directory else _NOTHING

    def _new(self, path: str, *, in_code: bool) -> Resolution:
        """A file that is to be created, or nothing."""
        directory, _, name = path.rpartition("/")
        stem, _, extension = name.lower().rpartition(".")
        if (
            not self._looks_new(path)
            or not _PLAIN.fullmatch(path.replace("/", ""))
            or name.lower() in self._known.paths["products"]
        ):
            return _NOTHING
        if not directory:
            is_name = name in self._known.paths["names"] or (
                stem[:1].isalpha() and extension not in _SHORT_EXTENSIONS and stem[-1:] != "."
            )
            plain = (
                is_name
                and " " not in name
                and (in_code or stem.isidentifier() or "-" in stem or "." in stem or not stem)
            )
            return Resolution(Match.NEW, (path,), known_parent=False) if plain else _NOTHING
        if directory in self.counts or self.is_planned(path):
            return Resolution(Match.NEW, (path,))
        name_of_parent = directory.rpartition("/")[2].lower()
        parents = [d for d in self._dirs_by_name.get(name_of_parent, ()) if ("/" + d).endswith("/" + directory)]
        parents = [d for d in parents if not self.is_side(d)] or parents
        if len(parents) == 1:
            return Resolution(Match.NEW, (f"{parents[0]}/{name}",))
        return Resolution(Match.NEW, (path,), known_parent=False)


def _counts(paths: Sequence[str]) -> dict[str, int]:
    """Files below each directory; only directories that hold files somewhere."""
    direct: dict[str, int] = defaultdict(int)
    for path in paths:
        direct[parent_of(path)] += 1
    total: dict[str, int] = defaultdict(int)
    for directory, count in direct.items():
        total[directory] += count
        while directory != ".":
            directory = parent_of(directory)
            total[directory] += count
    return dict(sorted(total.items()))
