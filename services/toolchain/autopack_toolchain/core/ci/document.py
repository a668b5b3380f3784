"""YAML files of CI systems as a tree that knows its lines.

The nodes are composed by libyaml and never constructed, so that custom tags are no error, ``on`` stays a word, ``3.10``
stays a text, and an alias costs nothing. Merge keys are resolved where a mapping is looked at.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

import yaml

from ..parsing import ManifestError, check_yaml_nesting, may_be_deep
from ..recent import Recent
from ..workspace import Workspace

__all__ = ["Value", "load", "parse_documents"]

MAX_FIELDS = 2000
"""Keys at most of one mapping after its merges: a configuration of 1 MiB that merges a hundred times has no more."""

MAX_ITEMS = 2000
"""Items at most of one sequence."""

_RECENT = Recent(1 << 20)
"""Documents of files that were read; the CI files of the largest tree surveyed have 0.3 MB. Nodes take ten times the
memory of their text, those of a file made for it a hundred and forty times."""

_NULL = "tag:yaml.org,2002:null"
_TEXT = "tag:yaml.org,2002:str"
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


class _Loader(yaml.CSafeLoader):
    """The safe C loader that tells null from other scalars and resolves nothing else: only texts are looked at."""

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        if kind is yaml.ScalarNode and implicit[0] and value in _NULLS:
            return _NULL
        return _TEXT


Fields = dict[str, yaml.Node]


class Value:
    """A node of a document, or nothing. Looking into what is not there gives nothing, never an error."""

    __slots__ = ("_merged", "node")

    def __init__(self, node: yaml.Node | None, merged: dict[int, Fields] | None = None) -> None:
        self.node = node
        self._merged: dict[int, Fields] = {} if merged is None else merged

    def __bool__(self) -> bool:
        return self.node is not None

    @property
    def tag(self) -> str:
        """The tag, for example ``!reference``."""
        return self.node.tag if self.node is not None else ""

    @property
    def is_mapping(self) -> bool:
        """Whether it has keys."""
        return isinstance(self.node, yaml.MappingNode)

    @property
    def is_sequence(self) -> bool:
        """Whether it has items."""
        return isinstance(self.node, yaml.SequenceNode)

    @property
    def text(self) -> str:
        """The text of a scalar as it is written; empty for null and for all that is no scalar."""
        node = self.node
        return node.value if isinstance(node, yaml.ScalarNode) and node.tag != _NULL else ""

    @property
    def line(self) -> int:
        """The line, from 1, on which the text begins: for a block scalar the one after its ``|``."""
        if self.node is None:
            return 0
        block = isinstance(self.node, yaml.ScalarNode) and self.node.style in ("|", ">")
        return int(self.node.start_mark.line) + (2 if block else 1)

    def get(self, *keys: str) -> Value:
        """The value at a path of keys."""
        node = self.node
        for key in keys:
            node = self._fields(node).get(key)
        return Value(node, self._merged)

    def entries(self) -> dict[str, Value]:
        """The values by key; empty if it is no mapping."""
        return {key: Value(node, self._merged) for key, node in self._fields(self.node).items()}

    def items(self) -> list[Value]:
        """The items of a sequence; empty if it is none."""
        if not isinstance(self.node, yaml.SequenceNode):
            return []
        return [Value(node, self._merged) for node in self.node.value[:MAX_ITEMS]]

    def strings(self) -> list[str]:
        """The texts of a sequence; a lone text counts as a sequence of one."""
        if self.is_sequence:
            return [item.text for item in self.items() if item.text]
        return [self.text] if self.text else []

    def texts(self) -> dict[str, str]:
        """The scalars of a mapping by key."""
        return {
            key: node.value
            for key, node in self._fields(self.node).items()
            if isinstance(node, yaml.ScalarNode) and node.tag != _NULL
        }

    def _fields(self, node: yaml.Node | None) -> Fields:
        if not isinstance(node, yaml.MappingNode):
            return {}
        known = self._merged.get(id(node))
        if known is None:
            self._merged[id(node)] = {}  # a mapping that merges itself merges nothing
            known = self._merged[id(node)] = self._resolve(node)
        return known

    def _resolve(self, node: yaml.MappingNode) -> Fields:
        own: Fields = {}
        sources: list[yaml.Node] = []
        for key, value in islice(node.value, MAX_FIELDS):
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value == "<<" and not key.style:
                sources += value.value if isinstance(value, yaml.SequenceNode) else [value]
            else:
                own[key.value] = value
        if not sources:
            return own
        merged: Fields = {}
        for source in reversed(sources[:MAX_ITEMS]):
            if len(merged) >= MAX_FIELDS:
                break
            merged.update(self._fields(source))
        return merged | own


def parse_documents(text: str) -> list[Value]:
    """The first two documents of a YAML file.

    Raises:
        ManifestError: it is no YAML, or nested too deeply.
    """
    try:
        return [Value(node) for node in _RECENT.of(_composed, text)]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ManifestError(f"invalid YAML: {error.problem or error.context}", mark.line + 1 if mark else 0) from None
    except yaml.YAMLError as error:
        raise ManifestError(f"invalid YAML: {error}") from None


def _composed(text: str) -> tuple[yaml.Node, ...]:
    if may_be_deep(text):
        check_yaml_nesting(text)
    return tuple(islice(yaml.compose_all(text, Loader=_Loader), 2))


def load(workspace: Workspace, path: str) -> list[Value]:
    """The documents of a file, read once; none, and a warning, where it is broken."""

    def read(path: str) -> list[Value]:
        text = workspace.text(path)
        try:
            return parse_documents(text) if text.strip() else []
        except ManifestError as error:
            place = f"{path}:{error.line}" if error.line else path
            message = f"{place}: {error.message}. Fix it there; the CI file was read as empty."
            workspace.warn("BROKEN_MANIFEST", message, path)
            return []

    return workspace.once("ci", path, read)
