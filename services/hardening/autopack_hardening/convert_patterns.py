"""Between the wire and the domain: custom patterns, outcomes, clusters of unmatched failures."""

from __future__ import annotations

import re
from collections.abc import Sequence

from autopack_api.hardening.v1 import hardening_pb2 as pb
from autopack_api.hardening.v1 import patterns_pb2 as patterns
from autopack_kit.errors import FieldViolation, invalid_field, invalid_fields
from google.protobuf.timestamp_pb2 import Timestamp

from autopack_hardening.convert_answers import pattern_to_proto
from autopack_hardening.core.custom import MAX_DEFINITION_BYTES, Entry
from autopack_hardening.core.outcomes import MitigationOutcome, OutcomeRecord, Success
from autopack_hardening.core.skeleton import skeleton
from autopack_hardening.core.templates import Cluster

__all__ = [
    "definition_from_request",
    "entry_to_proto",
    "fits",
    "outcome_from_request",
    "pattern_id_from_request",
    "revision_from_request",
    "unmatched_to_response",
]

_MICRO = 1_000_000
_OUTCOME_ID = re.compile(r"[A-Za-z0-9._:/-]{1,256}")
_RUN_ID = re.compile(r"[A-Za-z0-9._-]{0,128}")
_PATTERN_ID = re.compile(r"[a-z0-9._-]{1,128}")


def definition_from_request(request: patterns.CreatePatternRequest | patterns.UpdatePatternRequest) -> str:
    """The definition.

    Raises:
        InvalidArgument: it is empty or too long.
    """
    size = len(request.definition.encode())
    if not 0 < size <= MAX_DEFINITION_BYTES:
        raise invalid_field(
            "definition", f"has {size} bytes; it must be a pattern file of 1 to {MAX_DEFINITION_BYTES} bytes"
        )
    return request.definition


def revision_from_request(request: patterns.UpdatePatternRequest | patterns.DeletePatternRequest) -> int:
    """The revision that is expected; 0 = any, where that is allowed.

    Raises:
        InvalidArgument: it is missing, or negative.
    """
    if request.revision < 0 or (isinstance(request, patterns.UpdatePatternRequest) and not request.revision):
        raise invalid_field("revision", f"is {request.revision}; send the one that GetPattern gave")
    return request.revision


def pattern_id_from_request(request: pb.GetPatternRequest | patterns.DeletePatternRequest) -> str:
    """The id of a pattern.

    Raises:
        InvalidArgument: it cannot be one.
    """
    if not _PATTERN_ID.fullmatch(request.pattern_id):
        raise invalid_field("pattern_id", "must be 1 to 128 of a-z, 0-9 and ._- such as pip.hash_mismatch")
    return request.pattern_id


def outcome_from_request(request: patterns.RecordOutcomeRequest) -> OutcomeRecord:
    """An outcome.

    Raises:
        InvalidArgument: naming each bad field.
    """
    violations = []
    if not _OUTCOME_ID.fullmatch(request.outcome_id):
        violations.append(FieldViolation("outcome_id", "must be 1 to 256 of A-Z, a-z, 0-9 and ._:/-"))
    if not _PATTERN_ID.fullmatch(request.pattern_id):
        violations.append(FieldViolation("pattern_id", "must be 1 to 128 of a-z, 0-9 and ._-"))
    if not _RUN_ID.fullmatch(request.run_id):
        violations.append(FieldViolation("run_id", "must be at most 128 of A-Z, a-z, 0-9 and ._-"))
    names = {number: name for name, number in patterns.MitigationOutcome.items()}
    name = names.get(request.outcome, "").removeprefix("MITIGATION_OUTCOME_")
    if name not in MitigationOutcome.__members__:
        known = ", ".join(MitigationOutcome.__members__)
        violations.append(FieldViolation("outcome", f"is not set, or unknown; it must be one of {known}"))
    if violations:
        raise invalid_fields(violations)
    return OutcomeRecord(request.outcome_id, request.pattern_id, MitigationOutcome[name], request.run_id)


def fits(entry: Entry, request: pb.ListPatternsRequest) -> bool:
    """Whether the request asks for this pattern. Of one that does not work, family and tier are not known."""
    pattern = entry.pattern
    return (
        (not request.custom_only or entry.stored is not None)
        and (not request.family or (pattern is not None and pattern.family == request.family))
        and (not request.tier or (pattern is not None and pattern.tier == request.tier))
    )


def entry_to_proto(entry: Entry, success: Success | None, *, whole: bool = False) -> pb.Pattern:
    """A pattern as it is listed; ``whole`` adds the definition of a custom one. No success = it is not known."""
    found = pattern_to_proto(entry.pattern) if entry.pattern is not None else pb.Pattern(pattern_id=entry.id)
    if entry.stored is not None:
        found.is_custom = True
        found.revision = entry.stored.revision
        found.definition = entry.stored.definition if whole else ""
    found.disabled_reason = entry.disabled_reason
    if success is not None:
        found.success.CopyFrom(_success(success))
    return found


def unmatched_to_response(clusters: Sequence[Cluster], more: str) -> patterns.ListUnmatchedResponse:
    """A page of clusters."""
    return patterns.ListUnmatchedResponse(clusters=map(_cluster, clusters), next_page_token=more)


def _success(success: Success) -> patterns.MeasuredSuccess:
    return patterns.MeasuredSuccess(
        fixed=success.fixed,
        progressed=success.progressed,
        unchanged=success.unchanged,
        worse=success.worse,
        rate=success.rate,
        last_time=_time(success.last_at) if success.last_at else None,
    )


def _cluster(cluster: Cluster) -> patterns.UnmatchedCluster:
    return patterns.UnmatchedCluster(
        cluster_id=cluster.id,
        template=" ".join(cluster.words),
        count=cluster.count,
        first_time=_time(cluster.first_at),
        last_time=_time(cluster.last_at),
        programs=cluster.programs,
        examples=[
            patterns.UnmatchedExample(command=one.command, exit_code=one.exit_code, output=one.output)
            for one in cluster.examples
        ],
        skeleton=skeleton(cluster),
    )


def _time(time: int) -> Timestamp:
    return Timestamp(seconds=time // _MICRO, nanos=time % _MICRO * 1000)
