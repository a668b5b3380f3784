"""restore_out_of_scope: something wrote outside the paths the run may change."""

from __future__ import annotations

from collections.abc import Sequence

from autopack_kit.globs import out_of_scope

from autopack_hardening.core.actions import Action, RestoreOutOfScope
from autopack_hardening.core.matching import Hit
from autopack_hardening.core.model import Mitigation, Risk, Suggestion
from autopack_hardening.core.rules.context import Context, Finding, Parameters, Resolver, printable, telling

__all__ = ["RESTORE_OUT_OF_SCOPE"]

_MAX_SHOWN = 5


def _restore(parameters: Parameters, hits: Sequence[Hit], context: Context) -> Finding:
    """Restores what the caller knows to be changed outside; a path that only the output names is advice."""
    failure = context.failure
    allowed = ", ".join(failure.scope[:_MAX_SHOWN]) or "everything in the workspace"
    path = telling(hits).captures.get("path", "")
    about = f"{printable(path)!r} lies" if path else "A path lies"
    text = f"{about} outside the scope. Allowed here: {allowed}. Stay inside, or ask the owner for a wider scope."
    suggestion = Suggestion(text, "A wider scope lets the run change what nobody meant it to change.")
    # Without a scope nothing is outside, whatever the caller lists.
    outside = out_of_scope(failure.out_of_scope_paths, failure.scope)
    if not outside:
        return Finding(telling(hits), Mitigation(suggestions=(suggestion,)))
    mitigation = Mitigation(
        actions=(Action(RestoreOutOfScope(outside)),),
        suggestions=(suggestion,),
        risk=Risk.MEDIUM,
        automatic=True,
    )
    return Finding(telling(hits), mitigation)


RESTORE_OUT_OF_SCOPE = Resolver(_restore)
