"""YAML as nodes that know their line: read with bounds, and walked with bounds.

Values are never built by YAML: only text, numbers, booleans, lists and mappings exist, and each is asked for by the
reader of the file, who says what it should be.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

__all__ = ["MAX_FILE_BYTES", "Place", "Problem", "Problems", "Reader", "compose", "read_text"]

MAX_FILE_BYTES = 1 << 20
"""Of a batch file: 1,000 runs of 1,000 characters each."""
MAX_DEPTH = 32
"""Of nesting: a batch file needs 8. Deeper text costs the YAML scanner quadratic time."""
MAX_NODES = 200_000
"""Walked: 1,000 runs of 200 values. Aliases count each time, so a small file cannot stand for a large one."""
MAX_PROBLEMS = 100
"""Kept: whoever sees a hundred has seen the pattern."""

_TAG = "tag:yaml.org,2002:"
_KINDS = {
    "str": "text",
    "int": "a number",
    "float": "a number",
    "bool": "true or false",
    "null": "nothing",
    "timestamp": "a date",
}


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A position in the file, counted from 1; column 0 = the whole line."""

    line: int = 1
    column: int = 1

    @classmethod
    def of(cls, mark: Any) -> Place:
        """From a YAML mark."""
        return cls(mark.line + 1, mark.column + 1)


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong, and where."""

    place: Place
    message: str


@dataclass(slots=True)
class Problems:
    """Collects what is wrong, so that all of it is told at once."""

    items: list[Problem] = field(default_factory=list)

    def add(self, place: Place, message: str) -> None:
        """Adds one, unless it is known or there are too many."""
        problem = Problem(place, message)
        if problem not in self.items and len(self.items) < MAX_PROBLEMS:
            self.items.append(problem)

    def sorted(self) -> list[Problem]:
        """All, in the order of the file."""
        return sorted(self.items)


def read_text(path: Path, problems: Problems, kind: str = "a batch file") -> str | None:
    """The text of a file of at most 1 MiB; None with a problem otherwise. A larger one is not read."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                problems.add(Place(), "this is not a regular file")
                return None
            data = file.read(MAX_FILE_BYTES + 1) if status.st_size <= MAX_FILE_BYTES else b""
    except IsADirectoryError:
        problems.add(Place(), "this is a directory, not a file")
        return None
    except OSError as error:
        problems.add(Place(), f"the file cannot be read: {error.strerror or error}")
        return None
    if max(status.st_size, len(data)) > MAX_FILE_BYTES:
        problems.add(Place(), f"the file has {status.st_size:,} bytes; {kind} has at most {MAX_FILE_BYTES:,}")
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        place = Place(before.count(b"\n") + 1, error.start - (before.rfind(b"\n") + 1) + 1)
        problems.add(place, f"byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8")
        return None


def compose(text: str, problems: Problems) -> yaml.Node | None:
    """The root node of the only document; None with a problem if it is not YAML or is beyond the bounds."""
    try:
        if not _within_bounds(text, problems):
            return None
        root = yaml.CSafeLoader(text).get_single_node()
    except yaml.reader.ReaderError as error:
        before = text[: error.position] if isinstance(error.position, int) else ""
        problems.add(Place(before.count("\n") + 1), f"character {error.character!r} is not allowed in YAML")
        return None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        context = f" {error.context}" if error.context else ""
        problems.add(Place.of(mark) if mark else Place(), f"this is not YAML: {error.problem}{context}")
        return None
    if root is None:
        problems.add(Place(), "the file is empty; it needs at least 'runs:'")
    elif (node := _inside_itself(root)) is not None:
        problems.add(Place.of(node.start_mark), "this contains itself through a YAML alias")
        return None
    return root


def _inside_itself(root: yaml.Node) -> yaml.Node | None:
    """A node that is its own descendant; each node is looked at once, without recursion."""
    open_nodes, done = set[int](), set[int]()
    stack = [(root, False)]
    while stack:
        node, finished = stack.pop()
        if finished:
            open_nodes.discard(id(node))
            done.add(id(node))
        elif id(node) in open_nodes:
            return node
        elif id(node) not in done and isinstance(node, yaml.CollectionNode):
            open_nodes.add(id(node))
            stack.append((node, True))
            pairs = node.value if isinstance(node, yaml.MappingNode) else [(item,) for item in node.value]
            stack.extend((child, False) for pair in pairs for child in pair)
    return None


