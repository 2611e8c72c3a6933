"""Messages of the kernel's packet queue, as pure functions over bytes.

Layouts and numbers: linux/netlink.h, linux/netfilter/nfnetlink.h and
linux/netfilter/nfnetlink_queue.h. Netlink headers and attribute headers are in the byte order of
the machine; every value inside an attribute of this subsystem is big endian.
"""

from __future__ import annotations

import struct
from enum import IntEnum, IntFlag
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from trireme_collector.errors import DatapathError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "MAX_COPY_RANGE",
    "VERDICT_ID",
    "VERDICT_SEQUENCE",
    "Attribute",
    "ErrorMessage",
    "MessageError",
    "PacketMessage",
    "QueueFlag",
    "attributes",
    "batch_verdict",
    "bind_message",
    "copy_message",
    "flags_message",
    "max_length_message",
    "parse_message",
    "unbind_message",
    "verdict",
    "verdicts",
]

_NFNL_SUBSYS_QUEUE = 3
_MSG_PACKET = _NFNL_SUBSYS_QUEUE << 8
_MSG_VERDICT = _MSG_PACKET | 1
_MSG_CONFIG = _MSG_PACKET | 2
_MSG_VERDICT_BATCH = _MSG_PACKET | 3
_NLMSG_ERROR = 2
_NLM_F_REQUEST = 1
_NLM_F_ACK = 4

_CFG_CMD = 1
_CFG_PARAMS = 2
_CFG_QUEUE_MAXLEN = 3
_CFG_MASK = 4
_CFG_FLAGS = 5
_CMD_BIND = 1
_CMD_UNBIND = 2
_COPY_PACKET = 2

MAX_COPY_RANGE: Final = 0xFFFF - 4
"""The most the kernel copies: the length of an attribute, its header included, is 16 bits."""

VERDICT_SEQUENCE: Final = 0xFFFFFFFF
"""The sequence number of every verdict. The kernel repeats it in an error about the verdict, at
the place where a packet message has its protocol and hook, of which it is never a valid value:
the fast path can not mistake an error for a packet."""

VERDICT_ID: Final = 28
"""Offset of the packet id in a verdict, single or batch."""

_NESTED_AND_ORDER = 0xC000  # NLA_F_NESTED | NLA_F_NET_BYTEORDER, not part of the type

_MESSAGE_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port id
_NETFILTER_HEADER = struct.Struct("!BBH")  # family, version, queue number
_HEADERS = 20
_ATTRIBUTE = struct.Struct("=HH")  # length with this header, type
_PACKET_HEADER = struct.Struct("!IHB")  # packet id, hardware protocol, hook
_TIMESTAMP = struct.Struct("!QQ")  # seconds, microseconds
_HARDWARE = struct.Struct("!HH8s")  # address length, pad, address
_BE32 = struct.Struct("!I")
_ERROR = struct.Struct("=i")

# Native headers and big-endian values meet in one message, so values are packed as bytes first.
_VERDICT = struct.Struct("=IHHII4sHH4s4s")
_VERDICT_MARK = struct.Struct("=IHHII4sHH4s4sHH4s")


class Attribute(IntEnum):
    """Attributes of a packet message (``NFQA_*``)."""

    PACKET_HDR = 1
    VERDICT_HDR = 2
    MARK = 3
    TIMESTAMP = 4
    IFINDEX_INDEV = 5
    IFINDEX_OUTDEV = 6
    IFINDEX_PHYSINDEV = 7
    IFINDEX_PHYSOUTDEV = 8
    HWADDR = 9
    PAYLOAD = 10
    CT = 11
    CT_INFO = 12
    CAP_LEN = 13
    SKB_INFO = 14
    EXP = 15
    UID = 16
    GID = 17
    SECCTX = 18
    VLAN = 19
    L2HDR = 20
    PRIORITY = 21


