"""Where things stand in a message: found once per kind of message, then read by one struct.

The kernel describes every packet of one hook, interface, mark and owner with the same attributes
in the same order, so all bytes between packet id and payload are equal but for a few values
(time stamp, full length, perhaps the sender's hardware address). A layout turns one message into
a struct that reads a whole batch of its like, and into the key that tells whether a message is
its like. Equal keys prove that the payload starts where the layout says: the key holds every
attribute header before it, and no other attribute has the length that a payload must have.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

from trireme_datapath.backends._netlink_codec import Attribute, MessageError, attributes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trireme_datapath.lanes import FastRow

__all__ = ["FIRST_KEY_BYTE", "PACKET_ID", "Layout", "discover", "may_widen"]

_HEADERS: Final = 20
PACKET_ID: Final = 24
"""Offset of the packet id: netlink header 16, netfilter header 4, attribute header 4."""
FIRST_KEY_BYTE: Final = 28

# Values that change from packet to packet; they are stepped over.
_VARYING: Final = frozenset({int(Attribute.TIMESTAMP), int(Attribute.CAP_LEN)})
# Values that may change from packet to packet: part of the key until they were seen to change.
_MAY_VARY: Final = frozenset(
    {int(Attribute.HWADDR), int(Attribute.UID), int(Attribute.GID), int(Attribute.PRIORITY)}
)

_PAYLOAD_TYPE: Final = struct.pack("=H", Attribute.PAYLOAD)

_IP_VERSION_4: Final = 4
_IP_VERSION_6: Final = 6
_MIN_IPV4: Final = 20
_MIN_IPV6: Final = 40
_LONGEST_READ: Final = 54  # IPv6 header and TCP up to its flags


class Layout:
    """One kind of message.

    Attributes:
        key: What `rows` gives as key of a message of this kind.
        version: The IP version of the payload.
        widened: The attributes that are stepped over although they may be constant.
    """

    __slots__ = ("_pieces", "_slot_size", "_struct", "key", "version", "widened")

    def __init__(
        self,
        key: bytes,
        pieces: Sequence[tuple[int, int]],
        version: int,
        slot_size: int,
        widened: frozenset[int],
    ) -> None:
        """Build the struct; `pieces` are the constant stretches, the last ends at the payload."""
        self.key = key
        self.version = version
        self.widened = widened
        self._pieces = tuple(pieces)
        self._slot_size = slot_size
        self._struct = struct.Struct(_format(pieces, version, slot_size))

    def matches(self, message: memoryview) -> bool:
        """Tell whether a message is of this kind."""
        _, end = self._pieces[-1]
        return (
            message[end + 2 : end + 4] == _PAYLOAD_TYPE  # not one more attribute before it
            and self.key == b"".join([bytes(message[start:end]) for start, end in self._pieces])
        )

    def rows(self, view: memoryview) -> Iterable[FastRow]:
        """Read every slot of a buffer; those of another kind get another key."""
        return self._arrange(self._struct.iter_unpack(view))

    def rows_at(self, buffer: memoryview, indexes: Iterable[int]) -> Iterable[FastRow]:
        """Read some slots of a buffer."""
        unpack_from, size = self._struct.unpack_from, self._slot_size
        return self._arrange(unpack_from(buffer, index * size) for index in indexes)

    def _arrange(self, rows: Iterable[tuple[Any, ...]]) -> Iterable[FastRow]:
        # Most messages need nothing here: the struct reads what the fast door takes. Where
        # something is to be done, lists with plain unpacking cost half of generators.
        if len(self._pieces) > 1:
            count = len(self._pieces) + 1
            rows = [(row[0], b"".join(row[1:count]), *row[count:]) for row in rows]
        if self.version == _IP_VERSION_4:
            return rows
        # The length field of IPv6 leaves out the header.
        return [
            (number, key, length, first, payload + 40, protocol, flow, at4, at12)
            for number, key, length, first, payload, protocol, flow, at4, at12 in rows
        ]


def _format(pieces: Sequence[tuple[int, int]], version: int, slot_size: int) -> str:
    parts = [f">{PACKET_ID}xI"]
    position = FIRST_KEY_BYTE
    for start, end in pieces:
        parts.append(f"{start - position}x{end - start}s")
        position = end
    parts.append("H2x")  # length of the payload attribute; its type follows from the key
    # First byte, length, protocol (and what stands before it, with the fragment field of IPv4),
    # addresses and ports; of the transport header the 16 bits at 4 and at 12.
    if version == _IP_VERSION_4:
        parts.append("BxH2xI2x12sH6xH")
        used = position + 4 + 34
    else:
        parts.append("B3xHBx36sH6xH")
        used = position + 4 + 54
    parts.append(f"{slot_size - used}x")
    return "".join(parts)


def discover(
    message: memoryview, slot_size: int, widened: frozenset[int] = frozenset()
) -> Layout | None:
    """Find the layout of a packet message.

    Args:
        message: The message as received.
        slot_size: The distance from one message to the next in the buffer.
        widened: Attributes whose values are to be stepped over.

    Returns:
        None when the message has no form that a struct can read.
    """
    start = FIRST_KEY_BYTE
    pieces: list[tuple[int, int]] = []
    try:
        for kind, value, size in attributes(message, _HEADERS, len(message)):
            if value == PACKET_ID:
                if kind != Attribute.PACKET_HDR or size != 7:
                    return None
            elif kind == Attribute.PAYLOAD:
                pieces.append((start, value - 4))
                return _of_payload(message, value, size, pieces, slot_size, widened)
            elif kind in _VARYING or kind in widened:
                pieces.append((start, value))
                start = value + (size + 3 & ~3)
    except MessageError:
        return None
    return None


def _of_payload(
    message: memoryview,
    payload: int,
    size: int,
    pieces: Sequence[tuple[int, int]],
    slot_size: int,
    widened: frozenset[int],
) -> Layout | None:
    version = message[payload] >> 4 if size else 0
    if message[payload - 2 : payload] != _PAYLOAD_TYPE:
        return None  # the kernel sets no flag beside the type
    shortest = {_IP_VERSION_4: _MIN_IPV4, _IP_VERSION_6: _MIN_IPV6}.get(version)
    if shortest is None or size < shortest or slot_size - payload < _LONGEST_READ:
        return None
    key = b"".join([bytes(message[start:end]) for start, end in pieces])
    return Layout(key, pieces, version, slot_size, widened)


def may_widen(message: memoryview) -> frozenset[int]:
    """Tell which attributes of a message may prove to change from packet to packet."""
    try:
        return frozenset(
            kind for kind, _, _ in attributes(message, _HEADERS, len(message)) if kind in _MAY_VARY
        )
    except MessageError:
        return frozenset()
