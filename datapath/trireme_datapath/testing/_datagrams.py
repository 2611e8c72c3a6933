"""IP datagrams as bytes, made from what a test says of them, with lengths and checksums right."""

from __future__ import annotations

import socket
import struct
from typing import Final

__all__ = [
    "icmp_echo",
    "icmp_error",
    "ip_datagram",
    "sctp_packet",
    "tcp_segment",
    "transport_checksum",
    "udp_datagram",
]

TCP: Final = 6
UDP: Final = 17
ICMP: Final = 1
ICMPV6: Final = 58
SCTP: Final = 132
UDPLITE: Final = 136

_HOP_LIMIT: Final = 64
_WINDOW: Final = 8192
_CHECKSUM_AT: Final = {TCP: 16, UDP: 6, UDPLITE: 6, ICMP: 2, ICMPV6: 2}
_CASTAGNOLI: Final = 0x82F63B78  # RFC 9260 appendix A, bits reversed


def ip_datagram(
    source: bytes,
    destination: bytes,
    protocol: int,
    payload: bytes,
    *,
    identification: int = 1,
    hop_limit: int = _HOP_LIMIT,
    options: bytes = b"",
    fragment: int = 0,
) -> bytes:
    """Put an IP header before a payload, and the checksum into its transport header.

    Args:
        source: The packed address, 4 or 16 bytes.
        destination: The packed address, of the same length.
        protocol: The protocol number.
        payload: The transport header, its checksum 0, and what it carries.
        identification: The IPv4 identification.
        hop_limit: The time to live, or hop limit.
        options: IPv4 options, a multiple of 4 bytes.
        fragment: The flags and the offset of a fragment of IPv4, as they stand in the header.
    """
    if not fragment & 0x1FFF:
        payload = transport_checksum(source, destination, protocol, payload)
    if len(source) == 16:
        head = struct.pack("!IHBB", 6 << 28, len(payload), protocol, hop_limit)
        return head + source + destination + payload
    words = 5 + len(options) // 4
    total = words * 4 + len(payload)
    head = struct.pack(
        "!BBHHHBBH", 4 << 4 | words, 0, total, identification, fragment, hop_limit, protocol, 0
    )
    head += source + destination + options
    return head[:10] + struct.pack("!H", _sum(head)) + head[12:] + payload


def transport_checksum(source: bytes, destination: bytes, protocol: int, payload: bytes) -> bytes:
    """Put the checksum into a transport header, where it is known to have one."""
    if protocol == SCTP:
        return payload[:8] + struct.pack("<I", _crc32c(payload)) + payload[12:]
    at = _CHECKSUM_AT.get(protocol)
    if at is None or len(payload) < at + 2:
        return payload
    pseudo = b""
    if protocol != ICMP:
        pseudo = source + destination + struct.pack("!II", len(payload), protocol)
    value = _sum(pseudo + payload)
    if protocol in {UDP, UDPLITE} and not value:
        value = 0xFFFF  # 0 says that there is none (RFC 768)
    return payload[:at] + struct.pack("!H", value) + payload[at + 2 :]


def tcp_segment(
    source_port: int, destination_port: int, flags: int, payload: bytes = b"", *, sequence: int = 0
) -> bytes:
    """Make a TCP segment without options."""
    acknowledgment = 0
    head = struct.pack(
        "!HHIIBBHHH",
        source_port,
        destination_port,
        sequence,
        acknowledgment,
        5 << 4,
        flags,
        _WINDOW,
        0,
        0,
    )
    return head + payload


def udp_datagram(source_port: int, destination_port: int, payload: bytes = b"") -> bytes:
    """Make a UDP datagram, or a UDP-Lite one whose checksum covers all of it."""
    return struct.pack("!HHHH", source_port, destination_port, 8 + len(payload), 0) + payload


def sctp_packet(
    source_port: int, destination_port: int, chunk_type: int, payload: bytes = b""
) -> bytes:
    """Make an SCTP packet of one chunk; the headers of DATA (0) and INIT (1) stand in it."""
    if chunk_type == 1:  # tag, window, outbound and inbound streams, first number
        body = struct.pack("!IIHHI", 1, 106_496, 1, 1, 1) + payload
    elif chunk_type == 0:  # number, stream, number in the stream, protocol
        body = struct.pack("!IHHI", 1, 0, 0, 0) + payload
    else:
        body = payload
    chunk = struct.pack("!BBH", chunk_type, 0, 4 + len(body)) + body
    chunk += bytes(-len(chunk) % 4)
    return struct.pack("!HHII", source_port, destination_port, 0, 0) + chunk


def icmp_echo(kind: int, identifier: int, payload: bytes = b"", *, code: int = 0) -> bytes:
    """Make an ICMP or ICMPv6 message with an identifier, such as an echo request."""
    return struct.pack("!BBHHH", kind, code, 0, identifier, 0) + payload


def icmp_error(kind: int, code: int, quoted: bytes) -> bytes:
    """Make an ICMP or ICMPv6 error that quotes a datagram."""
    return struct.pack("!BBHI", kind, code, 0, 0) + quoted


def _sum(data: bytes) -> int:
    """Give the Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (_CASTAGNOLI if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def pack(address: str) -> bytes:
    """Pack an address.

    Raises:
        OSError: It is none.
    """
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
