"""Builds packets header by header, for tests."""

from __future__ import annotations

from struct import pack

__all__ = ["ethernet", "hop_by_hop", "ipv4", "ipv6", "tcp", "udp"]

SOURCE_MAC = bytes.fromhex("0123456789ab")
DESTINATION_MAC = bytes.fromhex("0233456789ab")


def ethernet(payload: bytes, ethernet_type: int = 0x0800) -> bytes:
    return DESTINATION_MAC + SOURCE_MAC + pack(">H", ethernet_type) + payload


def ipv4(
    payload: bytes,
    protocol: int = 6,
    *,
    source: str = "01020304",
    destination: str = "05060708",
    options: bytes = b"",
    length: int | None = None,
    words: int | None = None,
    fragment: int = 0,
) -> bytes:
    size = 20 + len(options)
    return (
        pack(
            ">BBHHHBBH",
            0x40 | (size // 4 if words is None else words),
            0,
            size + len(payload) if length is None else length,
            1,
            fragment,
            64,
            protocol,
            0,
        )
        + bytes.fromhex(source)
        + bytes.fromhex(destination)
        + options
        + payload
    )


def ipv6(
    payload: bytes,
    protocol: int = 6,
    *,
    source: str = "20010db8000000000000000000000001",
    destination: str = "20010db8000000000000000000000002",
    length: int | None = None,
) -> bytes:
    return (
        pack(">IHBB", 0x6 << 28, len(payload) if length is None else length, protocol, 64)
        + bytes.fromhex(source)
        + bytes.fromhex(destination)
        + payload
    )


def hop_by_hop(options: bytes, protocol: int = 6) -> bytes:
    assert len(options) % 8 == 6
    return bytes([protocol, len(options) // 8]) + options


def tcp(
    payload: bytes = b"",
    *,
    ports: tuple[int, int] = (80, 443),
    flags: int = 0x02,
    options: bytes = b"",
    words: int | None = None,
) -> bytes:
    offset = 5 + len(options) // 4 if words is None else words
    return pack(">HHIIHHHH", *ports, 0, 0, offset << 12 | flags, 8192, 0, 0) + options + payload


def udp(
    payload: bytes = b"", *, ports: tuple[int, int] = (53, 1024), length: int | None = None
) -> bytes:
    return pack(">HHHH", *ports, 8 + len(payload) if length is None else length, 0) + payload
