"""Capture filters: who talks to whom, by which ports and protocol."""

from __future__ import annotations

import enum
import ipaddress
from typing import Final, TypeAlias

import msgspec

from trireme_datapath.recorder._errors import RecorderError

__all__ = [
    "MAX_FILTERS",
    "PORT_PROTOCOLS",
    "CaptureFilter",
    "Network",
    "Protocol",
    "build_filter",
    "parse_network",
    "quoted",
]

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_FILTERS: Final = 1024
"""Filters of one recording; each costs a comparison for every packet that fits none before."""

PORT_PROTOCOLS: Final = frozenset({6, 17, 33, 132, 136})
"""Protocols whose header begins with two ports: TCP, UDP, DCCP, SCTP, UDP-Lite."""

_MAX_PORT: Final = 65_535
_MAX_PROTOCOL: Final = 255
_MAX_DIGITS: Final = 10


class Protocol(enum.IntEnum):
    """The protocols that the recorder's interface names, by their IP protocol numbers."""

    PROTOCOL_ANY = 0
    PROTOCOL_TCP = 6
    PROTOCOL_UDP = 17
    PROTOCOL_SCTP = 132


class CaptureFilter(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Packets from one network to another; all that is given must fit.

    Attributes:
        source: The network of the sender.
        destination: The network of the receiver, of the same IP version.
        source_port: The sender's port, 0 for any.
        destination_port: The receiver's port, 0 for any.
        protocol: The IP protocol number, 0 for every protocol. Ports fit only protocols that
            have them, and only packets that hold them: a later fragment does not.
    """

    source: Network
    destination: Network
    source_port: int = 0
    destination_port: int = 0
    protocol: int = 0

    @property
    def has_ports(self) -> bool:
        """Whether a port is asked for."""
        return bool(self.source_port or self.destination_port)

    def reversed(self) -> CaptureFilter:
        """Give the filter for the answers."""
        return CaptureFilter(
            source=self.destination,
            destination=self.source,
            source_port=self.destination_port,
            destination_port=self.source_port,
            protocol=self.protocol,
        )

    def __str__(self) -> str:
        """Give the five words of the hubble client."""
        try:
            protocol = Protocol(self.protocol).name.removeprefix("PROTOCOL_")
        except ValueError:
            protocol = str(self.protocol)
        return (
            f"{self.source} {self.source_port} {self.destination} {self.destination_port}"
            f" {protocol}"
        )


def parse_network(text: str, side: str) -> Network:
    """Read a network as Go's ``net.ParseCIDR`` does: an address, a slash and a prefix length.

    Args:
        text: For example ``10.0.0.0/8``; bits of the host are cut off.
        side: ``source`` or ``destination``, for the message.

    Raises:
        RecorderError: It is something else.
    """
    address, slash, prefix = text.partition("/")
    fits = bool(slash) and 0 < len(prefix) <= _MAX_DIGITS
    fits = fits and prefix.isascii() and prefix.isdigit() and "%" not in address
    if fits:
        try:
            return ipaddress.ip_network((address, int(prefix)), strict=False)
        except ValueError:
            pass
    raise RecorderError(
        f"failed to parse {side} cidr {quoted(text)}: invalid CIDR address: {text}"
    ) from None


def build_filter(
    source_cidr: str,
    destination_cidr: str,
    source_port: int = 0,
    destination_port: int = 0,
    protocol: int = 0,
) -> CaptureFilter:
    """Check what was asked for, in the order in which Cilium does, and make a filter of it.

    Raises:
        RecorderError: Something does not fit; the text is that of Cilium.
    """
    source = parse_network(source_cidr, "source")
    destination = parse_network(destination_cidr, "destination")
    if source.version != destination.version:
        raise RecorderError(
            f"source ({source}) and destination cidr ({destination}) must be same protocol version"
        )
    for side, port in (("source", source_port), ("destination", destination_port)):
        if not 0 <= port <= _MAX_PORT:
            raise RecorderError(f"{side} port {port} out of range")
    if not 0 <= protocol <= _MAX_PROTOCOL:
        raise RecorderError(f"protocol {protocol} out of range")
    return CaptureFilter(
        source=source,
        destination=destination,
        source_port=source_port,
        destination_port=destination_port,
        protocol=protocol,
    )


def quoted(text: str) -> str:
    """Quote a text as Go's ``%q`` does."""
    from trireme_datapath.monitor._go_text import (  # noqa: PLC0415  only errors need it
        quoted as go_quoted,
    )

    return go_quoted(text)
