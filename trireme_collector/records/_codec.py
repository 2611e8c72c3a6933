"""The one JSON form and the one MessagePack form of a record.

Both are tagged unions: the field ``type`` names the kind (``flow``, ``container``, ...). The
fields of the seed are always there; the fields that we add are there when they are known.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Union

import msgspec

from trireme_collector.records._flow import FlowRecord
from trireme_collector.records._reports import (
    Checkpoint,
    ConnectionExceptionReport,
    ContainerRecord,
    CounterReport,
    DNSRequestReport,
    IPTablesTrace,
    PacketReport,
    PingReport,
    TraceReport,
    UserRecord,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "RECORD_TYPES",
    "Record",
    "decode_json",
    "decode_msgpack",
    "encode_json",
    "encode_msgpack",
    "json_schema",
]

Record = Union[  # noqa: UP007  msgspec and typing.get_args want one object at run time
    FlowRecord,
    ContainerRecord,
    UserRecord,
    PacketReport,
    CounterReport,
    DNSRequestReport,
    PingReport,
    TraceReport,
    ConnectionExceptionReport,
    IPTablesTrace,
    Checkpoint,
]
"""Any record that travels through a pipeline."""

RECORD_TYPES: Mapping[str, type[Record]] = types.MappingProxyType(
    {
        "flow": FlowRecord,
        "container": ContainerRecord,
        "user": UserRecord,
        "packet": PacketReport,
        "counter": CounterReport,
        "dns": DNSRequestReport,
        "ping": PingReport,
        "trace": TraceReport,
        "connection_exception": ConnectionExceptionReport,
        "iptables_trace": IPTablesTrace,
        "checkpoint": Checkpoint,
    }
)
"""Every kind of record by the value of its ``type`` field."""

_json_encoder = msgspec.json.Encoder()
_json_decoder: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)
_msgpack_encoder = msgspec.msgpack.Encoder()
_msgpack_decoder: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(Record)


def encode_json(record: Record) -> bytes:
    """Give the record as one line of JSON, UTF-8, without a line end.

    Text that is not valid Unicode (a lone surrogate) is carried as U+FFFD.
    """
    try:
        return _json_encoder.encode(record)
    except UnicodeEncodeError:
        return _json_encoder.encode(_clean(msgspec.to_builtins(record)))


def decode_json(data: bytes | str) -> Record:
    """Read one record from its JSON form.

    Raises:
        msgspec.ValidationError: A field is missing its type, or the kind is unknown.
        msgspec.DecodeError: The text is not JSON.
    """
    return _json_decoder.decode(data)


def encode_msgpack(record: Record) -> bytes:
    """Give the record as one MessagePack map; lone surrogates are carried as U+FFFD."""
    try:
        return _msgpack_encoder.encode(record)
    except UnicodeEncodeError:
        clean = msgspec.convert(_clean(msgspec.to_builtins(record)), Record)
        return _msgpack_encoder.encode(clean)


def decode_msgpack(data: bytes) -> Record:
    """Read one record from its MessagePack form.

    Raises:
        msgspec.ValidationError: A field has the wrong type, or the kind is unknown.
        msgspec.DecodeError: The bytes are not MessagePack.
    """
    return _msgpack_decoder.decode(data)


def json_schema() -> dict[str, object]:
    """Give the JSON Schema (2020-12) of one record in its JSON form."""
    schema = msgspec.json.schema(Record)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "trireme-collector record",
        **schema,
    }


def _clean(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(item) for item in value]
    return value
