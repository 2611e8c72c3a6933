"""Network headers of the packet decoder: IPv4 with options, IPv6 with extension headers."""

from __future__ import annotations

from struct import Struct

from trireme_datapath._packet_transport import Datagram, read_transport
from trireme_datapath._packet_types import Malformed, MalformedReason, Packet

__all__ = ["MAX_EXTENSION_BYTES", "MAX_EXTENSION_HEADERS", "read_ipv4", "read_ipv6"]

MAX_EXTENSION_HEADERS = 8
"""Extension headers of one datagram: RFC 8200 section 4.1 names seven in all, one of them twice."""

MAX_EXTENSION_BYTES = 1024
"""Extension headers of one datagram together: a segment routing header of 60 hops still fits,
while the cost of walking options stays bounded (RFC 8883 section 2 foresees both limits)."""

_MAX_DATAGRAM_BYTES = 65535
_IPV4_BYTES = 20
_IPV6_BYTES = 40

_unpack_ipv4 = Struct(">BxHHHBBxx4s4s").unpack_from
_unpack_ipv6 = Struct(">4xHBB16s16s").unpack_from
_unpack_fragment = Struct(">xxHI").unpack_from

_MORE_FRAGMENTS = 0x2000
_OFFSET_MASK = 0x1FFF

_OPTION_END = 0
_OPTION_NOP = 1
_LOOSE_SOURCE_ROUTE = 131
_STRICT_SOURCE_ROUTE = 137

_HOP_BY_HOP = 0
_ROUTING = 43
_FRAGMENT = 44
_AUTHENTICATION = 51
_DESTINATION_OPTIONS = 60
# Encrypted payload (50) and No Next Header (59) are missing: they end the chain.
_EXTENSIONS = frozenset((_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _DESTINATION_OPTIONS))
_EXTENSION_UNIT_BYTES = 8
# RFC 4302 section 2: the fixed part, before the integrity check value.
_MIN_AUTHENTICATION_BYTES = 12
_PAD1 = 0
_JUMBO_PAYLOAD = 0xC2


def read_ipv4(data: bytes, captured: int, wire: int, *, quoted: bool = False) -> Packet | Malformed:
    """Read an IPv4 datagram.

    Args:
        data: The head of the captured bytes.
        captured: How many bytes were captured.
        wire: How many bytes there were on the wire.
        quoted: Whether an ICMP error quotes the datagram, so that ``wire`` says nothing.
    """
    if captured < _IPV4_BYTES:
        return Malformed(
            reason=MalformedReason.CUT if wire >= _IPV4_BYTES else MalformedReason.TRUNCATED,
            offset=0,
            version=4,
            size_bytes=wire,
        )
    first, total, identification, fragment, hop_limit, protocol, source, destination = _unpack_ipv4(
        data
    )
    start = (first & 0x0F) << 2
    source_routed = False
    reason = None
    at = 0
    if start != _IPV4_BYTES or total < start or total > wire or fragment & 0x3FFF:
        if start < _IPV4_BYTES:
            reason = MalformedReason.HEADER_LENGTH
        elif total < start:
            reason = MalformedReason.TOTAL_LENGTH
        elif total > wire and not quoted:
            reason = MalformedReason.TRUNCATED
        elif start > captured:
            reason = MalformedReason.CUT
        else:
            reason, at, source_routed = _walk_ipv4_options(data, start)
            if reason is None and fragment & 0x3FFF:
                reason = _check_fragment(
                    start,
                    total - start,
                    offset=(fragment & _OFFSET_MASK) << 3,
                    more=fragment & _MORE_FRAGMENTS != 0,
                )
    if reason is not None:
        return Malformed(
            reason=reason,
            offset=at,
            version=4,
            source=source,
            destination=destination,
            protocol=protocol,
            size_bytes=wire,
        )
    return read_transport(
        Datagram(
            data,
            start,
            (captured if captured < total else total) - start,  # noqa: FURB136  min() costs 4 x
            total - start,
            quoted,
            4,
            source,
            destination,
            protocol,
            total,
            hop_limit,
            identification,
            (fragment & _OFFSET_MASK) << 3,
            fragment & _MORE_FRAGMENTS != 0,
            source_routed,
        )
    )


