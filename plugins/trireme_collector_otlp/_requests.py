"""Log records as the body of a request: protobuf or JSON."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import msgspec

from trireme_collector.formats.protobuf import (
    bytes_field,
    double_field,
    fixed64_field,
    varint_field,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trireme_collector_otlp._logs import Log, Value

__all__ = ["SCOPE", "json_request", "protobuf_request"]

SCOPE = "trireme_collector"
"""The name of the instrumentation scope."""

_LONGEST_KEPT, _LARGEST_KEPT = 64, 65_536  # what is remembered stays small
_encode = msgspec.json.Encoder().encode


def protobuf_request(logs: Iterable[Log], resource: Mapping[str, Value], now_ns: int) -> bytes:
    """Write ``ExportLogsServiceRequest``.

    Args:
        logs: The log records.
        resource: The attributes of the resource.
        now_ns: The time of observation.
    """
    scope_logs = bytes_field(1, bytes_field(1, SCOPE.encode())) + b"".join(
        [bytes_field(2, _log(log, now_ns)) for log in logs]
    )
    described = b"".join(_attribute(1, name, value) for name, value in resource.items())
    return bytes_field(1, bytes_field(1, described) + bytes_field(2, scope_logs))


def json_request(logs: Iterable[Log], resource: Mapping[str, Value], now_ns: int) -> bytes:
    """Write the same as JSON; 64-bit integers are texts there."""
    observed = b'"observedTimeUnixNano":"%d"' % now_ns
    records = b",".join([_json_log(log, observed) for log in logs])
    return (
        b'{"resourceLogs":[{"resource":{"attributes":%b},"scopeLogs":'
        b'[{"scope":{"name":"%b"},"logRecords":[%b]}]}]}'
    ) % (_json_attributes(resource), SCOPE.encode(), records)


def _json_log(log: Log, observed: bytes) -> bytes:
    number, text = log.severity
    time = b'"timeUnixNano":"%d",' % log.time_ns if log.time_ns else b""
    return (
        b'{%b%b,"severityNumber":%d,"severityText":"%b","body":{"stringValue":%b},"attributes":%b}'
    ) % (time, observed, number, text.encode(), _encode(log.body), _json_attributes(log.attributes))


def _log(log: Log, now_ns: int) -> bytes:
    number, text = log.severity
    return b"".join(
        [
            fixed64_field(1, log.time_ns) if log.time_ns else b"",
            varint_field(2, number),
            bytes_field(3, text.encode()),
            bytes_field(5, bytes_field(1, log.body.encode())),
            *[_attribute(6, name, value) for name, value in log.attributes.items()],
            fixed64_field(11, now_ns),
        ]
    )


def _attribute(number: int, name: str, value: Value) -> bytes:
    # Many records have the same: short texts and small numbers are remembered.
    if isinstance(value, str):
        if len(value) <= _LONGEST_KEPT:
            return _text_attribute(number, name, value)
    elif type(value) is int and 0 <= value < _LARGEST_KEPT:
        return _integer_attribute(number, name, value)
    return bytes_field(number, _key(name) + bytes_field(2, _any(value)))


@functools.lru_cache(16_384)
def _text_attribute(number: int, name: str, value: str) -> bytes:
    return bytes_field(number, _key(name) + bytes_field(2, bytes_field(1, value.encode())))


@functools.lru_cache(16_384)
def _integer_attribute(number: int, name: str, value: int) -> bytes:
    return bytes_field(number, _key(name) + bytes_field(2, varint_field(3, value)))


@functools.lru_cache(1024)
def _key(name: str) -> bytes:
    return bytes_field(1, name.encode())


def _any(value: Value) -> bytes:
    match value:
        case bool():
            return varint_field(2, value)
        case str():
            return bytes_field(1, value.encode())
        case int():
            return varint_field(3, value)
        case float():
            return double_field(4, value)
        case _:
            return bytes_field(5, b"".join(bytes_field(1, _any(member)) for member in value))


def _json_attributes(attributes: Mapping[str, Value]) -> bytes:
    members = [_json_key(name) + _json_any(value) for name, value in attributes.items()]
    return b"[%b]" % b"},".join([*members, b""])[:-1]


@functools.lru_cache(1024)
def _json_key(name: str) -> bytes:
    return b'{"key":%b,"value":' % _encode(name)


def _json_any(value: Value) -> bytes:
    match value:
        case str():
            return b'{"stringValue":%b}' % _encode(value)
        case bool():
            return b'{"boolValue":%b}' % _encode(value)
        case int():
            return b'{"intValue":"%d"}' % value
        case float():
            return b'{"doubleValue":%b}' % _encode(value)
        case _:
            return b'{"arrayValue":{"values":[%b]}}' % b",".join(map(_json_any, value))
