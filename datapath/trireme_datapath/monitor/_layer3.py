"""Packets of devices without link headers: WireGuard, tun."""

from __future__ import annotations

__all__ = ["with_link_header"]

_NO_ADDRESSES = bytes(12)
_IPV4 = b"\x08\x00"
_IPV6 = b"\x86\xdd"
_OTHER_TYPES = {b"\x08\x06", b"\x81\x00", b"\x88\xa8"}


def with_link_header(packet: bytes) -> tuple[bytes, int]:
    """Put an Ethernet header in front of a packet that begins with IP.

    A message does not say what kind of device its packet is from. One that has a sound IP header
    where the hardware addresses should be, and nothing that makes sense behind them, has none.

    Returns:
        The packet, and how many layers were added to it: one or none.
    """
    if len(packet) < 20 or _begins_with_ethernet(packet):
        return packet, 0
    if _begins_with_ipv4(packet, 0):
        return _NO_ADDRESSES + _IPV4 + packet, 1
    if _begins_with_ipv6(packet, 0):
        return _NO_ADDRESSES + _IPV6 + packet, 1
    return packet, 0


def _begins_with_ethernet(packet: bytes) -> bool:
    kind = packet[12:14]
    if kind == _IPV4:
        return _begins_with_ipv4(packet, 14)
    if kind == _IPV6:
        return _begins_with_ipv6(packet, 14)
    return kind in _OTHER_TYPES


def _begins_with_ipv4(packet: bytes, at: int) -> bool:
    """Tell whether there is an IPv4 header; its checksum decides."""
    header = packet[at : at + 20]
    if len(header) < 20 or header[0] >> 4 != 4:
        return False
    header = packet[at : at + (header[0] & 0xF) * 4]
    if len(header) < 20 or int.from_bytes(header[2:4], "big") < len(header):
        return False
    # A sum of words in ones' complement is the remainder by 0xFFFF, and 0 if it is sound.
    return int.from_bytes(header, "big") % 0xFFFF == 0


def _begins_with_ipv6(packet: bytes, at: int) -> bool:
    """Tell whether there is an IPv6 header that announces what was captured, or more."""
    header = packet[at : at + 40]
    if len(header) < 40 or header[0] >> 4 != 6:
        return False
    return int.from_bytes(header[4:6], "big") + 40 >= len(packet) - at
