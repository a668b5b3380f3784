"""Files of agents to records, and what was found in them to a message."""

from __future__ import annotations

from autopack_api.telemetry.v1 import agents_pb2 as pb
from autopack_kit.errors import invalid_field

from autopack_telemetry.convert_values import tokens_message
from autopack_telemetry.core.checks import check_run_id
from autopack_telemetry.core.importers.found import Format, Found
from autopack_telemetry.core.importers.reading import import_usage
from autopack_telemetry.core.model import Tokens

__all__ = ["import_response", "usage_in"]

MAX_PHASE_ID = 128

_FORMATS: dict[pb.UsageFileFormat.ValueType, Format | None] = {
    pb.USAGE_FILE_FORMAT_UNSPECIFIED: None,
    pb.USAGE_FILE_FORMAT_AIDER_ANALYTICS: Format.AIDER,
    pb.USAGE_FILE_FORMAT_MINI_SWE_AGENT: Format.MINI_SWE_AGENT,
    pb.USAGE_FILE_FORMAT_CODEX_EXEC: Format.CODEX,
    pb.USAGE_FILE_FORMAT_CLAUDE_RESULT: Format.CLAUDE,
    pb.USAGE_FILE_FORMAT_GEMINI_RESULT: Format.GEMINI,
    pb.USAGE_FILE_FORMAT_OPENHANDS_STATE: Format.OPENHANDS,
}
_NUMBERS = {found: number for number, found in _FORMATS.items() if found is not None}


def usage_in(request: pb.ImportUsageRequest, now: int) -> tuple[Format, Found]:
    """The format of the file of a request, and what is in it.

    Raises:
        InvalidArgument: ``INVALID_FIELD``, ``FORMAT_UNKNOWN`` or ``FORMAT_MISMATCH``.
    """
    check_run_id(request.run_id)
    phase_id = request.phase_id
    if len(phase_id) > MAX_PHASE_ID or not phase_id.isprintable():
        raise invalid_field("phase_id", f"must be at most {MAX_PHASE_ID} printable characters")
    if request.format not in _FORMATS:
        raise invalid_field("format", f"{request.format} is not one of its values")
    return import_usage(request.content, request.run_id, phase_id, now, _FORMATS[request.format])


def import_response(told: Format, found: Found, recorded: int, duplicates: int) -> pb.ImportUsageResponse:
    """What was found, of which some records were new and the others known."""
    return pb.ImportUsageResponse(
        format=_NUMBERS[told],
        recorded=recorded,
        duplicates=duplicates,
        tokens=tokens_message(sum((record.tokens for record in found.records), Tokens())),
        warnings=found.warnings,
    )
