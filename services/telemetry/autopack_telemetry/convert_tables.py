"""OTLP's requests with attributes in tables, to be looked up by their keys.

On the wire a map is a list of pairs, which is what OTLP's attributes are. Declared as maps they become tables while the
message is parsed; of the list, Python would have to look at each pair, at half a microsecond, to find the few it reads.
"""

from __future__ import annotations

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

__all__ = ["LogsRequest", "MetricsRequest", "TraceRequest"]

_ATTRIBUTES = "attributes"
_PAIR = f".{KeyValue.DESCRIPTOR.full_name}"


def _request(pool: DescriptorPool, file: FileDescriptor, name: str) -> type[Message]:
    _add(pool, file)
    return GetMessageClass(pool.FindMessageTypeByName(f"{file.package}.{name}"))


def _add(pool: DescriptorPool, file: FileDescriptor) -> None:
    """Declares the messages of a file, and of those that it imports, in a pool of our own."""
    for imported in file.dependencies:
        _add(pool, imported)
    copy = FileDescriptorProto()
    file.CopyToProto(copy)
    for message in copy.message_type:
        for field in message.field:
            if field.name == _ATTRIBUTES and field.type_name == _PAIR:
                _make_map(copy.package, message, field)
    pool.AddSerializedFile(copy.SerializeToString())  # nothing happens if it is there already


def _make_map(package: str, message: DescriptorProto, field: FieldDescriptorProto) -> None:
    """As the compiler of protobuf declares a map."""
    pair = DescriptorProto()
    KeyValue.DESCRIPTOR.CopyToProto(pair)
    entry = message.nested_type.add(name="AttributesEntry", field=[f for f in pair.field if f.name in ("key", "value")])
    entry.options.map_entry = True
    field.type_name = f".{package}.{message.name}.{entry.name}"


_POOL = DescriptorPool()
LogsRequest = _request(_POOL, logs_service_pb2.DESCRIPTOR, "ExportLogsServiceRequest")
MetricsRequest = _request(_POOL, metrics_service_pb2.DESCRIPTOR, "ExportMetricsServiceRequest")
TraceRequest = _request(_POOL, trace_service_pb2.DESCRIPTOR, "ExportTraceServiceRequest")
