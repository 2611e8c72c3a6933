"""Many messages at once: found once per kind of message, then read by one struct.

The kernel writes the same attributes in the same order about every connection of one protocol,
address family and option, so two messages differ in values only. A layout is learned from one
message that was read attribute by attribute: the places of the values that count, and what the
headers between them must be. The comparison is one operation on one large number.
"""

from __future__ import annotations

import struct
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from trireme_datapath.backends._netlink_codec import MessageError, attributes
from trireme_datapath.kernel.conntrack._messages import (
    HEADERS,
    Attribute,
    Connection,
    Control,
    parse_connection,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ConnectionRow", "RowReader", "row_of"]

ConnectionRow = tuple[int, bytes, bytes, bytes, bytes, int, int, int, int, int, int, int, int]
"""One connection for the account.

In order: the protocol; the client's and the server's packed address; the client's and the
server's port as two bytes each (for ICMP the identifier, then type and code); packets and bytes of
the client, packets and bytes of the server; start and stop in nanoseconds since 1970 UTC, 0 when
not known; the connection mark; the state of TCP, 0 when not known.

The server's address and port are those of its answers: where the kernel translates destination
addresses, a packet has them when it is judged.
"""

_MAX_LAYOUTS: Final = 64  # families x protocols x options; beyond it, all are learned anew
_WITH_PORTS: Final = frozenset({6, 17, 132, 136})
_ICMP: Final = frozenset({1, 58})
_HEAD = struct.Struct("=IH")  # length and type of a message
_NO_PORT: Final = bytes(2)

# What a row has from a message, in the order of the row: path of attributes, format, default.
_ORIGINAL, _REPLY = int(Attribute.TUPLE_ORIGINAL), int(Attribute.TUPLE_REPLY)
_SENT, _ANSWERED = int(Attribute.COUNTERS_ORIGINAL), int(Attribute.COUNTERS_REPLY)
_TIMES, _INFO = int(Attribute.TIMESTAMP), int(Attribute.PROTOCOL_INFO)
_MARK = int(Attribute.MARK)
_PLACES: Final[dict[tuple[int, ...], tuple[int, str]]] = {
    (_ORIGINAL, 2, 1): (0, "B"),
    (_ORIGINAL, 1, 1): (1, "4s"),
    (_ORIGINAL, 1, 3): (1, "16s"),
    (_REPLY, 1, 1): (2, "4s"),
    (_REPLY, 1, 3): (2, "16s"),
    (_ORIGINAL, 2, 2): (3, "2s"),
    (_REPLY, 2, 2): (4, "2s"),
    (_SENT, 1): (5, "Q"),
    (_SENT, 2): (6, "Q"),
    (_ANSWERED, 1): (7, "Q"),
    (_ANSWERED, 2): (8, "Q"),
    (_TIMES, 1): (9, "Q"),
    (_TIMES, 2): (10, "Q"),
    (_MARK,): (11, "I"),
    (_INFO, 1, 1): (12, "B"),
}
_NESTED: Final = frozenset(path[:depth] for path in _PLACES for depth in range(1, len(path)))
_SAME: Final = frozenset({(_ORIGINAL, 2, 1), (_REPLY, 2, 1)})  # protocols: the rest depends on them
_ALWAYS: Final = frozenset(range(9))
_FIELDS: Final = 13


def row_of(connection: Connection) -> ConnectionRow:
    """Give the row of a connection that was read attribute by attribute."""
    original, reply = connection.original, connection.reply
    if original.protocol in _WITH_PORTS:
        port, server_port = original.ports[:2], reply.ports[:2]
    elif original.protocol in _ICMP:
        port, server_port = original.ports[:2], original.ports[2:]
    else:
        port = server_port = _NO_PORT
    sent, answered = connection.sent, connection.answered
    return (
        original.protocol,
        original.source,
        reply.source,
        port,
        server_port,
        sent.packets if sent else 0,
        sent.bytes if sent else 0,
        answered.packets if answered else 0,
        answered.bytes if answered else 0,
        connection.start_ns,
        connection.stop_ns,
        connection.mark,
        connection.tcp_state or 0,
    )


class _Layout:
    """Where things stand in one kind of message."""

    __slots__ = ("arrange", "mask", "missing", "pattern", "unpack")

    def __init__(self, message: bytes, places: dict[int, tuple[int, str]], fixed: bytes) -> None:
        found = sorted((offset, form, field) for field, (offset, form) in places.items())
        text, position = [">"], 0
        for offset, form, _ in found:
            text.append(f"{offset - position}x{form}")
            position = offset + struct.calcsize(f">{form}")
        self.unpack = struct.Struct("".join(text)).unpack_from
        order = {field: index for index, (_, _, field) in enumerate(found)}
        absent = [field for field in range(_FIELDS) if field not in order]
        for index, field in enumerate(absent):
            order[field] = len(found) + index
        self.arrange = itemgetter(*(order[field] for field in range(_FIELDS)))
        self.missing = (0,) * len(absent)
        self.mask = int.from_bytes(fixed, "little")
        self.pattern = int.from_bytes(message, "little") & self.mask


class RowReader:
    """Turns messages of one type into rows.

    What is out of the ordinary is read attribute by attribute.

    Args:
        message_type: The type of the messages that become rows; others are left out.

    Attributes:
        malformed: Messages that could not be read.
        controls: What the kernel said about requests since it was last cleared.
    """

    def __init__(self, message_type: int) -> None:
        """Start without layouts."""
        self.malformed = 0
        self.controls: list[Control] = []
        self._type = message_type
        self._layouts: dict[tuple[int, int], list[_Layout]] = {}
        self._count = 0

    def read(
        self,
        buffer: bytes | bytearray | memoryview,
        spans: Iterable[tuple[int, int]],
        kept: list[int] | None = None,
    ) -> list[ConnectionRow]:
        """Read messages.

        Args:
            buffer: The bytes that hold them.
            spans: Where each begins and ends.
            kept: Gets the place of each message that became a row.
        """
        rows: list[ConnectionRow] = []
        layouts, head = self._layouts, _HEAD.unpack_from
        from_bytes, keep = int.from_bytes, rows.append
        for offset, end in spans:
            if end - offset < HEADERS:
                self.malformed += 1
                continue
            about = head(buffer, offset)
            known = layouts.get(about) if about[0] <= end - offset else None
            whole = from_bytes(buffer[offset : offset + about[0]], "little") if known else 0
            for layout in known or ():
                if whole & layout.mask == layout.pattern:
                    keep(layout.arrange(layout.unpack(buffer, offset) + layout.missing))
                    break
            else:
                row = self._read_one(buffer, offset, end)
                if row is None:
                    continue
                keep(row)
            if kept is not None:
                kept.append(offset)
        return rows

    def _read_one(
        self, buffer: bytes | bytearray | memoryview, offset: int, end: int
    ) -> ConnectionRow | None:
        message = bytes(buffer[offset:end])
        try:
            found = parse_connection(message)
        except MessageError:
            self.malformed += 1
            return None
        if isinstance(found, Control):
            self.controls.append(found)
            return None
        length, kind = _HEAD.unpack_from(message)
        if kind != self._type:
            return None
        if found.original.protocol in _WITH_PORTS:
            self._learn(message[:length], (length, kind))
        return row_of(found)

    def _learn(self, message: bytes, about: tuple[int, int]) -> None:
        """Make a layout, if the message has all that most have."""
        places: dict[int, tuple[int, str]] = {}
        fixed = bytearray(len(message))
        fixed[:6] = b"\xff" * 6  # length and type; flags, sequence and port are nobody's business
        fixed[16] = 0xFF  # family
        try:
            _walk(message, HEADERS, len(message), (), places, fixed)
        except MessageError:
            return
        if not places.keys() >= _ALWAYS:
            return
        if self._count >= _MAX_LAYOUTS:
            self._layouts.clear()
            self._count = 0
        self._layouts.setdefault(about, []).append(_Layout(message, places, bytes(fixed)))
        self._count += 1


def _walk(
    message: bytes,
    start: int,
    end: int,
    path: tuple[int, ...],
    places: dict[int, tuple[int, str]],
    fixed: bytearray,
) -> None:
    """Note the places of values, and which bytes are the same in every message of the kind."""
    for kind, value, size in attributes(message, start, end):
        fixed[value - 4 : value] = b"\xff" * 4
        here = (*path, kind)
        if here in _NESTED:
            _walk(message, value, value + size, here, places, fixed)
        elif here in _PLACES:
            field, form = _PLACES[here]
            if size != struct.calcsize(f">{form}"):
                raise MessageError("a value of another length than usual")
            places[field] = (value, form)
        if here in _SAME:
            fixed[value] = 0xFF
