"""Addresses and networks as numbers."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["compile_networks", "parse_network"]

_V6_MAPPED = 0xFFFF  # what stands before an IPv4 address in ::ffff:192.0.2.1
_BITS_V4 = 32


def parse_network(text: str) -> tuple[int, int, int]:
    """Read an address or a network.

    Returns:
        The version, the number of its network, and by how many bits addresses are shifted to get
        that number.

    Raises:
        ValueError: It is neither; the message says what is wrong.
    """
    address, slash, _ = text.partition("/")
    found = _parse(address)
    if found is None:
        raise ValueError("not an IP address")
    version, number = found
    if slash:
        # Host bits and odd lengths are refused there.
        network = ipaddress.ip_network(text)
        shift = network.max_prefixlen - network.prefixlen
        # Mapped IPv4 stays what it was read as, as long as the prefix covers what marks it.
        if network.version == version or shift <= _BITS_V4:
            return version, number >> shift, shift
        return network.version, int(network.network_address) >> shift, shift
    return version, number, 0


def compile_networks(networks: Iterable[tuple[int, int, int]]) -> Callable[[str], bool]:
    """Make networks a function that takes an address as text; what is none is in no network."""
    by_version: dict[int, dict[int, set[int]]] = {4: {}, 6: {}}
    for version, number, shift in networks:
        by_version[version].setdefault(shift, set()).add(number)
    tests = {
        version: tuple((shift, frozenset(numbers)) for shift, numbers in shifts.items())
        for version, shifts in by_version.items()
    }

    def match(text: str) -> bool:
        found = _parse(text)
        if found is None:
            return False
        version, number = found
        for shift, numbers in tests[version]:  # noqa: SIM110  a generator costs as much again
            if number >> shift in numbers:
                return True
        return False

    return match


def _parse(text: str) -> tuple[int, int] | None:
    try:
        if ":" not in text:
            return 4, int.from_bytes(socket.inet_pton(socket.AF_INET, text))
        number = int.from_bytes(socket.inet_pton(socket.AF_INET6, text))
    except (OSError, ValueError):  # the latter for a NUL or a lone surrogate
        return None
    if number >> 32 == _V6_MAPPED:
        return 4, number & 0xFFFFFFFF
    return 6, number
