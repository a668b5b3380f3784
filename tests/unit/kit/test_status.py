from __future__ import annotations

import base64
import inspect
from typing import Any
from urllib.parse import quote

import grpc
import pytest
from autopack_kit import errors
from autopack_kit.errors import AutopackError, FieldViolation
from autopack_kit.status import DETAILS_KEY, code_of, from_rpc_error, to_status
from google.rpc import error_details_pb2, status_pb2

CLASSES = [
    cls
    for _, cls in inspect.getmembers(errors, inspect.isclass)
    if issubclass(cls, AutopackError) and cls is not AutopackError
]


class Received(grpc.RpcError):
    """What a client library raises."""

    def __init__(self, code: grpc.StatusCode, details: str, data: bytes | None) -> None:
        self._parts = (code, details, data)

    def code(self) -> grpc.StatusCode:
        return self._parts[0]

    def details(self) -> str:
        return self._parts[1]

    def trailing_metadata(self) -> Any:
        return () if self._parts[2] is None else ((DETAILS_KEY, self._parts[2]),)


@pytest.mark.parametrize("cls", CLASSES)
def test_error_of_every_class_survives_the_wire(cls: type[AutopackError]) -> None:
    sent = cls(
        "It is wrong.", reason="WRONG", remedy="Do this.", metadata={"a": "b"}, violations=[FieldViolation("f", "d")]
    )
    received = from_rpc_error(Received(*to_status(sent, "test.autopack")))
    assert type(received) is cls
    assert str(received) == str(sent)
    assert vars(received) == vars(sent)


def test_codes_of_the_classes_are_named_alike() -> None:
    for cls in CLASSES:
        name = code_of(cls("x", reason="X")).name.replace("_", "").lower()
        assert name == cls.__name__.lower()


def test_subclass_of_a_service_takes_the_code_of_its_base() -> None:
    class RunMissing(errors.NotFound):
        pass

    assert code_of(RunMissing("x", reason="X")) is grpc.StatusCode.NOT_FOUND
    assert code_of(AutopackError("x", reason="X")) is grpc.StatusCode.INTERNAL


def test_error_info_carries_reason_and_domain() -> None:
    _, _, data = to_status(errors.NotFound("x", reason="RUN_NOT_FOUND"), "orchestrator.autopack")
    info = error_details_pb2.ErrorInfo()
    assert status_pb2.Status.FromString(data).details[0].Unpack(info)
    assert (info.reason, info.domain) == ("RUN_NOT_FOUND", "orchestrator.autopack")


@pytest.mark.parametrize("letter", ["x", "%", "é", "漢", "\U0001f600", "\ud800"])
def test_status_of_an_error_of_any_length_fits_into_the_headers(letter: str) -> None:
    huge = letter * 10000
    violations = [FieldViolation(huge, huge)] * 100
    error = errors.InvalidArgument(huge, reason="X", remedy=huge, metadata={"k": huge}, violations=violations)
    _, message, data = to_status(error, "test.autopack")
    assert len(data) <= 4500
    encoded = quote(message, safe=" !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~")
    assert 1480 < len(encoded) <= 1500
    assert message.endswith("…")
    # Names and the overhead of each header (RFC 9113, 6.5.2) are well below 512 bytes.
    assert len(encoded) + len(base64.b64encode(data)) + 512 <= 8192


@pytest.mark.parametrize("data", [None, b"\xff\xff\xff"])
def test_status_of_another_server_keeps_code_and_text(data: bytes | None) -> None:
    received = from_rpc_error(Received(grpc.StatusCode.UNAVAILABLE, "connection refused", data))
    assert type(received) is errors.Unavailable
    assert (received.reason, str(received)) == ("RPC_UNAVAILABLE", "connection refused")


def test_status_without_a_class_of_ours_is_internal() -> None:
    received = from_rpc_error(Received(grpc.StatusCode.DATA_LOSS, "gone", None))
    assert (type(received), received.reason) == (errors.Internal, "RPC_DATA_LOSS")
