"""install_declared: what an output says is missing, as far as the project declares it."""

from __future__ import annotations

from collections.abc import Sequence

from autopack_hardening.core.matching import Hit
from autopack_hardening.core.rules.context import Context, Finding, Parameters, Resolver, telling
from autopack_hardening.core.rules.installing import install, install_all
from autopack_hardening.core.rules.missing_node import node_wanted
from autopack_hardening.core.rules.missing_python import python_wanted

__all__ = ["INSTALL_DECLARED"]

_ECOSYSTEMS = ("node", "python")
# What names something that may be the project's own: then nothing is missing, and the pattern did not match.
_IMPORTS = ("module", "specifier")


def _install_declared(parameters: Parameters, hits: Sequence[Hit], context: Context) -> Finding | None:
    """``ecosystem``: whose projects. ``everything = true``: no name is read, the whole environment is brought up to
    date.

    Captures read, for Python: ``module`` (dotted), ``distribution``, ``option`` and ``fixture`` (of pytest),
    ``program``; for Node:
    ``specifier`` (of an import), ``distribution``, ``program``. If every ``module`` or ``specifier`` is the
    project's own or the
    standard library's, the pattern did not match; any other name that stands for nothing is left to the pattern's
    advice.
    """
    ecosystem = parameters["ecosystem"]
    if parameters.get("everything", False):
        return install_all(context, ecosystem, telling(hits))
    wanted = (python_wanted if ecosystem == "python" else node_wanted)(hits, context)
    if wanted:
        return install(context, ecosystem, wanted)
    is_import = any(hit.captures.get(key) for hit in hits for key in _IMPORTS)
    return None if is_import else Finding(telling(hits))


def _check(parameters: Parameters) -> str:
    if parameters["ecosystem"] not in _ECOSYSTEMS:
        return f"ecosystem must be one of {', '.join(_ECOSYSTEMS)}"
    return ""


INSTALL_DECLARED = Resolver(_install_declared, required=("ecosystem",), optional=("everything",), check=_check)
