"""The packet decoder: bytes of one IP datagram in, :class:`Packet` or :class:`Malformed` out.

It takes what a netfilter queue hands over, a datagram without link header, and is total: no
bytes make it raise, and its cost is bounded by the limits below. Checksums are not verified: the
kernel has done so for what it queues, and what leaves the host has none yet.
"""

from __future__ import annotations

from trireme_datapath._packet_network import (
    MAX_EXTENSION_BYTES,
    MAX_EXTENSION_HEADERS,
    read_ipv4,
    read_ipv6,
)
from trireme_datapath._packet_transport import MAX_EMBEDDED_BYTES
from trireme_datapath._packet_types import Malformed, MalformedReason, Packet

__all__ = [
    "MAX_EMBEDDED_BYTES",
    "MAX_EXTENSION_BYTES",
    "MAX_EXTENSION_HEADERS",
    "Malformed",
    "MalformedReason",
    "Packet",
    "decode",
    "decode_embedded",
]

# No header starts later than this: the limits above leave room for it twice.
_HEAD_BYTES = 4096


def decode(
    data: bytes | bytearray | memoryview, *, original_length: int | None = None
) -> Packet | Malformed:
    """Read one IP datagram; never raises for any bytes.

    Bytes behind the datagram, such as the padding of a short Ethernet frame, are ignored.

    Args:
        data: The datagram from its IP header on, perhaps cut by the capture.
        original_length: How long it was before the capture cut it. ``None``, or less than there
            are bytes, means that nothing was cut.
    """
    if type(data) is bytes:
        captured = len(data)
        head = data
    else:
        captured = memoryview(data).nbytes
        head = _head(data)
    wire = captured
    if original_length is not None and original_length > captured:
        wire = original_length
    if not captured:
        return Malformed(
            reason=MalformedReason.CUT if wire else MalformedReason.EMPTY,
            offset=0,
            size_bytes=wire,
        )
    version = head[0] >> 4
    if version == 4:
        return read_ipv4(head, captured, wire)
    if version == 6:
        return read_ipv6(head, captured, wire)
    return Malformed(reason=MalformedReason.VERSION, offset=0, size_bytes=wire)


def decode_embedded(packet: Packet) -> Packet | Malformed | None:
    """Read the datagram that an ICMP error quotes, so that the error finds its flow.

    A quoted TCP header may end behind its sequence number, and its flags are 0 then; SCTP may end
    behind the verification tag.

    Args:
        packet: Any packet.

    Returns:
        The quoted datagram, or ``None`` when the packet is no ICMP error or is itself quoted.
    """
    data = packet.embedded
    if data is None:
        return None
    captured = len(data)
    size_bytes = packet.size_bytes - packet.payload_offset
    if not captured:
        return Malformed(
            reason=MalformedReason.CUT if size_bytes > 0 else MalformedReason.EMPTY,
            offset=0,
            size_bytes=size_bytes,
        )
    version = data[0] >> 4
    if version == packet.version:
        read = read_ipv4 if version == 4 else read_ipv6
        return read(data, captured, size_bytes, quoted=True)
    return Malformed(reason=MalformedReason.VERSION, offset=0, size_bytes=size_bytes)


def _head(data: bytes | bytearray | memoryview) -> bytes:
    """Copy the bytes that can hold headers."""
    if isinstance(data, memoryview) and (data.ndim != 1 or data.itemsize != 1):
        return data.tobytes()[:_HEAD_BYTES]
    return bytes(data[:_HEAD_BYTES])