class QueueFlag(IntFlag):
    """Flags of a queue (``NFQA_CFG_F_*``)."""

    FAIL_OPEN = 1
    CONNTRACK = 2
    GSO = 4
    UID_GID = 8
    SECCTX = 16


class MessageError(DatapathError):
    """A message from the kernel does not have the form that the kernel's headers promise.

    Attributes:
        packet_id: The packet that waits for a verdict, when that much could be read.
    """

    def __init__(self, message: str, *, packet_id: int | None = None) -> None:
        """Keep the packet id beside the message."""
        super().__init__(message)
        self.packet_id = packet_id


class PacketMessage(Struct, frozen=True, kw_only=True, gc=False):
    """A queued packet as the kernel described it; absent attributes are 0, None or empty.

    Attributes:
        queue_number: The queue.
        family: The address family of the hook (2 IPv4, 10 IPv6, 7 bridge).
        packet_id: The id that the verdict has to name.
        hardware_protocol: The Ethernet type (0x0800 IPv4, 0x86DD IPv6).
        hook: Where in the stack the packet waits (``NF_INET_*``).
        mark: The packet mark.
        timestamp_ns: When the packet came, nanoseconds since 1970 UTC; the kernel rarely says.
        indev: Index of the interface of arrival.
        outdev: Index of the interface of departure.
        physical_indev: Index of the bridge port of arrival.
        physical_outdev: Index of the bridge port of departure.
        hardware_address: The link-layer source address.
        captured_of: Length of the whole packet when only a part was copied.
        packet_info: ``NFQA_SKB_INFO``: 1 checksum not ready, 2 GSO, 4 checksum not verified.
        uid: The user that owns the sending socket.
        gid: The group that owns the sending socket.
        payload: The copied bytes, starting with the IP header.
    """

    queue_number: int
    family: int
    packet_id: int
    hardware_protocol: int
    hook: int
    mark: int = 0
    timestamp_ns: int | None = None
    indev: int = 0
    outdev: int = 0
    physical_indev: int = 0
    physical_outdev: int = 0
    hardware_address: bytes = b""
    captured_of: int | None = None
    packet_info: int = 0
    uid: int | None = None
    gid: int | None = None
    payload: bytes = b""


class ErrorMessage(Struct, frozen=True, kw_only=True, gc=False):
    """What the kernel answered: an acknowledgement (0) or an error.

    Attributes:
        errno: 0, or the error number, positive.
        sequence: The sequence number of the message that this answers.
    """

    errno: int
    sequence: int


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(4 + len(value), kind) + value + bytes(-len(value) % 4)


def _config(queue_number: int, sequence: int, body: bytes, *, family: int = 0) -> bytes:
    return (
        _MESSAGE_HEADER.pack(
            _HEADERS + len(body), _MSG_CONFIG, _NLM_F_REQUEST | _NLM_F_ACK, sequence, 0
        )
        + _NETFILTER_HEADER.pack(family, 0, queue_number)
        + body
    )


def bind_message(queue_number: int, sequence: int) -> bytes:
    """Ask for the queue; the kernel gives it to one socket only."""
    return _config(queue_number, sequence, _attribute(_CFG_CMD, struct.pack("!BxH", _CMD_BIND, 0)))


def unbind_message(queue_number: int, sequence: int) -> bytes:
    """Give the queue back; the kernel drops what waits in it."""
    body = _attribute(_CFG_CMD, struct.pack("!BxH", _CMD_UNBIND, 0))
    return _config(queue_number, sequence, body)


def copy_message(queue_number: int, sequence: int, copy_range: int) -> bytes:
    """Ask for the first ``copy_range`` bytes of every packet."""
    body = _attribute(_CFG_PARAMS, struct.pack("!IB", copy_range, _COPY_PACKET))
    return _config(queue_number, sequence, body)


