"""What an agent must keep in mind, and whether what it did is still about that.

Pure functions without a server::

    from autopack_intention import Evidence, Intention, Profile, Step, build_context, check_drift

    intention = Intention("Retry failed requests", "Use exponential backoff in the HTTP client.", scope=("src/http/",))
    print(build_context(intention).text)
    step = Step(Evidence(("src/http/client.py",), ("class Client:",), ("retry", "backoff", "max_attempts", "request")))
    result = check_drift(intention, step, Profile.build(commit_messages, recent_changes))
    print(result.step_verdict, result.z, result.unexplained_terms)
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from autopack_kit.settings import load

from autopack_intention.core.context import Context, Intention, Section, build_context
from autopack_intention.core.drift import Advisory, DriftResult, OffGoalFile, Step, Verdict, check_drift
from autopack_intention.core.evidence import Evidence, FileChange
from autopack_intention.core.goal_text import parse_intention
from autopack_intention.core.profile import Profile, ProfileSource
from autopack_intention.core.scoring import Scorer

if TYPE_CHECKING:
    from autopack_intention.service import IntentionService
    from autopack_intention.settings import IntentionSettings

__all__ = [
    "Advisory",
    "Context",
    "DriftResult",
    "Evidence",
    "FileChange",
    "Intention",
    "OffGoalFile",
    "Profile",
    "ProfileSource",
    "Scorer",
    "Section",
    "Step",
    "Verdict",
    "build_context",
    "check_drift",
    "create",
    "parse_intention",
]


def create(settings: IntentionSettings | None = None) -> IntentionService:
    """The service for a server of ``autopack_kit``; without settings they are read from the environment."""
    # Imported here so that a user of the pure functions needs neither grpc nor the stubs.
    from autopack_intention.service import IntentionService
    from autopack_intention.settings import IntentionSettings

    return IntentionService(settings or load(IntentionSettings, os.environ))
