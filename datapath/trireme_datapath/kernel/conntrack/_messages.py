"""Messages of the kernel's connection tracking, as pure functions over bytes.

Layouts and numbers: linux/netfilter/nfnetlink.h, linux/netfilter/nfnetlink_conntrack.h and
linux/netfilter/nf_conntrack_common.h. Headers are in the byte order of the machine, every value
inside an attribute is big endian.
"""

from __future__ import annotations

import struct
import sys
from enum import IntEnum, IntFlag
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from trireme_datapath.backends._netlink_codec import MessageError, attributes

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "DELETE_MESSAGE",
    "FLAG_DUMP_INTERRUPTED",
    "NEW_MESSAGE",
    "Attribute",
    "Connection",
    "ConnectionKind",
    "ConnectionStatus",
    "ConnectionTuple",
    "Control",
    "Counters",
    "TcpState",
    "messages",
    "parse_connection",
]

NEW_MESSAGE: Final = 0x100
"""``NFNL_SUBSYS_CTNETLINK`` and ``IPCTNL_MSG_CT_NEW``: a connection that is new, changed or
listed."""
DELETE_MESSAGE: Final = 0x102
"""The same subsystem and ``IPCTNL_MSG_CT_DELETE``: a connection that ended."""
FLAG_DUMP_INTERRUPTED: Final = 0x10
"""``NLM_F_DUMP_INTR``: the table changed so much that the list may lack something."""

_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3
_NLM_F_MULTI: Final = 2
_NLM_F_CREATE: Final = 0x400

HEADERS: Final = 20
MESSAGE_HEADER: Final = struct.Struct("=IHHII")  # length, type, flags, sequence, port id
_ERROR = struct.Struct("=i")
_BE16 = struct.Struct("!H")
_BE32 = struct.Struct("!I")
_BE64 = struct.Struct("!Q")
_BYTE = struct.Struct("!B")


class Attribute(IntEnum):
    """Attributes of a connection (``CTA_*``) that are read or written."""

    TUPLE_ORIGINAL = 1
    TUPLE_REPLY = 2
    STATUS = 3
    PROTOCOL_INFO = 4
    TIMEOUT = 7
    MARK = 8
    COUNTERS_ORIGINAL = 9
    COUNTERS_REPLY = 10
    ID = 12
    ZONE = 18
    TIMESTAMP = 20
    MARK_MASK = 21


class ConnectionKind(IntEnum):
    """What a message says about a connection."""

    LISTED = 0
    """It is one entry of a list that was asked for."""
    NEW = 1
    CHANGED = 2
    ENDED = 3


class ConnectionStatus(IntFlag):
    """Bits of the status (``IPS_*``) that matter here; more may be set."""

    EXPECTED = 1
    SEEN_REPLY = 2
    ASSURED = 4
    CONFIRMED = 8
    SOURCE_NAT = 16
    DESTINATION_NAT = 32
    DYING = 512


class TcpState(IntEnum):
    """The kernel's view of a TCP connection (``TCP_CONNTRACK_*``)."""

    NONE = 0
    SYN_SENT = 1
    SYN_RECV = 2
    ESTABLISHED = 3
    FIN_WAIT = 4
    CLOSE_WAIT = 5
    LAST_ACK = 6
    TIME_WAIT = 7
    CLOSE = 8
    SYN_SENT2 = 9


class ConnectionTuple(Struct, frozen=True, kw_only=True, gc=False):
    """Addresses and ports of one direction.

    Attributes:
        source: The packed source address.
        destination: The packed destination address.
        protocol: The IP protocol number.
        ports: Source and destination port; for ICMP identifier, type and code; four bytes.
    """

    source: bytes
    destination: bytes
    protocol: int
    ports: bytes = bytes(4)


class Counters(Struct, frozen=True, gc=False):
    """What one direction carried.

    Attributes:
        packets: Packets.
        bytes: IP bytes.
    """

    packets: int
    bytes: int


