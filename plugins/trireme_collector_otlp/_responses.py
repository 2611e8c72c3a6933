"""What a receiver says of a request that it took, or took in part."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trireme_collector.http_client import Answer

__all__ = ["PartialSuccess", "read_response"]

_INT64_SIGN = 1 << 63


class PartialSuccess(NamedTuple):
    """What was not taken.

    Attributes:
        rejected: How many log records.
        message: Why, or a warning if there are none.
    """

    rejected: int = 0
    message: str = ""


class _JsonPartial(msgspec.Struct, rename="camel"):
    rejected_log_records: int | str = 0
    error_message: str = ""


class _JsonResponse(msgspec.Struct, rename="camel"):
    partial_success: _JsonPartial | None = None


_json = msgspec.json.Decoder(_JsonResponse)


def read_response(answer: Answer) -> PartialSuccess:
    """Read ``ExportLogsServiceResponse`` in the encoding in which it came.

    What cannot be read rejects nothing: the status has said that the request was taken.
    """
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind == "application/json":
            return _of_json(answer.body)
        if kind == "application/x-protobuf":
            return _of_protobuf(answer.body)
    except ValueError:
        pass
    return PartialSuccess()


def _of_json(body: bytes) -> PartialSuccess:
    partial = _json.decode(body).partial_success
    if partial is None:
        return PartialSuccess()
    count = partial.rejected_log_records
    if isinstance(count, str):
        if not (count.isascii() and count.isdecimal() and len(count) < 20):
            raise ValueError("no number")
        count = int(count)
    return PartialSuccess(max(count, 0), partial.error_message)


def _of_protobuf(body: bytes) -> PartialSuccess:
    rejected, message = 0, b""
    for number, partial in _fields(body):
        if number == 1 and isinstance(partial, bytes):
            for inner, value in _fields(partial):
                if inner == 1 and isinstance(value, int):
                    rejected = value if value < _INT64_SIGN else 0
                elif inner == 2 and isinstance(value, bytes):
                    message = value
    return PartialSuccess(rejected, message.decode("utf-8", "replace"))


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Go through the fields of a message.

    Raises:
        ValueError: It is none.
    """
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        wire = tag & 7
        if wire == 0:
            value, place = _varint(data, place)
            yield tag >> 3, value
            continue
        size = {1: 8, 5: 4}.get(wire)
        if wire == 2:
            size, place = _varint(data, place)
        if size is None or place + size > len(data):
            raise ValueError("no message")
        yield tag >> 3, data[place : place + size]
        place += size


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            break
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            if value >= 1 << 64:
                break
            return value, place
    raise ValueError("no number")
