"""permission_error: the operating system refused. Only ever advice: rights are not ours to widen."""

from __future__ import annotations

from collections.abc import Sequence

from autopack_hardening.core.matching import Hit
from autopack_hardening.core.model import Mitigation, Suggestion
from autopack_hardening.core.rules.context import Context, Finding, printable

__all__ = ["permission_error"]

# Shells: "found, but cannot be executed" (POSIX 2.8.2).
NOT_EXECUTABLE = 126
_RISK = "Running as root or opening the rights for everybody lets code that nobody reviewed change the whole machine."


def permission_error(hits: Sequence[Hit], context: Context) -> Finding | None:
    """Says what was refused and how an owner of the file would settle it."""
    hit = hits[-1]
    path = printable(hit.captures.get("path", ""))
    if context.failure.ending.exit_code == NOT_EXECUTABLE:
        text = f"{path or 'The program'} is not executable. If it should be, commit that: git update-index --chmod=+x "
        text += path or "FILE"
    elif path.startswith("/"):
        text = f"{path} may not be written or read. Use a path inside the workspace, or have its owner grant the right."
    else:
        text = f"{path or 'A file'} may not be written or read. Check who owns it and whether another program made it."
    return Finding(hit, Mitigation(suggestions=(Suggestion(text, _RISK),)))