class Connection(Struct, frozen=True, kw_only=True, gc=False):
    """A connection as the kernel described it; what it did not say is None or 0.

    Attributes:
        kind: What the message says about it.
        original: Addresses of the packets of who began.
        reply: Addresses of the answers; they differ from the turned original where addresses are
            translated.
        zone: The conntrack zone.
        status: Bits of `ConnectionStatus`, and others.
        mark: The connection mark.
        id: The kernel's number of the entry.
        timeout_seconds: How long it lives without another packet.
        tcp_state: The state of a TCP connection.
        sent: What the original direction carried; None where accounting is off.
        answered: What the answers carried.
        start_ns: When it began, nanoseconds since 1970 UTC; 0 where time stamps are off.
        stop_ns: When it ended.
    """

    kind: ConnectionKind
    original: ConnectionTuple
    reply: ConnectionTuple
    zone: int = 0
    status: int = 0
    mark: int = 0
    id: int | None = None
    timeout_seconds: int | None = None
    tcp_state: int | None = None
    sent: Counters | None = None
    answered: Counters | None = None
    start_ns: int = 0
    stop_ns: int = 0


class Control(Struct, frozen=True, gc=False):
    """What the kernel says about a request: its end, an acknowledgement or an error.

    Attributes:
        sequence: The sequence number of the request.
        errno: 0, or the error number, positive.
        done: Whether it ends a list.
    """

    sequence: int
    errno: int = 0
    done: bool = False


def messages(data: bytes | memoryview, size: int | None = None) -> Iterator[tuple[int, int]]:
    """Find the messages of one datagram: yield where each begins and ends.

    Raises:
        MessageError: A message is shorter than its header or longer than what is left.
    """
    end = len(data) if size is None else min(size, len(data))
    offset = 0
    while end - offset >= MESSAGE_HEADER.size:
        length = int.from_bytes(data[offset : offset + 4], sys.byteorder)
        if length < MESSAGE_HEADER.size or length > end - offset:
            raise MessageError(
                f"netlink message at offset {offset} says {length} bytes, {end - offset} are left"
            )
        yield offset, offset + length
        offset += (length + 3) & ~3


def parse_connection(
    data: bytes | memoryview, offset: int = 0, end: int | None = None
) -> Connection | Control:
    """Read one message of a conntrack socket.

    Args:
        data: The message, possibly among others.
        offset: Where it begins.
        end: Where its bytes end; the end of ``data`` when not given.

    Raises:
        MessageError: The message is truncated, of another type, or contradicts itself. This is
            the only error, whatever the bytes are.
    """
    end = len(data) if end is None else min(end, len(data))
    if end - offset < MESSAGE_HEADER.size:
        raise MessageError(f"netlink message of {max(end - offset, 0)} bytes has no header")
    length, kind, flags, sequence, _ = MESSAGE_HEADER.unpack_from(data, offset)
    if not MESSAGE_HEADER.size <= length <= end - offset:
        raise MessageError(f"netlink message says {length} bytes, {end - offset} arrived")
    stop = offset + int(length)
    if kind in {_NLMSG_ERROR, _NLMSG_DONE}:
        if length < MESSAGE_HEADER.size + 4:
            raise MessageError(f"netlink message of type {kind} has only {length} bytes")
        (number,) = _ERROR.unpack_from(data, offset + 16)
        return Control(sequence, -number, kind == _NLMSG_DONE)
    if kind == DELETE_MESSAGE:
        what = ConnectionKind.ENDED
    elif kind != NEW_MESSAGE:
        raise MessageError(f"netlink message of type {kind:#x} is not about a connection")
    elif flags & _NLM_F_MULTI:
        what = ConnectionKind.LISTED
    else:
        what = ConnectionKind.NEW if flags & _NLM_F_CREATE else ConnectionKind.CHANGED
    if length < HEADERS:
        raise MessageError(f"netlink message of {length} bytes lacks its netfilter header")
    return _parse(data, offset + HEADERS, stop, what)