def _within_bounds(text: str, problems: Problems) -> bool:
    """Looks at the events only as far as the bounds allow, before anything is built."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=yaml.CSafeLoader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            problems.add(Place.of(event.start_mark), f"this is nested more than {MAX_DEPTH} levels deep")
            return False
        if count > MAX_NODES:
            problems.add(Place.of(event.start_mark), f"the file has more than {MAX_NODES:,} values")
            return False
    return True


class Reader:
    """Asks nodes for what they should be; what they are not becomes a problem and None."""

    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self._visited = 0

    def place(self, node: yaml.Node) -> Place:
        """Where a node begins."""
        return Place.of(node.start_mark)

    def fail(self, node: yaml.Node, message: str) -> None:
        """Adds a problem at a node."""
        self.problems.add(self.place(node), message)

    def entries(self, node: yaml.Node, what: str) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
        """Key, key node and value node of a mapping; a key that is no text or was there already is a problem."""
        if not isinstance(node, yaml.MappingNode):
            self.fail(node, f"{what} must be a mapping of keys and values, not {_kind(node)}")
            return
        first: dict[str, Place] = {}
        for key, value in self._inside(node):
            if not isinstance(key, yaml.ScalarNode):
                self.fail(key, f"a key of {what} must be text")
            elif key.value in first:
                self.fail(
                    key, f"{key.value[:60]!r} stands twice in {what}; the first is on line {first[key.value].line}"
                )
            else:
                first[key.value] = self.place(key)
                yield key.value, key, value

    def items(self, node: yaml.Node, what: str) -> Iterator[yaml.Node]:
        """The nodes of a list."""
        if not isinstance(node, yaml.SequenceNode):
            self.fail(node, f"{what} must be a list, not {_kind(node)}")
            return
        yield from self._inside(node)

    def text(self, node: yaml.Node, what: str) -> str | None:
        """A string. What YAML reads as something else is to be quoted: `no` and `1.10` would lose their spelling."""
        if isinstance(node, yaml.ScalarNode) and node.tag == _TAG + "str":
            return str(node.value)
        if isinstance(node, yaml.ScalarNode) and node.tag.removeprefix(_TAG) in _KINDS and node.value:
            self.fail(node, f"{what} must be text; YAML reads this as {_kind(node)}, so put it in quotes")
        else:
            self.fail(node, f"{what} must be text, not {_kind(node)}")
        return None

    def integer(self, node: yaml.Node, what: str, *, low: int, high: int) -> int | None:
        """A whole number."""
        if isinstance(node, yaml.ScalarNode) and node.tag == _TAG + "int":
            try:
                number = int(node.value.replace("_", ""), 10)
            except ValueError:  # 0x1F, 1:30: numbers to YAML, surprises to people
                number = low - 1
            if low <= number <= high:
                return number
            self.fail(node, f"{what} must be a plain whole number from {low:,} to {high:,}")
            return None
        self.fail(node, f"{what} must be a whole number, not {_kind(node)}")
        return None

    def number(self, node: yaml.Node, what: str, *, low: float, high: float) -> float | None:
        """A number."""
        if isinstance(node, yaml.ScalarNode) and node.tag in (_TAG + "int", _TAG + "float"):
            try:
                value = float(node.value)
            except ValueError:
                value = low - 1
            if low <= value <= high:  # NaN is neither
                return value
            self.fail(node, f"{what} must be a number from {low:g} to {high:g}")
            return None
        self.fail(node, f"{what} must be a number, not {_kind(node)}")
        return None

    def boolean(self, node: yaml.Node, what: str) -> bool | None:
        """True or false."""
        if isinstance(node, yaml.ScalarNode) and node.tag == _TAG + "bool":
            return str(node.value).lower() in ("true", "yes", "on")
        self.fail(node, f"{what} must be true or false, not {_kind(node)}")
        return None

    def _inside(self, node: yaml.CollectionNode) -> Iterator[Any]:
        """The children of a collection, until too much was walked."""
        for child in node.value:
            self._visited += 1
            if self._visited > MAX_NODES:
                self.fail(node, f"through its aliases the file has more than {MAX_NODES:,} values")
                return
            yield child


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    return _KINDS.get(node.tag.removeprefix(_TAG), f"something tagged {node.tag[:60]}")
