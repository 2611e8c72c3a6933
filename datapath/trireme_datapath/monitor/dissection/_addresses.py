"""Addresses as text, as Go prints them."""

from __future__ import annotations

from socket import AF_INET6, inet_ntoa, inet_ntop

__all__ = ["endpoint_text", "ip_text", "mac_text"]

_V4_MAPPED = bytes(10) + b"\xff\xff"
_ZEROS = bytes(12)


def ip_text(packed: bytes) -> str:
    """Render an address of 4 or 16 bytes.

    IPv6 is in the form of RFC 5952, but an address that maps IPv4 is shown as that.
    """
    if len(packed) == 4:
        return inet_ntoa(packed)
    head = packed[:12]
    if head == _V4_MAPPED:
        return inet_ntoa(packed[12:])
    if head == _ZEROS:
        # The C library shows the end of these as dotted decimals.
        high, low = int.from_bytes(packed[12:14], "big"), int.from_bytes(packed[14:], "big")
        if high:
            return f"::{high:x}:{low:x}"
        return f"::{low:x}" if low else "::"
    return inet_ntop(AF_INET6, packed)


def endpoint_text(ip: str, port: int) -> str:
    """Render an address and a port; what has a colon gets brackets."""
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def mac_text(packed: bytes) -> str:
    """Render a hardware address."""
    return packed.hex(":")
