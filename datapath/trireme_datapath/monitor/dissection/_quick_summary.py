"""The summary of plain TCP and UDP packets, straight from their bytes.

Nearly every packet is one of these, and the general way takes several times as long. A test
feeds both the same packets.
"""

from __future__ import annotations

from socket import inet_ntoa
from struct import Struct

from trireme_datapath.monitor.dissection._addresses import endpoint_text, ip_text
from trireme_datapath.monitor.dissection._tcp import SUMMARY_FLAGS

__all__ = ["quick_summary"]

# Ethernet type; version and header length, total length, fragment, protocol, addresses; ports,
# length of UDP; data offset and flags of TCP.
_V4 = Struct(">12xHBxH2xHxB2x4s4sHHH6xBB")
# Ethernet type; length, next header, addresses; as above.
_V6 = Struct(">18xHBx16s16sHHH6xBB")
_V4_HEADERS_BYTES = 34
_V6_HEADERS_BYTES = 54
_IPV4 = 0x0800
_IPV6 = 0x86DD
_TCP = 6
_UDP = 17
_TCP_HEADER_BYTES = 20
_UDP_HEADER_BYTES = 8
# More fragments, and the offset of one.
_FRAGMENT = 0x3FFF
# Two pads and the timestamps: the options of nearly every segment that has any.
_TIMESTAMPS = b"\x01\x01\x08\x0a"


def quick_summary(packet: bytes, *, is_1_9: bool) -> str:
    """Summarize a plain TCP or UDP packet; ``""`` if it is none, or not quite sound."""
    size = len(packet)
    if size < _V4.size:
        return ""
    (
        ethernet_type,
        version_words,
        length,
        fragment,
        protocol,
        source,
        destination,
        source_port,
        destination_port,
        udp_length,
        offset,
        flags,
    ) = _V4.unpack_from(packet)
    if ethernet_type == _IPV4:
        if version_words & 0x0F != 5 or fragment & _FRAGMENT:
            return ""
        start = _V4_HEADERS_BYTES
        # An empty length becomes negative, and nothing fits into it.
        length -= 20
        source_text, destination_text = inet_ntoa(source), inet_ntoa(destination)
        text = f"{source_text}:{source_port} -> {destination_text}:{destination_port}"
    elif ethernet_type == _IPV6 and size >= _V6.size:
        (
            length,
            protocol,
            source,
            destination,
            source_port,
            destination_port,
            udp_length,
            offset,
            flags,
        ) = _V6.unpack_from(packet)
        if protocol not in (_TCP, _UDP):
            return ""
        start = _V6_HEADERS_BYTES
        text = (
            f"{endpoint_text(ip_text(source), source_port)} -> "
            f"{endpoint_text(ip_text(destination), destination_port)}"
        )
    else:
        return ""
    available = min(length, size - start)
    if protocol == _TCP:
        header = offset >> 2 & 0x3C
        if header < _TCP_HEADER_BYTES or header > available:
            return ""
        if header > _TCP_HEADER_BYTES and not _options_hold(
            packet, start + _TCP_HEADER_BYTES, start + header, is_1_9=is_1_9
        ):
            return ""
        return f"{text} tcp {SUMMARY_FLAGS[flags]}"
    if (
        protocol == _UDP
        and available >= _UDP_HEADER_BYTES
        and (udp_length >= _UDP_HEADER_BYTES or not udp_length)
    ):
        return text + " udp"
    return ""


def _options_hold(packet: bytes, at: int, end: int, *, is_1_9: bool) -> bool:
    """Whether the options of TCP are sound; without, there is no TCP layer."""
    if end - at == len(_TIMESTAMPS) + 8 and packet.startswith(_TIMESTAMPS, at):
        return True
    while at < end:
        kind = packet[at]
        if kind > 1:
            if at + 2 > end:
                return False
            length = packet[at + 1]
            if length < 2:
                return False
            at += length
        elif kind or is_1_9:
            at += 1
        else:
            # The end of the list; 1.9 reads on.
            return True
    return at == end