def max_length_message(queue_number: int, sequence: int, max_length: int) -> bytes:
    """Set how many packets may wait."""
    return _config(queue_number, sequence, _attribute(_CFG_QUEUE_MAXLEN, _BE32.pack(max_length)))


def flags_message(queue_number: int, sequence: int, flags: QueueFlag, mask: QueueFlag) -> bytes:
    """Set those flags of the queue that are in ``mask`` to what they are in ``flags``."""
    body = _attribute(_CFG_MASK, _BE32.pack(mask)) + _attribute(_CFG_FLAGS, _BE32.pack(flags))
    return _config(queue_number, sequence, body)


def _verdict(
    kind: int, queue_number: int, packet_id: int, verdict_number: int, mark: int | None
) -> bytes:
    header = (kind, _NLM_F_REQUEST, VERDICT_SEQUENCE, 0, _NETFILTER_HEADER.pack(0, 0, queue_number))
    body = (12, Attribute.VERDICT_HDR, _BE32.pack(verdict_number), _BE32.pack(packet_id))
    if mark is None:
        return _VERDICT.pack(_VERDICT.size, *header, *body)
    return _VERDICT_MARK.pack(
        _VERDICT_MARK.size, *header, *body, 8, Attribute.MARK, _BE32.pack(mark)
    )


def verdict(
    queue_number: int, packet_id: int, verdict_number: int, mark: int | None = None
) -> bytes:
    """Judge one packet, and set its mark when one is given.

    No acknowledgement is asked for; the kernel still answers with an error when the id is gone.
    """
    return _verdict(_MSG_VERDICT, queue_number, packet_id, verdict_number, mark)


def batch_verdict(
    queue_number: int, last_packet_id: int, verdict_number: int, mark: int | None = None
) -> bytes:
    """Judge every waiting packet up to and including ``last_packet_id`` alike.

    Packets with a verdict of their own must have got it before, in the same buffer at the latest.
    """
    return _verdict(_MSG_VERDICT_BATCH, queue_number, last_packet_id, verdict_number, mark)


def verdicts(
    queue_number: int, packet_ids: Iterable[int], verdict_number: int, mark: int | None = None
) -> bytes:
    """Judge many packets alike, one message each, in one buffer for one send."""
    return b"".join(
        [_verdict(_MSG_VERDICT, queue_number, one, verdict_number, mark) for one in packet_ids]
    )


