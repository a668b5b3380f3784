from __future__ import annotations

import json

import pytest
from autopack_kit.channel import open_channel, open_sync_channel, retryable_methods, service_config
from autopack_kit.errors import FailedPrecondition, InvalidArgument
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import FileDescriptor


@pytest.fixture
def file() -> FileDescriptor:
    """A service whose methods differ in what may be sent twice."""
    proto = descriptor_pb2.FileDescriptorProto(name="kit_channel_test.proto", package="kit.test.v1", syntax="proto3")
    proto.message_type.add(name="Empty")
    create = proto.message_type.add(name="CreateRequest")
    create.field.add(name="request_id", number=1, type="TYPE_STRING", label="LABEL_OPTIONAL")
    service = proto.service.add(name="ThingService")
    for name, request in (("Get", "Empty"), ("Put", "Empty"), ("Create", "CreateRequest"), ("Delete", "Empty")):
        service.method.add(name=name, input_type=f".kit.test.v1.{request}", output_type=".kit.test.v1.Empty")
    service.method[0].options.idempotency_level = descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS
    service.method[1].options.idempotency_level = descriptor_pb2.MethodOptions.IDEMPOTENT
    pool = descriptor_pool.DescriptorPool()
    pool.Add(proto)
    return pool.FindFileByName(proto.name)


def test_methods_that_may_be_sent_twice_are_those_marked_and_those_with_a_request_id(file: FileDescriptor) -> None:
    assert retryable_methods([file]) == [("kit.test.v1.ThingService", name) for name in ("Get", "Put", "Create")]


def test_service_config_retries_the_given_methods_on_unavailable_and_no_other() -> None:
    config = json.loads(service_config([("a.v1.A", "Get")]))
    assert config["loadBalancingConfig"] == [{"round_robin": {}}]
    (method,) = config["methodConfig"]
    assert method["name"] == [{"service": "a.v1.A", "method": "Get"}]
    assert method["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]
    assert "methodConfig" not in json.loads(service_config([]))


PUBLIC = ["example.test:1", "dns:///example.test:1", "10.0.0.1:1", "dns:///localhost.example.test:1"]
PRIVATE = ["unix:/tmp/s", "127.0.0.1:1", "localhost:1", "dns:///localhost:1", "[::1]:1"]


@pytest.mark.parametrize("address", PUBLIC)
async def test_token_over_plaintext_to_another_machine_is_refused(address: str) -> None:
    for opener in (open_channel, open_sync_channel):
        with pytest.raises(FailedPrecondition) as caught:
            opener(address, token="secret-token")
        assert caught.value.reason == "TOKEN_IN_PLAINTEXT"
        assert "secret-token" not in str(caught.value)


@pytest.mark.parametrize("address", PRIVATE)
async def test_token_over_plaintext_to_this_machine_is_accepted(address: str) -> None:
    async with open_channel(address, token="t"):
        pass
    with open_sync_channel(address, token="t"):
        pass


@pytest.mark.parametrize("address", PUBLIC)
async def test_channel_to_another_machine_without_a_token_is_accepted(address: str) -> None:
    async with open_channel(address):
        pass


@pytest.mark.parametrize("address", ["", "localhost", "unix:relative", "unix:"])
def test_channel_to_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        open_channel(address)
    assert caught.value.reason == "ADDRESS_INVALID"
