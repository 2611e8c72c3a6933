"""What the kernel's connection tracking is asked for, as bytes; see `_messages` for the layouts."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from trireme_datapath.kernel.conntrack._messages import (
    ADDRESSES,
    DELETE_MESSAGE,
    HEADERS,
    ICMP_PARTS,
    MESSAGE_HEADER,
    NEW_MESSAGE,
    Attribute,
)

if TYPE_CHECKING:
    from trireme_datapath.kernel.conntrack._messages import Connection, ConnectionTuple

__all__ = ["delete_request", "dump_request", "hold_request"]

_GET_MESSAGE: Final = 0x101
_NLM_F_REQUEST: Final = 1
_NLM_F_DUMP: Final = 0x300
_NLM_F_CREATE: Final = 0x400
_HELD_SECONDS: Final = 120  # as long as the kernel waits for a datagram where both sides spoke
_NLA_F_NESTED: Final = 0x8000
_ATTRIBUTE = struct.Struct("=HH")
_BE16 = struct.Struct("!H")
_BE32 = struct.Struct("!I")


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(4 + len(value), kind) + value + bytes(-len(value) % 4)


def _request(kind: int, flags: int, sequence: int, body: bytes, family: int = 0) -> bytes:
    head = MESSAGE_HEADER.pack(HEADERS + len(body), kind, _NLM_F_REQUEST | flags, sequence, 0)
    return head + bytes((family, 0, 0, 0)) + body


def dump_request(sequence: int, mark: int = 0, mask: int = 0) -> bytes:
    """Ask for the list of all connections, or of those whose mark has these bits.

    The kernel removes what has expired while it lists.
    """
    body = b""
    if mask:
        body = _attribute(Attribute.MARK, _BE32.pack(mark)) + _attribute(
            Attribute.MARK_MASK, _BE32.pack(mask)
        )
    return _request(_GET_MESSAGE, _NLM_F_DUMP, sequence, body)


def delete_request(connection: Connection, sequence: int) -> bytes:
    """Ask for the end of one connection; the id keeps another with the same addresses alive."""
    original = connection.original
    body = _nested(Attribute.TUPLE_ORIGINAL, _write_tuple(original))
    if connection.zone:
        body += _attribute(Attribute.ZONE, _BE16.pack(connection.zone))
    if connection.id is not None:
        body += _attribute(Attribute.ID, _BE32.pack(connection.id))
    family = 2 if len(original.source) == 4 else 10
    return _request(DELETE_MESSAGE, 0, sequence, body, family)


def hold_request(connection: Connection, sequence: int, mark: int) -> bytes:
    """Ask for an entry with the addresses of a connection that was ended, and with another mark.

    The next packet from whichever side belongs to it, and so begins nothing. If there is one by
    now, it gets the mark.
    """
    body = _nested(Attribute.TUPLE_ORIGINAL, _write_tuple(connection.original))
    body += _nested(Attribute.TUPLE_REPLY, _write_tuple(connection.reply))
    body += _attribute(Attribute.TIMEOUT, _BE32.pack(_HELD_SECONDS))
    body += _attribute(Attribute.MARK, _BE32.pack(mark))
    if connection.zone:
        body += _attribute(Attribute.ZONE, _BE16.pack(connection.zone))
    family = 2 if len(connection.original.source) == 4 else 10
    return _request(NEW_MESSAGE, _NLM_F_CREATE, sequence, body, family)


def _nested(kind: int, value: bytes) -> bytes:
    return _attribute(kind | _NLA_F_NESTED, value)


def _write_tuple(one: ConnectionTuple) -> bytes:
    source, destination, _ = ADDRESSES[len(one.source) != 4]
    addresses = _attribute(source, one.source) + _attribute(destination, one.destination)
    protocol = _attribute(1, bytes((one.protocol,)))
    if one.protocol in {1, 58}:
        identifier, kind, code = ICMP_PARTS[one.protocol == 58]
        protocol += _attribute(identifier, one.ports[:2])
        protocol += _attribute(kind, one.ports[2:3]) + _attribute(code, one.ports[3:])
    else:
        protocol += _attribute(2, one.ports[:2]) + _attribute(3, one.ports[2:])
    return _nested(1, addresses) + _nested(2, protocol)
