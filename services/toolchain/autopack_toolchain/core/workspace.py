"""One detection's view of a tree: an index by directory, and every manifest read once and parsed once.

A manifest that cannot be read or parsed is a warning, and for the detectors it is an empty one.
"""

from __future__ import annotations

import ast
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar
from xml.etree.ElementTree import Element

from .model import DetectionWarning, Evidence
from .parsing import (
    ManifestError,
    RequirementLine,
    parse_ini,
    parse_json,
    parse_json5,
    parse_python,
    parse_requirements,
    parse_toml,
    parse_xml,
    parse_yaml,
)
from .recent import Recent
from .registry import Registry
from .tree import MAX_CONTENT_BYTES, FileTree

__all__ = ["Workspace", "join", "listing", "parents", "strings", "table"]

T = TypeVar("T")

MAX_TOTAL_BYTES = 8 << 20
"""Bytes read in one detection, as many as a snapshot may carry; ten times what the largest tree surveyed needs."""

MAX_SECONDS = 20.0
"""Wall time after which nothing more is read. No tree surveyed takes one; of what is written to be slow to parse, the
bytes alone allow a minute."""

MAX_WARNINGS = 500
"""Warnings that are told; nobody reads more, and 50,000 of them are no longer an answer that can be sent."""

_PARSED = Recent(1 << 20)
"""Parsed manifests, of which the largest tree surveyed has 0.4 MB. They take ten times the memory of their text, some
made for it two hundred times; syntax trees of Python take more and are not kept."""

_REPLACEMENT = "\ufffd"


def join(directory: str, name: str) -> str:
    """``name`` in ``directory``, where ``"."`` is the root."""
    return name if directory == "." else f"{directory}/{name}"


def parents(directory: str) -> Iterator[str]:
    """The directories above, nearest first, the root last."""
    while directory != ".":
        directory = directory.rpartition("/")[0] or "."
        yield directory


def table(value: object, *keys: str) -> dict[str, Any]:
    """The table at ``keys`` in parsed data; empty where it is missing or something else stands there."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return {str(key): item for key, item in value.items()} if isinstance(value, dict) else {}


def listing(value: object) -> list[Any]:
    """``value`` if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def strings(value: object) -> list[str]:
    """The strings of a list; a lone string counts as a list of one."""
    if isinstance(value, str):
        return [value]
    return [item for item in listing(value) if isinstance(item, str)]


