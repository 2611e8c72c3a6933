"""Transport headers of the packet decoder: TCP, UDP, UDP-Lite, SCTP, ICMP and ICMPv6."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct

import msgspec

from trireme_datapath._packet_types import Malformed, MalformedReason, Packet

__all__ = ["MAX_EMBEDDED_BYTES", "PROTOCOL_TCP", "Datagram", "read_transport"]

MAX_EMBEDDED_BYTES = 1280
"""Quoted bytes kept of an ICMP error: RFC 4443 section 2.4 lets no error exceed 1,280 bytes."""

PROTOCOL_ICMP = 1
PROTOCOL_TCP = 6
PROTOCOL_UDP = 17
PROTOCOL_ICMPV6 = 58
PROTOCOL_SCTP = 132
PROTOCOL_UDPLITE = 136

_TCP_BYTES = 20
_UDP_BYTES = 8
_ICMP_BYTES = 8
_SCTP_BYTES = 12
_SCTP_CHUNK_BYTES = 4
# RFC 792 promises only eight bytes of the transport header in an error message.
_QUOTED_BYTES = 8

_read_tcp = Struct(">HHIIBB").unpack_from
_read_udp = Struct(">HHH").unpack_from
_read_sctp = Struct(">HHI4xBxH").unpack_from
_read_icmp = Struct(">BBxxH").unpack_from
_read_quoted = Struct(">HHI").unpack_from

# Echo, timestamp, information, mask (RFC 792, RFC 950) and extended echo (RFC 8335).
_ICMP_IDENTIFIED = frozenset((0, 8, 13, 14, 15, 16, 17, 18, 42, 43))
_ICMPV6_IDENTIFIED = frozenset((128, 129, 160, 161))
# Unreachable, source quench, redirect, time exceeded, parameter problem (RFC 792).
_ICMP_ERRORS = frozenset((3, 4, 5, 11, 12))
# RFC 4443 section 2.1: types below 128 are errors.
_ICMPV6_FIRST_QUERY = 128
# RFC 4884: these errors may state how many words of the quoted datagram come before extensions.
_ICMP_EXTENSIBLE = frozenset((3, 11, 12))
_ICMPV6_EXTENSIBLE = frozenset((1, 3))
# RFC 4884 section 4.5: an extended message quotes at least this much; less is no such length.
_MIN_EXTENDED_QUOTE_BYTES = 128


class Datagram(msgspec.Struct, frozen=True, gc=False):
    """The network layer's answer, from which a transport reader makes the packet.

    Attributes:
        data: The head of the captured bytes.
        start: Offset of the transport header.
        available: Captured bytes from ``start`` to the end of the datagram.
        announced: Bytes from ``start`` to the end of the datagram by its IP header.
        quoted: Whether this was quoted by an ICMP error and may end after eight bytes.
        version: As in :class:`Packet`, and so are all that follow.
    """

    data: bytes
    start: int
    available: int
    announced: int
    quoted: bool
    version: int
    source: bytes
    destination: bytes
    protocol: int
    size_bytes: int
    hop_limit: int
    identification: int
    fragment_offset_bytes: int
    more_fragments: bool
    source_routed: bool


_Reader = Callable[[Datagram], Packet | Malformed]


def read_transport(datagram: Datagram) -> Packet | Malformed:
    """Read the transport header of a datagram, or none for a protocol without ports."""
    if datagram.fragment_offset_bytes:
        if datagram.protocol == PROTOCOL_TCP and datagram.fragment_offset_bytes == 8:
            return _refuse(datagram, MalformedReason.OVERLAPPING_FRAGMENT)
        return _packet(datagram, 0)
    readers = _IPV4_READERS if datagram.version == 4 else _IPV6_READERS
    return readers.get(datagram.protocol, _read_other)(datagram)


def _packet(  # noqa: PLR0913  one place makes packets, with the fields that a protocol has
    datagram: Datagram,
    header_bytes: int,
    source_port: int = 0,
    destination_port: int = 0,
    *,
    tcp_flags: int = 0,
    tcp_sequence: int = 0,
    tcp_acknowledgment: int = 0,
    icmp_type: int = -1,
    icmp_code: int = -1,
    icmp_identifier: int = -1,
    sctp_verification_tag: int = 0,
    sctp_chunk_type: int = -1,
    embedded: bytes | None = None,
) -> Packet:
    return Packet(
        version=datagram.version,
        source=datagram.source,
        destination=datagram.destination,
        protocol=datagram.protocol,
        size_bytes=datagram.size_bytes,
        hop_limit=datagram.hop_limit,
        header_length_bytes=datagram.start,
        payload_offset=datagram.start + header_bytes,
        identification=datagram.identification,
        fragment_offset_bytes=datagram.fragment_offset_bytes,
        more_fragments=datagram.more_fragments,
        source_routed=datagram.source_routed,
        source_port=source_port,
        destination_port=destination_port,
        tcp_flags=tcp_flags,
        tcp_sequence=tcp_sequence,
        tcp_acknowledgment=tcp_acknowledgment,
        icmp_type=icmp_type,
        icmp_code=icmp_code,
        icmp_identifier=icmp_identifier,
        sctp_verification_tag=sctp_verification_tag,
        sctp_chunk_type=sctp_chunk_type,
        embedded=embedded,
    )


def _refuse(datagram: Datagram, reason: MalformedReason) -> Malformed:
    return Malformed(
        reason=reason,
        offset=datagram.start,
        version=datagram.version,
        source=datagram.source,
        destination=datagram.destination,
        protocol=datagram.protocol,
        size_bytes=datagram.size_bytes,
    )


def _refuse_short(datagram: Datagram, needed: int) -> Malformed:
    """Say why fewer than ``needed`` transport bytes are at hand."""
    if datagram.announced >= needed:
        return _refuse(datagram, MalformedReason.CUT)
    if datagram.more_fragments:
        return _refuse(datagram, MalformedReason.TINY_FRAGMENT)
    return _refuse(datagram, MalformedReason.TRANSPORT_TRUNCATED)


def _read_other(datagram: Datagram) -> Packet:
    return _packet(datagram, 0)


def _read_tcp_header(datagram: Datagram) -> Packet | Malformed:
    if datagram.available < _TCP_BYTES:
        if datagram.quoted and datagram.available >= _QUOTED_BYTES:
            source_port, destination_port, sequence = _read_quoted(datagram.data, datagram.start)
            return _packet(
                datagram, _QUOTED_BYTES, source_port, destination_port, tcp_sequence=sequence
            )
        return _refuse_short(datagram, _QUOTED_BYTES if datagram.quoted else _TCP_BYTES)
    source_port, destination_port, sequence, acknowledgment, words, flags = _read_tcp(
        datagram.data, datagram.start
    )
    header_bytes = (words >> 4) << 2
    if header_bytes < _TCP_BYTES:
        return _refuse(datagram, MalformedReason.TCP_DATA_OFFSET)
    if header_bytes > datagram.announced:
        if datagram.more_fragments:
            return _refuse(datagram, MalformedReason.TINY_FRAGMENT)
        return _refuse(datagram, MalformedReason.TCP_DATA_OFFSET)
    return _packet(
        datagram,
        header_bytes,
        source_port,
        destination_port,
        tcp_flags=flags,
        tcp_sequence=sequence,
        tcp_acknowledgment=acknowledgment,
    )


def _read_udp_header(datagram: Datagram) -> Packet | Malformed:
    if datagram.available < _UDP_BYTES:
        return _refuse_short(datagram, _UDP_BYTES)
    source_port, destination_port, length = _read_udp(datagram.data, datagram.start)
    # A length of 0 is for jumbograms alone (RFC 2675 section 4), so it is refused with the rest.
    # A first fragment carries the length of the whole.
    if length < _UDP_BYTES or (length > datagram.announced and not datagram.more_fragments):
        return _refuse(datagram, MalformedReason.UDP_LENGTH)
    return _packet(datagram, _UDP_BYTES, source_port, destination_port)


def _read_udplite_header(datagram: Datagram) -> Packet | Malformed:
    if datagram.available < _UDP_BYTES:
        return _refuse_short(datagram, _UDP_BYTES)
    source_port, destination_port, coverage = _read_udp(datagram.data, datagram.start)
    if 0 < coverage < _UDP_BYTES or (coverage > datagram.announced and not datagram.more_fragments):
        return _refuse(datagram, MalformedReason.UDPLITE_COVERAGE)
    return _packet(datagram, _UDP_BYTES, source_port, destination_port)


def _read_sctp_header(datagram: Datagram) -> Packet | Malformed:
    if datagram.available < _SCTP_BYTES + _SCTP_CHUNK_BYTES:
        if datagram.quoted and datagram.available >= _QUOTED_BYTES:
            source_port, destination_port, tag = _read_quoted(datagram.data, datagram.start)
            return _packet(
                datagram, _QUOTED_BYTES, source_port, destination_port, sctp_verification_tag=tag
            )
        return _refuse_short(
            datagram, _QUOTED_BYTES if datagram.quoted else _SCTP_BYTES + _SCTP_CHUNK_BYTES
        )
    source_port, destination_port, tag, chunk_type, length = _read_sctp(
        datagram.data, datagram.start
    )
    if length < _SCTP_CHUNK_BYTES or (
        length > datagram.announced - _SCTP_BYTES and not datagram.more_fragments
    ):
        return _refuse(datagram, MalformedReason.SCTP_CHUNK)
    return _packet(
        datagram,
        _SCTP_BYTES,
        source_port,
        destination_port,
        sctp_verification_tag=tag,
        sctp_chunk_type=chunk_type,
    )


def _read_icmp_header(datagram: Datagram) -> Packet | Malformed:
    if datagram.available < _ICMP_BYTES:
        return _refuse_short(datagram, _ICMP_BYTES)
    icmp_type, code, identifier = _read_icmp(datagram.data, datagram.start)
    embedded = None
    if icmp_type in _ICMP_ERRORS:
        words = datagram.data[datagram.start + 5] if icmp_type in _ICMP_EXTENSIBLE else 0
        embedded = _quote(datagram, words << 2)
    return _packet(
        datagram,
        _ICMP_BYTES,
        icmp_type=icmp_type,
        icmp_code=code,
        icmp_identifier=identifier if icmp_type in _ICMP_IDENTIFIED else -1,
        embedded=embedded,
    )


def _read_icmpv6_header(datagram: Datagram) -> Packet | Malformed:
    if datagram.available < _ICMP_BYTES:
        return _refuse_short(datagram, _ICMP_BYTES)
    icmp_type, code, identifier = _read_icmp(datagram.data, datagram.start)
    embedded = None
    if icmp_type < _ICMPV6_FIRST_QUERY:
        words = datagram.data[datagram.start + 4] if icmp_type in _ICMPV6_EXTENSIBLE else 0
        embedded = _quote(datagram, words << 3)
    return _packet(
        datagram,
        _ICMP_BYTES,
        icmp_type=icmp_type,
        icmp_code=code,
        icmp_identifier=identifier if icmp_type in _ICMPV6_IDENTIFIED else -1,
        embedded=embedded,
    )


def _quote(datagram: Datagram, stated_bytes: int) -> bytes | None:
    """Return what an ICMP error quotes.

    Errors are never sent about errors (RFC 1122 section 3.2.2), so a quoted one quotes nothing.
    """
    if datagram.quoted:
        return None
    size = min(datagram.available - _ICMP_BYTES, MAX_EMBEDDED_BYTES)
    if stated_bytes >= _MIN_EXTENDED_QUOTE_BYTES:
        size = min(size, stated_bytes)
    begin = datagram.start + _ICMP_BYTES
    return datagram.data[begin : begin + size]


_SHARED_READERS: dict[int, _Reader] = {
    PROTOCOL_TCP: _read_tcp_header,
    PROTOCOL_UDP: _read_udp_header,
    PROTOCOL_UDPLITE: _read_udplite_header,
    PROTOCOL_SCTP: _read_sctp_header,
}
_IPV4_READERS: dict[int, _Reader] = {**_SHARED_READERS, PROTOCOL_ICMP: _read_icmp_header}
_IPV6_READERS: dict[int, _Reader] = {**_SHARED_READERS, PROTOCOL_ICMPV6: _read_icmpv6_header}
