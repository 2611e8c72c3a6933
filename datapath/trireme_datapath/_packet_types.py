"""What the packet decoder gives back: :class:`Packet` or :class:`Malformed`."""

from __future__ import annotations

from enum import StrEnum
from socket import AF_INET, AF_INET6, inet_ntop

import msgspec

__all__ = ["Malformed", "MalformedReason", "Packet"]


class MalformedReason(StrEnum):
    """Why a datagram could not be read; the set is closed and the values are stable."""

    EMPTY = "empty"
    """There are no bytes at all."""
    VERSION = "version"
    """The version field is neither 4 nor 6, or a quoted datagram is of the other version."""
    CUT = "cut"
    """A header that is needed lies beyond the captured bytes; on the wire it was there."""
    TRUNCATED = "truncated"
    """Fewer bytes arrived than the IP header needs or announces."""
    HEADER_LENGTH = "header-length"
    """The IPv4 header length is below 5 words (RFC 791 section 3.1)."""
    TOTAL_LENGTH = "total-length"
    """The IPv4 total length is smaller than the IPv4 header."""
    IP_OPTION = "ip-option"
    """An IPv4 option has an impossible length or runs past the header."""
    JUMBOGRAM = "jumbogram"
    """An IPv6 jumbogram (RFC 2675); no queue hands one over whole and none is judged."""
    EXTENSION_COUNT = "extension-count"
    """More IPv6 extension headers than ``MAX_EXTENSION_HEADERS``."""
    EXTENSION_LENGTH = "extension-length"
    """The IPv6 extension headers together exceed ``MAX_EXTENSION_BYTES``."""
    EXTENSION_TRUNCATED = "extension-truncated"
    """An IPv6 extension header runs past the datagram or is too short for its kind."""
    EXTENSION_ORDER = "extension-order"
    """Hop-by-hop options are not first, or there are two fragment headers (RFC 8200)."""
    EXTENSION_OPTION = "extension-option"
    """An option in a hop-by-hop or destination options header runs past that header."""
    FRAGMENT_LENGTH = "fragment-length"
    """A fragment is empty, or is not the last one and no multiple of 8 bytes long."""
    FRAGMENT_OVERFLOW = "fragment-overflow"
    """The datagram put together from this fragment would exceed 65,535 bytes."""
    TINY_FRAGMENT = "tiny-fragment"
    """A first fragment ends before the transport header does (RFC 1858, RFC 7112)."""
    OVERLAPPING_FRAGMENT = "overlapping-fragment"
    """A TCP fragment at offset 8 would overwrite the TCP flags (RFC 1858, RFC 3128)."""
    TRANSPORT_TRUNCATED = "transport-truncated"
    """The datagram ends before its transport header does."""
    TCP_DATA_OFFSET = "tcp-data-offset"
    """The TCP data offset is below 5 words or points past the datagram (RFC 9293)."""
    UDP_LENGTH = "udp-length"
    """The UDP length is below 8 or larger than the datagram (RFC 768)."""
    UDPLITE_COVERAGE = "udplite-coverage"
    """The UDP-Lite checksum coverage is 1 to 7 or exceeds the datagram (RFC 3828)."""
    SCTP_CHUNK = "sctp-chunk"
    """The first SCTP chunk is below 4 bytes or runs past the datagram (RFC 9260)."""


def _address_text(address: bytes) -> str:
    if len(address) == 4:
        return inet_ntop(AF_INET, address)
    return inet_ntop(AF_INET6, address) if address else ""


class Packet(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One IPv4 or IPv6 datagram, read as far as its transport header.

    Offsets count from the first byte of the IP header. On a cut capture ``payload_offset`` may
    lie beyond the captured bytes; slicing there yields nothing. Fields that the datagram does
    not have hold 0, or -1 where 0 is a valid value.

    Attributes:
        version: 4 or 6.
        source: Packed source address, 4 or 16 bytes.
        destination: Packed destination address, 4 or 16 bytes.
        protocol: Upper-layer protocol number behind all IPv6 extension headers. In a fragment
            that is not the first it is what the fragment header announces.
        size_bytes: Length of the whole datagram by its IP header, whatever was captured.
        hop_limit: Time to live, or hop limit.
        identification: IPv4 identification, or that of the IPv6 fragment header, else 0.
        fragment_offset_bytes: Where this fragment belongs; 0 also when there is none.
        more_fragments: Whether fragments follow.
        source_routed: The sender chose hops on the way: IPv4 loose or strict source route, or
            an IPv6 routing header with segments left, so the destination is not the last one.
        header_length_bytes: Offset of the transport header: IP header with all extensions.
        payload_offset: Offset of what the transport carries.
        source_port: Source port of TCP, UDP, UDP-Lite or SCTP, else 0.
        destination_port: Destination port of TCP, UDP, UDP-Lite or SCTP, else 0.
        tcp_flags: The eight flags CWR, ECE, URG, ACK, PSH, RST, SYN, FIN from high to low.
        tcp_sequence: TCP sequence number.
        tcp_acknowledgment: TCP acknowledgment number.
        icmp_type: ICMP or ICMPv6 type, else -1.
        icmp_code: ICMP or ICMPv6 code, else -1.
        icmp_identifier: Identifier of an ICMP query or reply (echo, timestamp), else -1.
        sctp_verification_tag: SCTP verification tag.
        sctp_chunk_type: Type of the first SCTP chunk, else -1.
        embedded: What an ICMP error quotes, at most ``MAX_EMBEDDED_BYTES``; ``None`` when this
            is no ICMP error. ``decode_embedded`` reads it.
    """

    version: int
    source: bytes
    destination: bytes
    protocol: int
    size_bytes: int
    hop_limit: int
    header_length_bytes: int
    payload_offset: int
    identification: int = 0
    fragment_offset_bytes: int = 0
    more_fragments: bool = False
    source_routed: bool = False
    source_port: int = 0
    destination_port: int = 0
    tcp_flags: int = 0
    tcp_sequence: int = 0
    tcp_acknowledgment: int = 0
    icmp_type: int = -1
    icmp_code: int = -1
    icmp_identifier: int = -1
    sctp_verification_tag: int = 0
    sctp_chunk_type: int = -1
    embedded: bytes | None = None

    @property
    def is_fragment(self) -> bool:
        """Whether this is a part of a datagram; an atomic fragment (RFC 6946) is whole."""
        return self.more_fragments or self.fragment_offset_bytes > 0

    @property
    def source_text(self) -> str:
        """The source address as text."""
        return _address_text(self.source)

    @property
    def destination_text(self) -> str:
        """The destination address as text."""
        return _address_text(self.destination)


class Malformed(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A datagram that could not be read, with all that was known when reading stopped.

    Attributes:
        reason: What is wrong.
        offset: Where: the first byte of the header or option that could not be read.
        version: 4 or 6, or 0 when the first byte says neither.
        source: Packed source address, empty when unknown.
        destination: Packed destination address, empty when unknown.
        protocol: The last protocol or next header number read, -1 when unknown.
        size_bytes: Length of the datagram by its IP header when that was found sound, else the
            number of bytes on the wire.
    """

    reason: MalformedReason
    offset: int
    version: int = 0
    source: bytes = b""
    destination: bytes = b""
    protocol: int = -1
    size_bytes: int = 0

    @property
    def source_text(self) -> str:
        """The source address as text, empty when unknown."""
        return _address_text(self.source)

    @property
    def destination_text(self) -> str:
        """The destination address as text, empty when unknown."""
        return _address_text(self.destination)
