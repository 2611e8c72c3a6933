"""A push read back, as Loki does it: snappy, protobuf by hand, or JSON."""

from __future__ import annotations

import gzip
import json
import re
from typing import NamedTuple

__all__ = ["Line", "decode_json_push", "decode_protobuf_push", "decode_push", "parse_labels"]


class Line(NamedTuple):
    """One entry of a push."""

    stream: tuple[tuple[str, str], ...]
    time_ns: int
    text: str
    metadata: dict[str, str]

    @property
    def fields(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.text)
        return found


def decode_push(content_type: str, content_encoding: str, body: bytes) -> list[Line]:
    if content_type == "application/x-protobuf":
        import cramjam  # noqa: PLC0415  belongs to the extra

        assert not content_encoding
        return decode_protobuf_push(bytes(cramjam.snappy.decompress_raw(body)))
    assert content_type == "application/json"
    return decode_json_push(gzip.decompress(body) if content_encoding == "gzip" else body)


def decode_json_push(body: bytes) -> list[Line]:
    found = []
    for stream in json.loads(body)["streams"]:
        labels = tuple(sorted(stream["stream"].items()))
        for time_text, text, *metadata in stream["values"]:
            assert isinstance(time_text, str)
            found.append(Line(labels, int(time_text), text, metadata[0] if metadata else {}))
    return found


def decode_protobuf_push(data: bytes) -> list[Line]:
    found = []
    for _, stream in _fields(data, {1}):
        parts = _fields(stream, {1, 2})
        (labels,) = [content.decode() for number, content in parts if number == 1]
        for number, content in parts:
            if number == 2:
                found.append(_entry(tuple(sorted(parse_labels(labels).items())), content))
    return found


def _entry(stream: tuple[tuple[str, str], ...], data: bytes) -> Line:
    parts = _fields(data, {1, 2, 3})
    (time,) = [content for number, content in parts if number == 1]
    (line,) = [content for number, content in parts if number == 2]
    metadata = {}
    for number, content in parts:
        if number == 3:
            pair = dict(_fields(content, {1, 2}))
            metadata[pair[1].decode()] = pair[2].decode()
    values = _numbers(time)
    assert values.keys() <= {1, 2}
    assert 0 <= values.get(2, 0) < 1_000_000_000
    time_ns = values.get(1, 0) * 1_000_000_000 + values.get(2, 0)
    return Line(stream, time_ns, line.decode(), metadata)


def _fields(data: bytes, known: set[int]) -> list[tuple[int, bytes]]:
    """Read fields that have a length."""
    found, place = [], 0
    while place < len(data):
        tag, place = _varint(data, place)
        assert tag & 7 == 2
        assert tag >> 3 in known
        size, place = _varint(data, place)
        assert place + size <= len(data)
        found.append((tag >> 3, data[place : place + size]))
        place += size
    return found


def _numbers(data: bytes) -> dict[int, int]:
    found, place = {}, 0
    while place < len(data):
        tag, place = _varint(data, place)
        assert tag & 7 == 0
        found[tag >> 3], place = _varint(data, place)
    return found


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            assert value < 1 << 64
            return value, place


_PAIR = re.compile(r'([A-Za-z_][A-Za-z0-9_]*)="((?:[^"\\]|\\.)*)"(, |$)')
_SIMPLE = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}


def parse_labels(text: str) -> dict[str, str]:
    """Read the labels of a stream as Go reads quoted texts."""
    assert text.startswith("{")
    assert text.endswith("}")
    inner, place, found = text[1:-1], 0, {}
    while place < len(inner):
        match = _PAIR.match(inner, place)
        assert match is not None, inner[place:]
        found[match[1]] = re.sub(
            r"\\(x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|.)", _unquote, match[2]
        )
        place = match.end()
    return found


def _unquote(match: re.Match[str]) -> str:
    escape = match[1]
    return _SIMPLE[escape] if len(escape) == 1 else chr(int(escape[1:], 16))