def _walk_ipv4_options(data: bytes, end: int) -> tuple[MalformedReason | None, int, bool]:
    """Walk the options; tell what is wrong, where, and whether one is a source route."""
    at = _IPV4_BYTES
    source_routed = False
    while at < end:
        kind = data[at]
        if kind == _OPTION_END:
            break
        if kind == _OPTION_NOP:
            at += 1
            continue
        length = data[at + 1] if at + 1 < end else 0
        if length < 2 or at + length > end:
            return MalformedReason.IP_OPTION, at, source_routed
        if kind in (_LOOSE_SOURCE_ROUTE, _STRICT_SOURCE_ROUTE):
            source_routed = True
        at += length
    return None, 0, source_routed


def _check_fragment(before: int, size: int, *, offset: int, more: bool) -> MalformedReason | None:
    """Check a fragment.

    Args:
        before: Bytes of the datagram, once whole, that precede the fragmented part.
        size: Bytes of the fragmented part that this fragment carries.
        offset: Where they belong in the fragmented part.
        more: Whether fragments follow.
    """
    if size <= 0 or (more and size % 8):
        return MalformedReason.FRAGMENT_LENGTH
    if before + offset + size > _MAX_DATAGRAM_BYTES:
        return MalformedReason.FRAGMENT_OVERFLOW
    return None


class _Chain:
    """Walks the extension headers of one IPv6 datagram.

    Attributes:
        protocol: Next header number that was read last.
        at: Offset of the header that ``protocol`` names.
        identification: From the fragment header.
        offset: Fragment offset in bytes.
        more: Whether fragments follow.
        source_routed: Whether a routing header has segments left.
    """

    __slots__ = (
        "_captured",
        "_data",
        "_fragmented",
        "_total",
        "at",
        "identification",
        "more",
        "offset",
        "protocol",
        "source_routed",
    )

    def __init__(self, data: bytes, captured: int, total: int, protocol: int) -> None:
        self._data = data
        self._captured = captured
        self._total = total
        self._fragmented = False
        self.protocol = protocol
        self.at = _IPV6_BYTES
        self.identification = 0
        self.offset = 0
        self.more = False
        self.source_routed = False

    def walk(self) -> MalformedReason | None:
        """Go to the upper-layer header; tell what is wrong on the way."""
        for _ in range(MAX_EXTENSION_HEADERS):
            if self.offset or self.protocol not in _EXTENSIONS:
                return None
            reason = self._step()
            if reason is not None:
                return reason
        if self.offset or self.protocol not in _EXTENSIONS:
            return None
        return MalformedReason.EXTENSION_COUNT

    def _step(self) -> MalformedReason | None:
        """Read one extension header and go behind it."""
        kind = self.protocol
        at = self.at
        if kind == _HOP_BY_HOP and at != _IPV6_BYTES:
            return MalformedReason.EXTENSION_ORDER
        reason = self._lacking(at + _EXTENSION_UNIT_BYTES)
        if reason is not None:
            return reason
        if kind == _FRAGMENT:
            return self._read_fragment()
        following, units = self._data[at], self._data[at + 1]
        if kind == _AUTHENTICATION:
            size = (units + 2) << 2
            if size < _MIN_AUTHENTICATION_BYTES:
                return MalformedReason.EXTENSION_TRUNCATED
        else:
            size = (units + 1) << 3
        if at + size - _IPV6_BYTES > MAX_EXTENSION_BYTES:
            return MalformedReason.EXTENSION_LENGTH
        reason = self._lacking(at + size)
        if reason is None and kind in (_HOP_BY_HOP, _DESTINATION_OPTIONS):
            reason = _check_ipv6_options(self._data, at + 2, at + size)
        if reason is not None:
            return reason
        if kind == _ROUTING and self._data[at + 3]:
            self.source_routed = True
        self.protocol = following
        self.at = at + size
        return None

    def _lacking(self, end: int) -> MalformedReason | None:
        """Say why the bytes before ``end`` are not at hand, if they are not."""
        if end > self._total:
            # RFC 7112: the first fragment holds the whole chain.
            if self.more:
                return MalformedReason.TINY_FRAGMENT
            return MalformedReason.EXTENSION_TRUNCATED
        return MalformedReason.CUT if end > self._captured else None

    def _read_fragment(self) -> MalformedReason | None:
        if self._fragmented:
            return MalformedReason.EXTENSION_ORDER
        self._fragmented = True
        at = self.at + _EXTENSION_UNIT_BYTES
        field, self.identification = _unpack_fragment(self._data, self.at)
        offset = field & 0xFFF8
        more = bool(field & 1)
        if offset or more:  # an atomic fragment is a whole datagram (RFC 6946)
            # RFC 8200 section 4.5: the limit is on the payload length of the whole, in which
            # this header does not count.
            before = self.at - _IPV6_BYTES
            reason = _check_fragment(before, self._total - at, offset=offset, more=more)
            if reason is not None:
                return reason
        self.offset = offset
        self.more = more
        self.protocol = self._data[self.at]
        self.at = at
        return None


