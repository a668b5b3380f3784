"""Which distribution a name in an output may stand for. Only ever compared with what the project declares."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Names", "canonical", "is_node_package", "matches", "node_package", "parse_names"]

# PEP 503; and npm's rule with the capitals of old packages (JSONStream) and without a leading "~" or "-", which no
# package has and path aliases do.
_SEPARATORS = re.compile(r"[-_.]+")
_NODE_PACKAGE = re.compile(r"(?:@[A-Za-z0-9][A-Za-z0-9._~-]*/)?[A-Za-z0-9][A-Za-z0-9._~-]*")
MAX_NODE_NAME = 214  # npm refuses longer names


@dataclass(frozen=True, slots=True)
class Names:
    """The static maps of ``data/``.

    Attributes:
        modules: Python module, possibly dotted, to distributions.
        pytest_options: option to plugins.
        pytest_fixtures: fixture to plugins.
        python_programs: program to distributions.
        standard_library: modules of Python, including those that were removed.
        node_programs: program to packages.
        node_builtins: modules of Node.
    """

    modules: Mapping[str, tuple[str, ...]]
    pytest_options: Mapping[str, tuple[str, ...]]
    pytest_fixtures: Mapping[str, tuple[str, ...]]
    python_programs: Mapping[str, tuple[str, ...]]
    standard_library: frozenset[str]
    node_programs: Mapping[str, tuple[str, ...]]
    node_builtins: frozenset[str]

    def distributions(self, module: str) -> tuple[str, ...]:
        """Distributions (canonical; ``x-*`` = any with that prefix) that may provide the dotted ``module``.

        >>> names.distributions("google.cloud.storage")  # doctest: +SKIP
        ('google-cloud-storage', 'protobuf', 'google-*')
        """
        parts = module.split(".")
        found = [canonical(module)]
        for length in range(len(parts), 0, -1):
            known = self.modules.get(".".join(parts[:length]))
            if known is not None:
                return tuple(dict.fromkeys([*(found if len(parts) > length else ()), *known]))
        return tuple(dict.fromkeys([*found, canonical(parts[0])]))

    def is_namespace(self, module: str) -> bool:
        """Whether several distributions share the top-level package of ``module``."""
        return any("*" in name for name in self.modules.get(module.partition(".")[0], ())) or module in self.modules


def parse_names(python: Mapping[str, Any], node: Mapping[str, Any]) -> Names:
    """The maps of ``python_names.toml`` and ``node_names.toml``."""
    return Names(
        modules=_table(python["modules"]),
        pytest_options=_table(python["pytest_options"]),
        pytest_fixtures=_table(python["pytest_fixtures"]),
        python_programs=_table(python["programs"]),
        standard_library=frozenset(sys.stdlib_module_names) | frozenset(python["standard_library"]["removed"]),
        node_programs=_table(node["programs"]),
        node_builtins=frozenset(node["standard_library"]["builtin"]),
    )


def canonical(name: str) -> str:
    """A Python distribution name as PEP 503 normalises it."""
    return _SEPARATORS.sub("-", name).lower()


def matches(candidates: Iterable[str], name: str) -> bool:
    """Whether the declared ``name`` (in its ecosystem's canonical form) is among ``candidates``."""
    return any(name == one or (one.endswith("*") and name.startswith(one[:-1])) for one in candidates)


def node_package(specifier: str) -> str:
    """The package of an import specifier: ``lodash/fp`` -> ``lodash``, ``@acme/ui/x`` -> ``@acme/ui``; else empty."""
    parts = specifier.split("/")
    name = "/".join(parts[:2]) if specifier.startswith("@") else parts[0]
    return name if is_node_package(name) else ""


def is_node_package(name: str) -> bool:
    """Whether npm would accept ``name``. Aliases (``@/x``, ``~/x``, ``#x``), URLs and paths are none."""
    return 0 < len(name) <= MAX_NODE_NAME and _NODE_PACKAGE.fullmatch(name) is not None


def _table(data: Mapping[str, Any]) -> Mapping[str, tuple[str, ...]]:
    return {str(key): tuple(str(name) for name in value) for key, value in data.items()}