def _parse(data: bytes | memoryview, offset: int, end: int, kind: ConnectionKind) -> Connection:
    found = _children(data, offset, end)
    if Attribute.TUPLE_ORIGINAL not in found or Attribute.TUPLE_REPLY not in found:
        raise MessageError("netlink message about a connection lacks one of its two directions")
    original = _tuple(data, *found[Attribute.TUPLE_ORIGINAL])
    reply = _tuple(data, *found[Attribute.TUPLE_REPLY])
    if len(original.source) != len(reply.source) or original.protocol != reply.protocol:
        raise MessageError("the two directions of a connection are of different kinds")
    start = stop = 0
    if Attribute.TIMESTAMP in found:
        times = _children(data, *found[Attribute.TIMESTAMP])
        start, stop = _number(data, times, 1, _BE64) or 0, _number(data, times, 2, _BE64) or 0
    return Connection(
        kind=kind,
        original=original,
        reply=reply,
        zone=_number(data, found, Attribute.ZONE, _BE16) or 0,
        status=_number(data, found, Attribute.STATUS, _BE32) or 0,
        mark=_number(data, found, Attribute.MARK, _BE32) or 0,
        id=_number(data, found, Attribute.ID, _BE32),
        timeout_seconds=_number(data, found, Attribute.TIMEOUT, _BE32),
        tcp_state=_tcp_state(data, found),
        sent=_counters(data, found, Attribute.COUNTERS_ORIGINAL),
        answered=_counters(data, found, Attribute.COUNTERS_REPLY),
        start_ns=start,
        stop_ns=stop,
    )


_Found = dict[int, tuple[int, int]]


def _children(data: bytes | memoryview, offset: int, end: int) -> _Found:
    """Find attributes: where the value of each begins and ends."""
    found: _Found = {}
    for kind, start, size in attributes(data, offset, end):
        if kind in found:
            raise MessageError(f"netlink attribute {kind} stands there twice")
        found[kind] = (start, start + size)
    return found


def _number(data: bytes | memoryview, found: _Found, kind: int, form: struct.Struct) -> int | None:
    where = found.get(kind)
    if where is None:
        return None
    start, end = where
    if end - start < form.size:
        raise MessageError(f"netlink attribute {kind} has only {end - start} bytes")
    (value,) = form.unpack_from(data, start)
    return int(value)


def _tcp_state(data: bytes | memoryview, found: _Found) -> int | None:
    if Attribute.PROTOCOL_INFO not in found:
        return None
    info = _children(data, *found[Attribute.PROTOCOL_INFO])
    if 1 not in info:  # CTA_PROTOINFO_TCP; the others are of DCCP and SCTP
        return None
    return _number(data, _children(data, *info[1]), 1, _BYTE)


def _counters(data: bytes | memoryview, found: _Found, kind: int) -> Counters | None:
    if kind not in found:
        return None
    inside = _children(data, *found[kind])
    packets, octets = _number(data, inside, 1, _BE64), _number(data, inside, 2, _BE64)
    return None if packets is None or octets is None else Counters(packets, octets)


ADDRESSES: Final = ((1, 2, 4), (3, 4, 16))  # source, destination, bytes: IPv4 and IPv6
ICMP_PARTS: Final = ((4, 5, 6), (7, 8, 9))  # identifier, type, code: ICMP and ICMPv6


def _tuple(data: bytes | memoryview, start: int, end: int) -> ConnectionTuple:
    parts = _children(data, start, end)
    if 1 not in parts or 2 not in parts:
        raise MessageError("a direction of a connection lacks addresses or protocol")
    addresses, protocols = _children(data, *parts[1]), _children(data, *parts[2])
    for source, destination, size in ADDRESSES:
        if source in addresses and destination in addresses:
            begin, stop = addresses[source]
            other, other_stop = addresses[destination]
            if stop - begin != size or other_stop - other != size:
                raise MessageError("an address of a connection has a wrong length")
            break
    else:
        raise MessageError("a direction of a connection has no pair of addresses")
    protocol = _number(data, protocols, 1, _BYTE)
    if protocol is None:
        raise MessageError("a direction of a connection names no protocol")
    return ConnectionTuple(
        source=bytes(data[begin:stop]),
        destination=bytes(data[other:other_stop]),
        protocol=protocol,
        ports=_ports(data, protocols),
    )


def _ports(data: bytes | memoryview, found: _Found) -> bytes:
    for identifier, kind, code in ICMP_PARTS:
        if identifier in found or kind in found:
            return b"".join(
                (
                    (_number(data, found, identifier, _BE16) or 0).to_bytes(2, "big"),
                    (_number(data, found, kind, _BYTE) or 0).to_bytes(1, "big"),
                    (_number(data, found, code, _BYTE) or 0).to_bytes(1, "big"),
                )
            )
    source, destination = _number(data, found, 2, _BE16), _number(data, found, 3, _BE16)
    return (source or 0).to_bytes(2, "big") + (destination or 0).to_bytes(2, "big")


# Requests.
