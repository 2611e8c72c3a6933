"""Entries as the body of a push: protobuf or JSON."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import msgspec

from trireme_collector.formats.json_lines import printable_json
from trireme_collector.formats.protobuf import bytes_field, varint_field

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trireme_collector_loki._entries import Entry, Pairs

__all__ = ["Streams", "arrange", "json_push", "label_text", "protobuf_push"]

Streams = dict["Pairs", list["Entry"]]

_NANOSECONDS = 1_000_000_000
_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\", '"': '\\"'}
_encode = msgspec.json.Encoder().encode


def arrange(entries: Iterable[Entry]) -> Streams:
    """Sort entries into their streams, each by time.

    Entries of one stream with the same time and the same line pass for one with Loki, so such
    times are moved on, a nanosecond each.
    """
    streams: Streams = {}
    for entry in entries:
        streams.setdefault(entry.labels, []).append(entry)
    for labels, members in streams.items():
        members.sort(key=_time_of)
        streams[labels] = _told_apart(members)
    return streams


def json_push(streams: Streams, *, metadata: bool) -> bytes:
    """Write streams as the JSON of a push."""
    whole = _encode(
        {
            "streams": [
                {
                    "stream": dict(labels),
                    "values": [_json_entry(entry, metadata=metadata) for entry in entries],
                }
                for labels, entries in streams.items()
            ]
        }
    )
    return printable_json(whole)


def protobuf_push(streams: Streams, *, metadata: bool) -> bytes:
    """Write streams as the message ``PushRequest``, before snappy."""
    return b"".join(
        [
            bytes_field(
                1,
                bytes_field(1, label_text(labels).encode())
                + b"".join([bytes_field(2, _entry(entry, metadata=metadata)) for entry in entries]),
            )
            for labels, entries in streams.items()
        ]
    )


@functools.lru_cache(4096)
def label_text(labels: Pairs) -> str:
    """Write labels as ``{name="value", ...}``, values quoted as Go does."""
    return "{" + ", ".join(f"{name}={_quote(value)}" for name, value in labels) + "}"


def _told_apart(members: Sequence[Entry]) -> list[Entry]:
    seen: set[tuple[int, bytes]] = set()
    following: dict[tuple[int, bytes], int] = {}
    moved = False
    found = []
    for entry in members:
        place = entry.time_ns, entry.line
        if place in seen:
            time_ns = following.get(place, entry.time_ns + 1)
            while (time_ns, entry.line) in seen:
                time_ns += 1
            following[place] = time_ns + 1
            found.append(entry._replace(time_ns=time_ns))
            seen.add((time_ns, entry.line))
            moved = True
        else:
            seen.add(place)
            found.append(entry)
    if moved:
        found.sort(key=_time_of)
    return found


def _time_of(entry: Entry) -> int:
    return entry.time_ns


def _json_entry(entry: Entry, *, metadata: bool) -> list[object]:
    value: list[object] = [str(entry.time_ns), entry.line.decode()]
    if metadata and entry.metadata:
        value.append(dict(entry.metadata))
    return value


def _entry(entry: Entry, *, metadata: bool) -> bytes:
    seconds, nanoseconds = divmod(entry.time_ns, _NANOSECONDS)
    time = (varint_field(1, seconds) if seconds else b"") + (
        varint_field(2, nanoseconds) if nanoseconds else b""
    )
    body = bytes_field(1, time) + bytes_field(2, entry.line)
    if metadata:
        for name, value in entry.metadata:
            body += bytes_field(3, bytes_field(1, name.encode()) + bytes_field(2, value.encode()))
    return body


def _quote(text: str) -> str:
    quoted = "".join(map(_escape, text)) if not _is_plain(text) else text
    return f'"{quoted}"'


def _is_plain(text: str) -> bool:
    return text.isprintable() and '"' not in text and "\\" not in text


def _escape(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    if code < 128:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
