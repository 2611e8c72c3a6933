"""Classes of messages, made of schemas at run time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from google.protobuf import (
    any_pb2,
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    field_mask_pb2,
    message_factory,
    timestamp_pb2,
    wrappers_pb2,
)

from trireme_datapath.grpc_server._schema import SCALARS

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from trireme_datapath.grpc_server._schema import FieldSchema, FileSchema, Schema

__all__ = ["Messages"]

_FIELD = descriptor_pb2.FieldDescriptorProto
_TYPES: Final = {
    name: descriptor_pb2.FieldDescriptorProto.Type.Value(f"TYPE_{name.upper()}") for name in SCALARS
}
_WELL_KNOWN_FILES: Final = tuple(
    module.DESCRIPTOR.serialized_pb
    for module in (any_pb2, duration_pb2, field_mask_pb2, timestamp_pb2, wrappers_pb2)
)


class Messages:
    """The messages of a schema, in a pool of their own: others may know the same names.

    Args:
        schema: What there is.

    Attributes:
        files: All files, encoded, by name.
    """

    def __init__(self, schema: Schema) -> None:
        """Make the descriptors."""
        self._pool = descriptor_pool.DescriptorPool()
        self._classes: dict[str, type[Message]] = {}
        self.files: dict[str, bytes] = {}
        for content in _WELL_KNOWN_FILES:
            self._add(content)
        for file in schema.files:
            self._add(_describe(file, schema).SerializeToString())

    def _add(self, content: bytes) -> None:
        self._pool.AddSerializedFile(content)
        self.files[descriptor_pb2.FileDescriptorProto.FromString(content).name] = content

    def __getitem__(self, name: str) -> type[Message]:
        """Give the class of a message by its full name."""
        found = self._classes.get(name)
        if found is None:
            descriptor = self._pool.FindMessageTypeByName(name)
            found = self._classes[name] = message_factory.GetMessageClass(descriptor)
        return found


def _describe(file: FileSchema, schema: Schema) -> descriptor_pb2.FileDescriptorProto:
    described = descriptor_pb2.FileDescriptorProto(
        name=file.name, package=file.package, syntax="proto3", dependency=file.imports
    )
    made: dict[str, descriptor_pb2.DescriptorProto] = {}
    for message in file.messages:
        parent, _, name = message.name.rpartition(".")
        inside = made[parent].nested_type if parent in made else described.message_type
        one = made[message.name] = inside.add(name=name)
        oneofs: list[str] = []
        for field in message.fields.values():
            one.field.append(_field(field, oneofs, schema))
        for oneof in oneofs:
            one.oneof_decl.add(name=oneof)
    for enum in file.enums:
        parent, _, name = enum.name.rpartition(".")
        enums = made[parent].enum_type if parent in made else described.enum_type
        values = enums.add(name=name).value
        for value, number in enum.numbers.items():
            values.add(name=value, number=number)
    for service in file.services:
        methods = described.service.add(name=service.name.rpartition(".")[2]).method
        for method in service.methods:
            methods.add(
                name=method.name,
                input_type=f".{method.request}",
                output_type=f".{method.response}",
                client_streaming=method.request_stream,
                server_streaming=method.response_stream,
            )
    return described


def _field(
    field: FieldSchema, oneofs: list[str], schema: Schema
) -> descriptor_pb2.FieldDescriptorProto:
    described = descriptor_pb2.FieldDescriptorProto(
        name=field.name,
        number=field.number,
        label=_FIELD.LABEL_REPEATED if field.repeated else _FIELD.LABEL_OPTIONAL,
    )
    if field.type in SCALARS:
        described.type = _TYPES[field.type]
    else:
        described.type = _FIELD.TYPE_ENUM if field.type in schema.enums else _FIELD.TYPE_MESSAGE
        described.type_name = f".{field.type}"
    if field.oneof:
        if field.oneof not in oneofs:
            oneofs.append(field.oneof)
        described.oneof_index = oneofs.index(field.oneof)
    return described
