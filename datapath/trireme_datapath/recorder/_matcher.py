"""Whether a packet fits any of some filters, from its bytes."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from trireme_datapath.recorder.filters import PORT_PROTOCOLS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from trireme_datapath.recorder.filters import CaptureFilter

__all__ = ["IPV4_TYPE", "IPV6_TYPE", "MAX_TAGS", "VLAN_TYPES", "compile_matcher", "network_start"]

IPV4_TYPE: Final = 0x0800
IPV6_TYPE: Final = 0x86DD
VLAN_TYPES: Final = frozenset({0x8100, 0x88A8, 0x9100})
MAX_TAGS: Final = 2
"""VLAN tags that a frame may have: one of a customer in one of a provider (IEEE 802.1ad)."""

_ETHERNET_BYTES: Final = 14
_TAG_BYTES: Final = 4
_IPV4_BYTES: Final = 20
_IPV6_BYTES: Final = 40
_FRAGMENT: Final = 44
_AUTHENTICATION: Final = 51
# Hop-by-hop, routing, destination options, mobility, HIP, shim6: all tell their length alike.
_OPTION_HEADERS: Final = frozenset({0, 43, 60, 135, 139, 140})
_MAX_EXTENSIONS: Final = 16
_OFFSET_BITS: Final = 0x1FFF
_OFFSET_BITS_IPV6: Final = 0xFFF8

_read_ipv4 = Struct(">6xHxB2xII").unpack_from
_read_ipv6 = Struct(">6xBxQQQQ").unpack_from
_read_ports = Struct(">HH").unpack_from
_read_type = Struct(">H").unpack_from

# mask and value of both addresses, protocol, ports (0: any)
_Row = tuple[int, int, int, int, int, int, int]


def network_start(frame: bytes, max_tags: int = MAX_TAGS) -> tuple[int, int]:
    """Tell where the network header of an Ethernet frame begins, and its EtherType.

    So many VLAN tags are stepped over. A frame that is too short, or has more, has the type 0.
    """
    start = _ETHERNET_BYTES
    for _ in range(max_tags + 1):
        if len(frame) < start:
            return len(frame), 0
        (kind,) = _read_type(frame, start - 2)
        if kind not in VLAN_TYPES:
            return start, kind
        start += _TAG_BYTES
    return len(frame), 0


def compile_matcher(filters: Iterable[CaptureFilter]) -> Callable[[bytes | memoryview, int], bool]:
    """Make the function that tells whether an IP packet fits a filter.

    It takes bytes and the place where the IP header begins in them; bytes that end too early fit
    nothing.
    """
    rows: dict[int, list[_Row]] = {4: [], 6: []}
    for one in filters:
        row = (
            *(int(one.source.netmask), int(one.source.network_address)),
            *(int(one.destination.netmask), int(one.destination.network_address)),
            *(one.protocol, one.source_port, one.destination_port),
        )
        if row not in rows[one.source.version]:
            rows[one.source.version].append(row)
    ipv4, ipv6 = tuple(rows[4]), tuple(rows[6])

    def matches(data: bytes | memoryview, start: int = 0) -> bool:
        size = len(data) - start
        if size < _IPV4_BYTES:
            return False
        version = data[start] >> 4
        if version == 4 and ipv4:
            fragment, protocol, source, destination = _read_ipv4(data, start)
            ports_at = -1
            if not fragment & _OFFSET_BITS:
                ports_at = start + (data[start] & 0x0F) * 4
            return _fits(ipv4, data, source, destination, protocol, ports_at)
        if version == 6 and ipv6 and size >= _IPV6_BYTES:
            protocol, high, low, to_high, to_low = _read_ipv6(data, start)
            protocol, ports_at = _upper(data, start + _IPV6_BYTES, protocol)
            source, destination = high << 64 | low, to_high << 64 | to_low
            return _fits(ipv6, data, source, destination, protocol, ports_at)
        return False

    return matches


def _fits(
    rows: tuple[_Row, ...],
    data: bytes | memoryview,
    source: int,
    destination: int,
    protocol: int,
    at: int,
) -> bool:
    for mask, network, to_mask, to_network, wanted, source_port, destination_port in rows:
        if (
            source & mask != network
            or destination & to_mask != to_network
            or (wanted and wanted != protocol)
        ):
            continue
        if not (source_port or destination_port):
            return True
        if at < 0 or protocol not in PORT_PROTOCOLS or len(data) < at + 4:
            continue
        ports = _read_ports(data, at)
        if source_port in {0, ports[0]} and destination_port in {0, ports[1]}:
            return True
    return False


def _upper(data: bytes | memoryview, at: int, protocol: int) -> tuple[int, int]:
    """Step over the extension headers: the upper protocol, and where it begins or -1."""
    for _ in range(_MAX_EXTENSIONS):
        if protocol in _OPTION_HEADERS:
            if len(data) < at + 2:
                return protocol, -1
            protocol, at = data[at], at + 8 + data[at + 1] * 8
        elif protocol == _AUTHENTICATION:
            if len(data) < at + 2:
                return protocol, -1
            protocol, at = data[at], at + 8 + data[at + 1] * 4
        elif protocol == _FRAGMENT:
            if len(data) < at + 8:
                return protocol, -1
            later = _read_type(data, at + 2)[0] & _OFFSET_BITS_IPV6
            protocol, at = data[at], at + 8
            if later:
                return protocol, -1
        else:
            return protocol, at
    return protocol, -1