def attributes(data: bytes | memoryview, offset: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Walk attributes: yield type, start of the value and its length.

    Raises:
        MessageError: An attribute is shorter than its header or longer than what is left.
    """
    while end - offset >= 4:
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4 or length > end - offset:
            raise MessageError(
                f"netlink attribute {kind & ~_NESTED_AND_ORDER} at offset {offset} says"
                f" {length} bytes where 4 to {end - offset} are possible"
            )
        yield kind & ~_NESTED_AND_ORDER, offset + 4, length - 4
        offset += (length + 3) & ~3


_NAMES: Final[dict[int, str]] = {
    Attribute.MARK: "mark",
    Attribute.IFINDEX_INDEV: "indev",
    Attribute.IFINDEX_OUTDEV: "outdev",
    Attribute.IFINDEX_PHYSINDEV: "physical_indev",
    Attribute.IFINDEX_PHYSOUTDEV: "physical_outdev",
    Attribute.CAP_LEN: "captured_of",
    Attribute.SKB_INFO: "packet_info",
    Attribute.UID: "uid",
    Attribute.GID: "gid",
}
_ONCE: Final = frozenset({int(Attribute.PACKET_HDR), int(Attribute.PAYLOAD)})
_SIZES: Final[dict[int, int]] = {
    **dict.fromkeys(_NAMES, 4),
    Attribute.PACKET_HDR: _PACKET_HEADER.size,
    Attribute.TIMESTAMP: _TIMESTAMP.size,
    Attribute.HWADDR: _HARDWARE.size,
}


def parse_message(
    data: bytes | memoryview, length: int | None = None
) -> PacketMessage | ErrorMessage:
    """Read one message of a queue's socket.

    Args:
        data: The message, possibly followed by other bytes.
        length: How many bytes the kernel wrote; all of ``data`` when not given.

    Raises:
        MessageError: The message is truncated, of another type, or contradicts itself. This is
            the only error, whatever the bytes are.
    """
    size = len(data) if length is None else min(length, len(data))
    if size < _MESSAGE_HEADER.size:
        raise MessageError(f"netlink message of {size} bytes is shorter than its header")
    stated, kind, _, sequence, _ = _MESSAGE_HEADER.unpack_from(data)
    if stated > size or stated < _HEADERS:
        raise MessageError(
            f"netlink message says {stated} bytes, {size} arrived",
            packet_id=_leading_packet_id(data, size) if kind == _MSG_PACKET else None,
        )
    if kind == _NLMSG_ERROR:
        (errno,) = _ERROR.unpack_from(data, 16)
        return ErrorMessage(errno=-errno, sequence=sequence)
    if kind != _MSG_PACKET:
        raise MessageError(f"netlink message of type {kind:#x} is not a packet of a queue")
    return _parse_packet(data, stated)


def _leading_packet_id(data: bytes | memoryview, size: int) -> int | None:
    """Read the packet id of a message that was cut: the kernel puts it first."""
    if size < _HEADERS + 8 or _ATTRIBUTE.unpack_from(data, _HEADERS) != (11, Attribute.PACKET_HDR):
        return None
    (packet_id,) = _BE32.unpack_from(data, _HEADERS + 4)
    return int(packet_id)


def _parse_packet(data: bytes | memoryview, end: int) -> PacketMessage:
    family, _, queue_number = _NETFILTER_HEADER.unpack_from(data, 16)
    header: tuple[int, int, int] | None = None
    numbers: dict[str, int] = {}
    seen: set[int] = set()
    timestamp_ns: int | None = None
    hardware = payload = b""
    try:
        for kind, start, size in attributes(data, _HEADERS, end):
            if size < _SIZES.get(kind, 0):
                raise MessageError(f"netlink attribute {kind} has only {size} bytes")
            if kind in _ONCE and kind in seen:
                raise MessageError(f"netlink attribute {kind} stands there twice")
            seen.add(kind)
            if kind == Attribute.PACKET_HDR:
                header = _PACKET_HEADER.unpack_from(data, start)
            elif kind == Attribute.PAYLOAD:
                payload = bytes(data[start : start + size])
            elif kind == Attribute.TIMESTAMP:
                seconds, microseconds = _TIMESTAMP.unpack_from(data, start)
                timestamp_ns = seconds * 1_000_000_000 + microseconds * 1_000
            elif kind == Attribute.HWADDR:
                address_length, _, address = _HARDWARE.unpack_from(data, start)
                hardware = address[:address_length]
            elif kind in _NAMES:
                (numbers[_NAMES[kind]],) = _BE32.unpack_from(data, start)
    except MessageError as error:
        raise MessageError(str(error), packet_id=header[0] if header else None) from None
    if header is None:
        raise MessageError("netlink message of a queued packet names no packet id")
    return PacketMessage(
        queue_number=queue_number,
        family=family,
        packet_id=header[0],
        hardware_protocol=header[1],
        hook=header[2],
        mark=numbers.get("mark", 0),
        timestamp_ns=timestamp_ns,
        indev=numbers.get("indev", 0),
        outdev=numbers.get("outdev", 0),
        physical_indev=numbers.get("physical_indev", 0),
        physical_outdev=numbers.get("physical_outdev", 0),
        hardware_address=hardware,
        captured_of=numbers.get("captured_of"),
        packet_info=numbers.get("packet_info", 0),
        uid=numbers.get("uid"),
        gid=numbers.get("gid"),
        payload=payload,
    )
