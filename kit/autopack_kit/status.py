"""Errors on the wire: :class:`AutopackError` to gRPC status and back.

Every status carries ``google.rpc.ErrorInfo`` (AIP-193) and, where it helps, ``BadRequest`` or ``RetryInfo``, in the
``grpc-status-details-bin`` trailer, so that a client in any language can act on the reason, not on a sentence.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from autopack_kit import errors
from autopack_kit.errors import AutopackError, FieldViolation

__all__ = ["DETAILS_KEY", "STREAM_ENDED", "code_of", "from_rpc_error", "to_status"]

DETAILS_KEY = "grpc-status-details-bin"
"""The trailer that all gRPC libraries read the rich status from."""

STREAM_ENDED = "STREAM_ENDED_BY_SERVER"
"""Reason of a stream that the server ended for its age or because it stops: the client opens it again."""

# gRPC's default limit for all headers of a response is 8 KiB (the details travel in base64, the sentence
# percent-encoded): a status over it would reach the client as an unrelated error.
MAX_MESSAGE = 1500
"""Bytes of the sentence, percent-encoded: 500 letters with an accent, 166 Chinese ones."""
MAX_REMEDY = 500
MAX_VALUE = 256
MAX_METADATA = 16
MAX_VIOLATIONS = 16
MAX_DETAILS = 4500
"""Bytes of the serialized status; 6,000 in base64."""

_CODES: dict[type[AutopackError], grpc.StatusCode] = {
    errors.InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    errors.OutOfRange: grpc.StatusCode.OUT_OF_RANGE,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.Aborted: grpc.StatusCode.ABORTED,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.Internal: grpc.StatusCode.INTERNAL,
}
_CLASSES = {code: cls for cls, code in _CODES.items()}
_REMEDY = "remedy"
_RETRY_DELAY = "retry_delay"


def code_of(error: AutopackError) -> grpc.StatusCode:
    """The status code of an error: that of its nearest class; INTERNAL for a bare :class:`AutopackError`."""
    for cls in type(error).__mro__:
        if cls in _CODES:
            return _CODES[cls]
    return grpc.StatusCode.INTERNAL


def to_status(error: AutopackError, domain: str) -> tuple[grpc.StatusCode, str, bytes]:
    """Code, message and serialized ``google.rpc.Status`` of an error, cut to what fits into the response headers.

    Args:
        error: the error.
        domain: who says so, for example ``toolchain.autopack``.
    """
    code = code_of(error)
    message = _cut_encoded(str(error), MAX_MESSAGE)
    info = _error_info(error, domain)
    violations = [
        error_details_pb2.BadRequest.FieldViolation(
            field=_cut(item.field, MAX_VALUE), description=_cut(item.description, MAX_VALUE)
        )
        for item in error.violations[:MAX_VIOLATIONS]
    ]
    while True:
        details: list[Any] = [info, _retry_delay(error)]
        if violations:
            details.append(error_details_pb2.BadRequest(field_violations=violations))
        status = status_pb2.Status(code=code.value[0], message=message)
        for detail in details:
            if detail is not None:
                status.details.add().Pack(detail)
        data = status.SerializeToString()
        if len(data) <= MAX_DETAILS:
            return code, message, data
        if violations:
            violations.pop()  # the first are those a person corrects first
        else:
            info.metadata.clear()


def from_rpc_error(error: grpc.RpcError) -> AutopackError:
    """The error a server sent, with its reason, remedy, metadata and violations; for clients, sync and asyncio.

    A status without ErrorInfo (from gRPC itself, a proxy, or a server that cannot be reached) gets the reason
    ``RPC_<CODE>``. The class follows the code, :class:`Internal` standing for those without one of their own.
    """
    code = _call(error, "code") or grpc.StatusCode.UNKNOWN
    text = _call(error, "details") or str(error)
    info, violations = error_details_pb2.ErrorInfo(), []
    for detail in _details(error):
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            detail.Unpack(info)
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad = error_details_pb2.BadRequest()
            detail.Unpack(bad)
            violations = [FieldViolation(item.field, item.description) for item in bad.field_violations]
    metadata = dict(info.metadata)
    remedy = metadata.pop(_REMEDY, "")
    return _CLASSES.get(code, errors.Internal)(
        text.removesuffix(remedy).rstrip() if remedy else text,
        reason=info.reason or f"RPC_{code.name}",
        remedy=remedy,
        metadata=metadata,
        violations=violations,
    )


def _error_info(error: AutopackError, domain: str) -> error_details_pb2.ErrorInfo:
    metadata = {key[:64]: _cut(value, MAX_VALUE) for key, value in list(error.metadata.items())[:MAX_METADATA]}
    if error.remedy:
        metadata[_REMEDY] = _cut(error.remedy, MAX_REMEDY)
    return error_details_pb2.ErrorInfo(reason=error.reason[:63], domain=domain, metadata=metadata)


def _retry_delay(error: AutopackError) -> error_details_pb2.RetryInfo | None:
    """RetryInfo from the metadata ``retry_delay``, in seconds, such as ``"1.5"``."""
    raw = error.metadata.get(_RETRY_DELAY)
    if raw is None or not isinstance(error, errors.ResourceExhausted | errors.Unavailable):
        return None
    info = error_details_pb2.RetryInfo()
    info.retry_delay.FromMilliseconds(round(float(raw) * 1000))
    return info


def _cut(text: str, limit: int) -> str:
    """At most ``limit`` bytes of UTF-8, marked when cut."""
    data = text.encode("utf-8", "replace")
    return data.decode() if len(data) <= limit else data[: limit - 3].decode("utf-8", "ignore") + "…"


def _cut_encoded(text: str, limit: int) -> str:
    """At most ``limit`` bytes of what gRPC makes of it in a header, marked when cut."""
    text = text.encode("utf-8", "replace").decode()
    sizes = list(accumulate(map(_encoded_size, text)))
    if not sizes or sizes[-1] <= limit:
        return text
    return text[: bisect_right(sizes, limit - _encoded_size("…"))] + "…"


def _encoded_size(letter: str) -> int:
    """Bytes of a letter in the header grpc-message: all but printable ASCII, and "%" too, take three per byte."""
    return 1 if " " <= letter <= "~" and letter != "%" else 3 * len(letter.encode())


def _call(error: grpc.RpcError, name: str) -> Any:
    method = getattr(error, name, None)
    return method() if callable(method) else None


def _details(error: grpc.RpcError) -> list[AnyMessage]:
    for key, value in _call(error, "trailing_metadata") or ():
        if key == DETAILS_KEY:
            try:
                return list(status_pb2.Status.FromString(value).details)
            except DecodeError:  # a peer that is not ours; its code and text still stand
                return []
    return []
