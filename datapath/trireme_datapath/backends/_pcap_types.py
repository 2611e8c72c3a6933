"""What a capture gives: packets, frames left out, and the error when it cannot be read on."""

from __future__ import annotations

import enum
from typing import ClassVar

import msgspec

from trireme_collector.errors import DatapathError
from trireme_collector.exit_codes import ExitCode

__all__ = [
    "CaptureDirection",
    "CaptureError",
    "CapturedPacket",
    "LinkHeader",
    "SkipReason",
    "TruncatedCaptureError",
]


class CaptureError(DatapathError):
    """A capture cannot be read, or not read on: everything before the place was delivered.

    Attributes:
        name: The file, as it was named.
        offset: The byte that could not be read, counted from 0 (in the unpacked stream when the
            file is compressed).
    """

    exit_code: ClassVar[ExitCode] = ExitCode.INPUT

    def __init__(self, name: str, offset: int, found: str, advice: str) -> None:
        """Say where, what was found, and what to do."""
        super().__init__(f"{name}: at byte {offset}: {found}; {advice}")
        self.name = name
        self.offset = offset


class TruncatedCaptureError(CaptureError):
    """The capture ends in the middle of a packet, as it does when the recorder was killed.

    Whoever reads a file that is still being written may take this for its end.
    """


class SkipReason(enum.StrEnum):
    """Why a frame gave no packet; the set is closed and the values are stable."""

    ARP = "arp"
    """Address resolution, which no IP hook ever sees."""
    LLDP = "lldp"
    """Link layer discovery."""
    LLC = "llc"
    """An IEEE 802.3 frame with a length in place of a type (spanning tree and the like)."""
    NOT_IP = "not-ip"
    """Any other protocol than IPv4 and IPv6."""
    SHORT_LINK_HEADER = "short-link-header"
    """The captured bytes end inside the link header."""
    VLAN_TAGS = "vlan-tags"
    """More VLAN tags than are read."""
    IP_VERSION = "ip-version"
    """The link header announces the other IP version; hosts drop such frames unseen."""


class CaptureDirection(enum.StrEnum):
    """The way of a packet as seen from the interface, where the capture says it."""

    UNKNOWN = ""
    INBOUND = "in"
    OUTBOUND = "out"


class LinkHeader(msgspec.Struct, frozen=True, gc=False):
    """What stands before the IP datagram.

    Attributes:
        size_bytes: How many bytes of the frame it takes.
        protocol: The EtherType, 0 when the link type has none.
        vlan_ids: The VLAN identifiers, outermost first.
        direction: The way that the link header tells.
        interface_index: The index of the interface, -1 when the link header has none.
    """

    size_bytes: int
    protocol: int = 0
    vlan_ids: tuple[int, ...] = ()
    direction: CaptureDirection = CaptureDirection.UNKNOWN
    interface_index: int = -1


class CapturedPacket(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An IP datagram out of a capture.

    Attributes:
        number: The place of its frame in the capture, from 1, frames without IP counted too:
            the number that other tools show.
        time_ns: When it was captured, nanoseconds since 1970 UTC; ``None`` when the capture does
            not say (simple packet blocks).
        data: The datagram from its IP header on, as far as it was captured; the padding of a
            short Ethernet frame may follow.
        original_length: The length of ``data`` on the wire, never less than what was captured.
        interface: The name of the interface, empty when unknown.
        link_type: The LINKTYPE number of the frame.
        link: What stood before the datagram.
        direction: The way of the packet, from the packet's flags or from the link header.
    """

    number: int
    time_ns: int | None
    data: bytes
    original_length: int
    interface: str
    link_type: int
    link: LinkHeader
    direction: CaptureDirection = CaptureDirection.UNKNOWN