class Workspace:
    """A tree with an index and a cache; lives for one detection. Parsed data is shared: nobody may change it.

    Args:
        tree: the files.
        registry: what is known about their names.
        clock: seconds that pass, for :data:`MAX_SECONDS`.
    """

    def __init__(self, tree: FileTree, registry: Registry, clock: Callable[[], float] = time.monotonic) -> None:
        self.registry = registry
        self._warnings = dict.fromkeys(tree.warnings)
        self._untold = 0
        self._tree = tree
        self._left = MAX_TOTAL_BYTES
        self._clock = clock
        self._deadline = clock() + MAX_SECONDS
        self._holders: dict[str, list[str]] = defaultdict(list)
        self._names: dict[str, set[str]] = defaultdict(set)
        self._cache: dict[tuple[str, str], Any] = {}
        self._in_fixture: dict[str, bool] = {".": False}
        self._ending: dict[str, list[str]] = defaultdict(list)
        last, own = None, False
        for path in tree.paths:  # sorted: most have the directory of the one before
            directory, _, name = path.rpartition("/")
            if directory != last:
                last, place = directory, directory or "."
                names, own = self._names[place], not self.in_fixture(place)
            names.add(name)
            if own:
                self._holders[name].append(place)
                dot = name.rfind(".")
                if dot > 0:
                    self._ending[name[dot:]].append(path)
        self._own = {place: names for place, names in self._names.items() if not self._in_fixture[place]}
        for path, kind in sorted(tree.irregular.items()):
            self.warn("NOT_A_FILE", f"{path} is {kind}, not a file, and was not read; replace it or ignore this.", path)

    @property
    def warnings(self) -> list[DetectionWarning]:
        """Each once, in the order in which they came up."""
        if not self._untold:
            return [*self._warnings]
        message = f"{self._untold:,} more warnings were left out; mend what the others tell, or detect a subdirectory."
        return [*self._warnings, DetectionWarning("TOO_MANY_WARNINGS", message)]

    @property
    def directories(self) -> Mapping[str, set[str]]:
        """Names of files by directory; only directories that hold files, fixtures included."""
        return self._names

    @property
    def own_directories(self) -> Mapping[str, set[str]]:
        """The same without fixtures: of a large tree these may be a tenth."""
        return self._own

    def in_fixture(self, directory: str) -> bool:
        """Whether the directory lies in material for tests."""
        known = self._in_fixture.get(directory)
        if known is None:
            parent, _, name = directory.rpartition("/")
            known = name in self.registry.fixture_directories or self.in_fixture(parent or ".")
            self._in_fixture[directory] = known
        return known

    def directories_with(self, *names: str) -> list[str]:
        """Directories outside fixtures that hold one of these files, sorted."""
        return sorted({directory for name in names for directory in self._holders.get(name, ())})

    def ending(self, extension: str) -> list[str]:
        """Files outside fixtures with this extension (``".csproj"``), sorted."""
        return self._ending.get(extension, [])

    def names(self, directory: str) -> set[str]:
        """Names of the files in a directory."""
        return self._names.get(directory, set())

    def has(self, directory: str, name: str) -> bool:
        """Whether this file is there; ``name`` may be a relative path."""
        path = join(directory, name)
        parent, _, last = path.rpartition("/")
        return last in self.names(parent or ".")

    def owned_files(
        self, owners: Iterable[str], matches: Callable[[str], bool], *extensions: str
    ) -> dict[str, list[str]]:
        """Files outside fixtures whose name matches, by the nearest of the owning directories above them, sorted.

        Only names with one of the ``extensions`` (``".py"``) are looked at.
        """
        found: dict[str, list[str]] = {owner: [] for owner in owners}
        nearest: dict[str, str | None] = {}
        for path in (path for extension in extensions if found for path in self.ending(extension)):
            directory, _, name = path.rpartition("/")
            if matches(name):
                directory = directory or "."
                if directory not in nearest:
                    above = (directory, *parents(directory))
                    nearest[directory] = next((place for place in above if place in found), None)
                owner = nearest[directory]
                if owner is not None:
                    found[owner].append(path)
        return {owner: sorted(paths) for owner, paths in found.items()}

    def size(self, path: str) -> int:
        """Bytes of a file; 0 if it is gone."""
        found = self._tree.stat(path)
        return found.size if found else 0

    def executable(self, path: str) -> bool:
        """Whether the file can be started as a program."""
        found = self._tree.stat(path)
        return found is not None and found.executable

    def text(self, path: str) -> str:
        """The content as text; empty with a warning where it cannot be had."""
        return self.once("text", path, self._read)

    def toml(self, path: str) -> dict[str, Any]:
        """Parsed TOML; empty where it is missing or broken."""
        return self._parsed("toml", path, parse_toml, {})

    def json(self, path: str) -> dict[str, Any]:
        """Parsed JSON object; empty where it is missing, broken or no object."""
        data: Any = self._parsed("json", path, parse_json, {})
        return data if isinstance(data, dict) else {}

    def json5(self, path: str) -> dict[str, Any]:
        """Parsed JSON object with comments; empty where it is missing, broken or no object."""
        return table(self._parsed("json5", path, parse_json5, {}))

    def yaml(self, path: str) -> dict[str, Any]:
        """Parsed YAML mapping; empty where it is missing, broken or no mapping."""
        return table(self._parsed("yaml", path, parse_yaml, {}))

    def ini(self, path: str) -> dict[str, dict[str, str]]:
        """Parsed INI; empty where it is missing or broken."""
        return self._parsed("ini", path, parse_ini, {})

    def xml(self, path: str) -> Element | None:
        """Root element; None where it is missing or broken."""
        return self._parsed("xml", path, parse_xml, None)

    def python(self, path: str) -> ast.Module:
        """Syntax tree; an empty module where it is missing or broken."""
        return self._parsed("python", path, parse_python, ast.Module([], []))

    def requirements(self, path: str) -> list[RequirementLine]:
        """Lines of a requirements file."""
        return self._parsed("requirements", path, parse_requirements, [])

    def lines(self, path: str) -> list[str]:
        """The lines of the content."""
        return self.once("lines", path, lambda path: self.text(path).splitlines())

    def line(self, path: str, *starts: str) -> int:
        """The line that begins with the last of ``starts``, after lines that begin with the others in order; or 0."""
        number = 0
        lines = self.lines(path)
        for start in starts:
            number = next((n for n in range(number, len(lines)) if lines[n].lstrip().startswith(start)), -1) + 1
            if not number:
                return 0
        return number

    def evidence(self, path: str, signal: str, weight: float, *starts: str) -> Evidence:
        """Evidence in a file, with its line if ``starts`` are found there."""
        return Evidence(path, self.line(path, *starts) if starts else 0, signal, weight)

    def warn(self, reason: str, message: str, *paths: str) -> None:
        """Adds a warning once, as long as there are not too many."""
        warning = DetectionWarning(reason, message, paths)
        if len(self._warnings) < MAX_WARNINGS:
            self._warnings[warning] = None
        elif warning not in self._warnings:
            self._untold += 1

    def _read(self, path: str) -> str:
        directory, _, name = path.rpartition("/")
        if name not in self.names(directory or "."):
            return ""
        if self._clock() > self._deadline:
            message = f"After {MAX_SECONDS:g} seconds no more manifests were read; detect a subdirectory."
            self.warn("TOO_MUCH_TO_READ", message)
            return ""
        content = self._tree.read(path, MAX_CONTENT_BYTES) if self._left > 0 else None
        if content is None:
            self._warn_unread(path, name)
            return ""
        self._left -= len(content)
        text = content.decode("utf-8", "replace")
        if _REPLACEMENT in text and _REPLACEMENT.encode() not in content:
            line = text[: text.index(_REPLACEMENT)].count("\n") + 1
            self.warn("MANIFEST_NOT_UTF8", f"{path}:{line}: not UTF-8 here; save the file as UTF-8.", path)
        return text

    def _warn_unread(self, path: str, name: str) -> None:
        """Says why a file that is there has no content; nothing of one that is gone since it was listed."""
        found = self._tree.stat(path)
        if found is None:
            return
        if found.size > MAX_CONTENT_BYTES:
            if not self.registry.is_lock(name):
                message = (
                    f"{path} has {found.size:,} bytes and was not read; at most {MAX_CONTENT_BYTES:,} are. "
                    "Generated data belongs in another file."
                )
                self.warn("MANIFEST_TOO_LARGE", message, path)
        elif self._left <= 0:
            message = f"More than {MAX_TOTAL_BYTES:,} bytes of manifests: some were not read; detect a subdirectory."
            self.warn("TOO_MUCH_TO_READ", message)
        else:
            message = f"{path} could not be read; check its permissions, or send its content with the snapshot."
            self.warn("MANIFEST_NOT_READ", message, path)

    def _parsed(self, form: str, path: str, parse: Callable[[str], T], empty: T) -> T:
        def read_and_parse(path: str) -> T:
            text = self.text(path)
            if not text.strip():
                return empty
            try:
                return parse(text) if form == "python" else _PARSED.of(parse, text)
            except ManifestError as error:
                place = f"{path}:{error.line}" if error.line else path
                self.warn("BROKEN_MANIFEST", f"{place}: {error.message}. Fix it there; it was read as empty.", path)
                return empty

        return self.once(form, path, read_and_parse)

    def once(self, form: str, path: str, make: Callable[[str], T]) -> T:
        """``make(path)``, computed the first time and remembered under ``form``."""
        key = (form, path)
        if key not in self._cache:
            self._cache[key] = make(path)
        found: T = self._cache[key]
        return found