def _check_ipv6_options(data: bytes, at: int, end: int) -> MalformedReason | None:
    while at < end:
        kind = data[at]
        if kind == _PAD1:
            at += 1
            continue
        if kind == _JUMBO_PAYLOAD:
            return MalformedReason.JUMBOGRAM
        if at + 2 > end:
            return MalformedReason.EXTENSION_OPTION
        at += 2 + data[at + 1]
    return MalformedReason.EXTENSION_OPTION if at > end else None


def read_ipv6(data: bytes, captured: int, wire: int, *, quoted: bool = False) -> Packet | Malformed:
    """Read an IPv6 datagram.

    Args:
        data: The head of the captured bytes.
        captured: How many bytes were captured.
        wire: How many bytes there were on the wire.
        quoted: Whether an ICMP error quotes the datagram, so that ``wire`` says nothing.
    """
    if captured < _IPV6_BYTES:
        return Malformed(
            reason=MalformedReason.CUT if wire >= _IPV6_BYTES else MalformedReason.TRUNCATED,
            offset=0,
            version=6,
            size_bytes=wire,
        )
    length, protocol, hop_limit, source, destination = _unpack_ipv6(data)
    total = _IPV6_BYTES + length
    start = _IPV6_BYTES
    end = captured if captured < total else total  # noqa: FURB136  min() costs 4 x
    identification = offset = 0
    more = source_routed = False
    reason: MalformedReason | None = None
    at = 0
    if total > wire and not quoted:
        reason = MalformedReason.TRUNCATED
    elif protocol in _EXTENSIONS:
        if protocol == _HOP_BY_HOP and not length:
            reason = MalformedReason.JUMBOGRAM
        else:
            chain = _Chain(data, end, total, protocol)
            reason = chain.walk()
            protocol = chain.protocol
            start = at = chain.at
            identification = chain.identification
            offset = chain.offset
            more = chain.more
            source_routed = chain.source_routed
    if reason is not None:
        return Malformed(
            reason=reason,
            offset=at,
            version=6,
            source=source,
            destination=destination,
            protocol=protocol,
            size_bytes=wire,
        )
    return read_transport(
        Datagram(
            data,
            start,
            end - start,
            total - start,
            quoted,
            6,
            source,
            destination,
            protocol,
            total,
            hop_limit,
            identification,
            offset,
            more,
            source_routed,
        )
    )
