"""Between the wire and the domain: checks of requests that name every bad field, and answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict

from autopack_api.intention.v1 import intention_pb2 as pb
from autopack_kit.errors import FieldViolation, invalid_fields
from autopack_kit.globs import MalformedGlob, check_globs

from autopack_intention.core.clean import clean_line
from autopack_intention.core.context import (
    DEFAULT_BUDGET_BYTES,
    MAX_BUDGET_BYTES,
    MIN_BUDGET_BYTES,
    Context,
    Intention,
)
from autopack_intention.core.drift import Advisory, DriftResult, Step, Verdict
from autopack_intention.core.evidence import Evidence, FileChange
from autopack_intention.core.limits import (
    MAX_DESCRIPTION_BYTES,
    MAX_GLOB_BYTES,
    MAX_GLOBS,
    MAX_ITEM_BYTES,
    MAX_ITEMS,
    MAX_TITLE_BYTES,
)
from autopack_intention.core.profile import Profile, ProfileSource

__all__ = [
    "budget_from_request",
    "context_to_response",
    "drift_to_response",
    "intention_from_request",
    "parsed_to_response",
    "profile_from_request",
    "profile_id_from_request",
    "step_from_request",
]

# Limits of a request: each far above what real repositories and goals have, and together below 16 MiB.
MAX_NOTE_BYTES = 16 << 10
MAX_EARLIER_STEPS = 10_000
MAX_PATHS = 2_000
MAX_PATH_BYTES = 4 << 10  # PATH_MAX of Linux
MAX_HUNK_HEADERS = 200
MAX_HUNK_HEADER_BYTES = 1 << 10
MAX_IDENTIFIERS = 200
MAX_IDENTIFIER_BYTES = 1 << 10
MAX_FILES = 200
MAX_MESSAGES = 1_000
MAX_MESSAGE_BYTES = 4 << 10
MAX_BACKGROUND = 100
MAX_UTF8_BYTES = 4  # of one character
MAX_VIOLATIONS = 20  # a broken client repeats itself; the first twenty tell enough

_SHA256 = re.compile(r"[0-9a-f]{64}")


class _Checks:
    """Collects what is wrong with a request, so that a caller sees all of it at once."""

    def __init__(self) -> None:
        self._violations: list[FieldViolation] = []

    def text(self, field: str, value: str, limit: int) -> str:
        """``value``, at most ``limit`` bytes of UTF-8."""
        if len(value) > limit or len(value.encode()) > limit:
            self.add(field, f"has {len(value.encode())} bytes; at most {limit} are taken: shorten it")
        return value

    def texts(self, field: str, values: Sequence[str], count: int, limit: int) -> tuple[str, ...]:
        """``values``, at most ``count`` of at most ``limit`` bytes each."""
        if len(values) > count:
            self.add(field, f"has {len(values)} entries; at most {count} are taken: send the first {count}")
            return ()
        for index, value in enumerate(values):
            if len(value) * MAX_UTF8_BYTES > limit:  # nearly none is: only then is its name made
                self.text(f"{field}[{index}]", value, limit)
        return tuple(values)

    def globs(self, field: str, values: Sequence[str]) -> tuple[str, ...]:
        """``values``, each a glob that can match something."""
        globs = self.texts(field, values, MAX_GLOBS, MAX_GLOB_BYTES)
        try:
            check_globs(globs)
        except MalformedGlob as error:
            self.add(f"{field}[{error.index}]", f"{error}: write it as in .gitignore, for example src/ or docs/**/*.md")
        return globs

    def sha256(self, field: str, value: str, *, source: str = "BuildContext or CheckDrift returned") -> str:
        """``value``, a hash in hexadecimal or nothing."""
        if value and not _SHA256.fullmatch(value):
            self.add(field, f"is not an id: pass what {source}, or nothing")
        return value

    def add(self, field: str, description: str) -> None:
        """Note one bad field."""
        self._violations.append(FieldViolation(field, description))

    def done(self) -> None:
        """End of the checks.

        Raises:
            InvalidArgument: if there was anything to note.
        """
        if self._violations:
            raise invalid_fields(self._violations[:MAX_VIOLATIONS])


def intention_from_request(message: pb.Intention) -> Intention:
    """The intention of a request.

    Raises:
        InvalidArgument: ``INVALID_FIELD``.
    """
    checks = _Checks()
    if not clean_line(message.title[:MAX_TITLE_BYTES]):  # nor of marks that nobody can see
        checks.add("intention.title", "is empty: say the goal in one line")
    intention = Intention(
        title=checks.text("intention.title", message.title, MAX_TITLE_BYTES),
        description=checks.text("intention.description", message.description, MAX_DESCRIPTION_BYTES),
        constraints=checks.texts("intention.constraints", message.constraints, MAX_ITEMS, MAX_ITEM_BYTES),
        acceptance=checks.texts("intention.acceptance", message.acceptance, MAX_ITEMS, MAX_ITEM_BYTES),
        scope=checks.globs("intention.scope", message.scope),
        non_goals=checks.texts("intention.non_goals", message.non_goals, MAX_ITEMS, MAX_ITEM_BYTES),
        non_goal_globs=checks.globs("intention.non_goal_globs", message.non_goal_globs),
        notes=checks.texts("intention.notes", message.notes, MAX_ITEMS, MAX_ITEM_BYTES),
    )
    checks.done()
    return intention


def parsed_to_response(parsed: tuple[Intention, Sequence[str]]) -> pb.ParseIntentionResponse:
    """The answer of ParseIntention."""
    intention, warnings = parsed
    return pb.ParseIntentionResponse(intention=pb.Intention(**asdict(intention)), warnings=warnings)


def budget_from_request(request: pb.BuildContextRequest) -> int:
    """The budget in bytes, the default for 0.

    Raises:
        InvalidArgument: ``INVALID_FIELD``.
    """
    checks = _Checks()
    budget = request.budget_bytes or DEFAULT_BUDGET_BYTES
    if not MIN_BUDGET_BYTES <= budget <= MAX_BUDGET_BYTES:
        checks.add(
            "budget_bytes",
            f"is {budget}: give {MIN_BUDGET_BYTES} to {MAX_BUDGET_BYTES}, or 0 for {DEFAULT_BUDGET_BYTES}",
        )
    checks.done()
    return budget


def profile_from_request(message: pb.Profile) -> Profile:
    """The profile of a request, counted.

    Raises:
        InvalidArgument: ``INVALID_FIELD``.
    """
    checks = _Checks()
    messages = checks.texts("profile.messages", message.messages, MAX_MESSAGES, MAX_MESSAGE_BYTES)
    if len(message.background) > MAX_BACKGROUND:
        checks.add("profile.background", f"has {len(message.background)} changes; at most {MAX_BACKGROUND} are taken")
    changes = [
        _evidence(checks, f"profile.background[{index}]", change)
        for index, change in enumerate(message.background[:MAX_BACKGROUND])
    ]
    checks.done()
    return Profile.build(messages, changes)


def profile_id_from_request(request: pb.CheckDriftRequest) -> str:
    """The id, empty for none.

    Raises:
        InvalidArgument: ``INVALID_FIELD``: nothing that PutProfile ever returned.
    """
    checks = _Checks()
    profile_id = checks.sha256("profile_id", request.profile_id, source="PutProfile returned")
    checks.done()
    return profile_id


def step_from_request(request: pb.CheckDriftRequest) -> Step:
    """The step of a request.

    Raises:
        InvalidArgument: ``INVALID_FIELD``.
    """
    checks = _Checks()
    if len(request.earlier_z) > MAX_EARLIER_STEPS:
        checks.add("earlier_z", f"has {len(request.earlier_z)} values; at most {MAX_EARLIER_STEPS}: send the last ones")
    step = Step(
        evidence=_evidence(checks, "evidence", request.evidence),
        note=checks.text("note", request.note, MAX_NOTE_BYTES),
        earlier_z=tuple(request.earlier_z),
        final=request.final,
        source_sha256=checks.sha256("source_sha256", request.source_sha256),
    )
    checks.done()
    return step


def context_to_response(context: Context) -> pb.BuildContextResponse:
    """The answer of BuildContext."""
    return pb.BuildContextResponse(
        text=context.text,
        size_bytes=context.size_bytes,
        kept={section.value: count for section, count in context.kept.items()},
        dropped={section.value: count for section, count in context.dropped.items()},
        source_sha256=context.source_sha256,
    )


def drift_to_response(result: DriftResult) -> pb.CheckDriftResponse:
    """The answer of CheckDrift."""
    return pb.CheckDriftResponse(
        step_verdict=_VERDICTS[result.step_verdict],
        run_verdict=_VERDICTS[result.run_verdict],
        single_step=result.single_step,
        z=result.z,
        confidence=result.confidence,
        prior=result.prior,
        cosine=result.cosine,
        shared_terms=result.shared_terms,
        unexplained_terms=result.unexplained_terms,
        out_of_scope_paths=result.out_of_scope,
        off_goal_files=[pb.OffGoalFile(path=file.path, score=file.score) for file in result.off_goal_files],
        advisories=[_ADVISORIES[advisory] for advisory in result.advisories],
        profile_source=_SOURCES[result.profile_source],
        profile_size=result.profile_messages + result.profile_changes,
        evidence_terms=result.evidence_terms,
        goal_terms=result.goal_terms,
        source_sha256=result.source_sha256,
    )


def _evidence(checks: _Checks, field: str, message: pb.ChangeEvidence) -> Evidence:
    if len(message.files) > MAX_FILES:
        checks.add(f"{field}.files", f"has {len(message.files)} files; at most {MAX_FILES} are taken: send the first")
    return Evidence(
        paths=checks.texts(f"{field}.paths", message.paths, MAX_PATHS, MAX_PATH_BYTES),
        hunk_headers=_hunk_headers(checks, field, message),
        added_identifiers=_identifiers(checks, field, message),
        files=tuple(
            _file(checks, f"{field}.files[{index}]", file) for index, file in enumerate(message.files[:MAX_FILES])
        ),
    )


def _file(checks: _Checks, field: str, message: pb.FileChange) -> FileChange:
    if not message.path:
        checks.add(f"{field}.path", "is empty: say which file changed")
    return FileChange(
        path=checks.text(f"{field}.path", message.path, MAX_PATH_BYTES),
        hunk_headers=_hunk_headers(checks, field, message),
        added_identifiers=_identifiers(checks, field, message),
        added=message.added,
    )


def _hunk_headers(checks: _Checks, field: str, message: pb.ChangeEvidence | pb.FileChange) -> tuple[str, ...]:
    return checks.texts(f"{field}.hunk_headers", message.hunk_headers, MAX_HUNK_HEADERS, MAX_HUNK_HEADER_BYTES)


def _identifiers(checks: _Checks, field: str, message: pb.ChangeEvidence | pb.FileChange) -> tuple[str, ...]:
    return checks.texts(f"{field}.added_identifiers", message.added_identifiers, MAX_IDENTIFIERS, MAX_IDENTIFIER_BYTES)


_VERDICTS = {
    Verdict.ON_GOAL: pb.VERDICT_ON_GOAL,
    Verdict.WATCH: pb.VERDICT_WATCH,
    Verdict.DRIFT: pb.VERDICT_DRIFT,
    Verdict.INSUFFICIENT_EVIDENCE: pb.VERDICT_INSUFFICIENT_EVIDENCE,
    Verdict.SCOPE_VIOLATION: pb.VERDICT_SCOPE_VIOLATION,
}
_ADVISORIES = {
    Advisory.CLAIM_MISMATCH: pb.ADVISORY_CLAIM_MISMATCH,
    Advisory.GOAL_TOO_SHORT: pb.ADVISORY_GOAL_TOO_SHORT,
    Advisory.OFF_GOAL_FILES: pb.ADVISORY_OFF_GOAL_FILES,
    Advisory.NO_HISTORY: pb.ADVISORY_NO_HISTORY,
    Advisory.GOAL_UNFAMILIAR: pb.ADVISORY_GOAL_UNFAMILIAR,
    Advisory.GOAL_EDITED: pb.ADVISORY_GOAL_EDITED,
}
_SOURCES = {
    ProfileSource.REPOSITORY: pb.PROFILE_SOURCE_REPOSITORY,
    ProfileSource.BACKGROUND_ONLY: pb.PROFILE_SOURCE_BACKGROUND_ONLY,
    ProfileSource.NONE: pb.PROFILE_SOURCE_NONE,
}
