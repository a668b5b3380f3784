"""The code behind the patterns: each rule reads the hits of its pattern against the facts, or declines."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from autopack_hardening.core.rules.context import Rule
from autopack_hardening.core.rules.directory import wrong_working_dir
from autopack_hardening.core.rules.discovery import missing_test_discovery
from autopack_hardening.core.rules.missing_node import node_missing_dep
from autopack_hardening.core.rules.missing_python import python_missing_dep
from autopack_hardening.core.rules.permission import permission_error
from autopack_hardening.core.rules.scope import scope_mismatch

__all__ = ["RULES"]

RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "missing_test_discovery": missing_test_discovery,
        "node_missing_dep": node_missing_dep,
        "permission_error": permission_error,
        "python_missing_dep": python_missing_dep,
        "scope_mismatch": scope_mismatch,
        "wrong_working_dir": wrong_working_dir,
    }
)
