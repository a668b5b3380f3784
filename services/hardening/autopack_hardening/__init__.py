"""Why did this command fail, and what is the safe deterministic fix?

Pure functions and values for Python users; the gRPC service is :func:`create`::

    from autopack_hardening import Ending, Failure, diagnose
    from autopack_kit.commands import Command

    result = diagnose(Failure(Command.of("python", "app.py"), Ending(exit_code=1), output))
    for diagnosis in result.diagnoses:
        print(diagnosis.pattern_id, diagnosis.line, diagnosis.mitigation.automatic)
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from autopack_kit.settings import load

from autopack_hardening.adapters.registry import diagnostician
from autopack_hardening.core.model import (
    Action,
    Approval,
    ChangeCwd,
    DeclaredAtBase,
    DeclaredDependency,
    Diagnosis,
    DiagnosisResult,
    DirectoryExists,
    EditCommand,
    Ending,
    Failure,
    FileExists,
    InstallDeclared,
    Mitigation,
    Outcome,
    PathAbsent,
    ProjectFacts,
    RegenerateLockfile,
    RemoveStaleLock,
    RestoreOutOfScope,
    RetryWithBackoff,
    Risk,
    RunCommand,
    RunFormatter,
    Runtime,
    SetEnv,
    Suggestion,
    SwitchRuntime,
)
from autopack_hardening.core.patterns import Pattern, PatternError

if TYPE_CHECKING:
    from autopack_hardening.service import HardeningService
    from autopack_hardening.settings import HardeningSettings

__all__ = [
    "Action",
    "Approval",
    "ChangeCwd",
    "DeclaredAtBase",
    "DeclaredDependency",
    "Diagnosis",
    "DiagnosisResult",
    "DirectoryExists",
    "EditCommand",
    "Ending",
    "Failure",
    "FileExists",
    "InstallDeclared",
    "Mitigation",
    "Outcome",
    "PathAbsent",
    "Pattern",
    "PatternError",
    "ProjectFacts",
    "RegenerateLockfile",
    "RemoveStaleLock",
    "RestoreOutOfScope",
    "RetryWithBackoff",
    "Risk",
    "RunCommand",
    "RunFormatter",
    "Runtime",
    "SetEnv",
    "Suggestion",
    "SwitchRuntime",
    "create",
    "diagnose",
    "patterns",
]


def diagnose(failure: Failure) -> DiagnosisResult:
    """Explains ``failure`` with the packaged patterns. Executes nothing, touches no file, is linear in the output.

    The first call compiles and proves the patterns (some 50 ms). Exit code 0 never matches.
    """
    return diagnostician().diagnose(failure)


def patterns() -> tuple[Pattern, ...]:
    """The packaged patterns by priority, then by id."""
    return diagnostician().patterns


def create(settings: HardeningSettings | None = None) -> HardeningService:
    """The service for a server of ``autopack_kit``; without settings they are read from the environment."""
    # Imported here so that a user of diagnose() alone needs neither grpc nor the stubs.
    from autopack_hardening.service import HardeningService
    from autopack_hardening.settings import HardeningSettings

    return HardeningService(settings or load(HardeningSettings, os.environ))
