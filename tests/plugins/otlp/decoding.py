"""Requests read back: JSON by the rules of OTLP, protobuf by the library from the numbers."""

from __future__ import annotations

import functools
import gzip
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Seen", "decode", "message_type"]


class Seen(NamedTuple):
    """A log record as a receiver has it."""

    resource: Mapping[str, object]
    scope: str
    time_ns: int
    observed_ns: int
    severity: tuple[int, str]
    body: str
    attributes: Mapping[str, object]


def decode(headers: Mapping[str, str], body: bytes) -> list[Seen]:
    if headers.get("Content-Encoding") == "gzip":
        body = gzip.decompress(body)
    if headers["Content-Type"] == "application/json":
        return _json(json.loads(body))
    assert headers["Content-Type"] == "application/x-protobuf"
    return _protobuf(body)


def _json(request: Mapping[str, Any]) -> list[Seen]:
    return [
        Seen(
            _json_attributes(group["resource"]["attributes"]),
            scope["scope"]["name"],
            int(log.get("timeUnixNano", "0")),
            int(log["observedTimeUnixNano"]),
            (log["severityNumber"], log["severityText"]),
            log["body"]["stringValue"],
            _json_attributes(log["attributes"]),
        )
        for group in request["resourceLogs"]
        for scope in group["scopeLogs"]
        for log in scope["logRecords"]
    ]


def _json_attributes(pairs: Sequence[Mapping[str, Any]]) -> dict[str, object]:
    return {pair["key"]: _json_value(pair["value"]) for pair in pairs}


def _json_value(value: Mapping[str, Any]) -> object:
    ((kind, content),) = value.items()
    if kind == "intValue":
        assert isinstance(content, str)
        return int(content)
    if kind == "arrayValue":
        return tuple(map(_json_value, content["values"]))
    return content


def _protobuf(body: bytes) -> list[Seen]:
    request = message_type("ExportLogsServiceRequest")()
    request.ParseFromString(body)
    return [
        Seen(
            _attributes(group.resource.attributes),
            scope.scope.name,
            log.time_unix_nano,
            log.observed_time_unix_nano,
            (log.severity_number, log.severity_text),
            log.body.string_value,
            _attributes(log.attributes),
        )
        for group in request.resource_logs
        for scope in group.scope_logs
        for log in scope.log_records
    ]


def _attributes(pairs: Sequence[Any]) -> dict[str, object]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> object:  # noqa: ANN401  a class that the library makes while it runs
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return tuple(map(_value, value.array_value.values))
    found: object = getattr(value, kind)
    return found


# Name, number, type (1 double, 3 int64, 5 int32, 6 fixed64, 8 bool, 9 string, 11 message), message.
_MESSAGES: dict[str, list[tuple[str, int, int, str]]] = {
    "AnyValue": [
        ("string_value", 1, 9, ""),
        ("bool_value", 2, 8, ""),
        ("int_value", 3, 3, ""),
        ("double_value", 4, 1, ""),
        ("array_value", 5, 11, "ArrayValue"),
    ],
    "ArrayValue": [("*values", 1, 11, "AnyValue")],
    "KeyValue": [("key", 1, 9, ""), ("value", 2, 11, "AnyValue")],
    "Scope": [("name", 1, 9, "")],
    "Resource": [("*attributes", 1, 11, "KeyValue")],
    "LogRecord": [
        ("time_unix_nano", 1, 6, ""),
        ("severity_number", 2, 5, ""),
        ("severity_text", 3, 9, ""),
        ("body", 5, 11, "AnyValue"),
        ("*attributes", 6, 11, "KeyValue"),
        ("observed_time_unix_nano", 11, 6, ""),
    ],
    "ScopeLogs": [("scope", 1, 11, "Scope"), ("*log_records", 2, 11, "LogRecord")],
    "ResourceLogs": [("resource", 1, 11, "Resource"), ("*scope_logs", 2, 11, "ScopeLogs")],
    "ExportLogsServiceRequest": [("*resource_logs", 1, 11, "ResourceLogs")],
    "PartialSuccess": [("rejected_log_records", 1, 3, ""), ("error_message", 2, 9, "")],
    "ExportLogsServiceResponse": [("partial_success", 1, 11, "PartialSuccess")],
}
_PACKAGE = "trireme_otlp_test"


def message_type(name: str) -> Any:  # noqa: ANN401  a class that the library makes while it runs
    """Give a message of OTLP, made from the numbers in its published files."""
    pool, factory = _pool()
    return factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


@functools.cache
def _pool() -> tuple[Any, Any]:
    descriptor_pb2 = pytest.importorskip("google.protobuf.descriptor_pb2")
    pool_module = pytest.importorskip("google.protobuf.descriptor_pool")
    factory = pytest.importorskip("google.protobuf.message_factory")
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{_PACKAGE}.proto", package=_PACKAGE, syntax="proto3"
    )
    for name, fields in _MESSAGES.items():
        described = file.message_type.add(name=name)
        if name == "AnyValue":
            described.oneof_decl.add(name="value")
        for field, number, kind, of in fields:
            added = described.field.add(name=field.lstrip("*"), number=number, type=kind)
            added.label = 3 if field.startswith("*") else 1
            if of:
                added.type_name = f".{_PACKAGE}.{of}"
            if name == "AnyValue":
                added.oneof_index = 0
    pool = pool_module.DescriptorPool()
    pool.Add(file)
    return pool, factory
