"""Link headers of captured frames: where the IP datagram begins, or why there is none.

Link type numbers and layouts: https://www.tcpdump.org/linktypes.html.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from trireme_datapath.backends._pcap_types import CaptureDirection, LinkHeader, SkipReason

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LINK_READERS", "MAX_VLAN_TAGS", "link_type_text"]

MAX_VLAN_TAGS = 4
"""Tags of one frame: provider bridging (IEEE 802.1ad) stacks two, double-tagged customers of it
three; more is a loop or an attack."""

_ETHERNET_BYTES = 14
_SLL_BYTES = 16
_SLL2_BYTES = 20
_FAMILY_BYTES = 4
_TAG_BYTES = 4

_IPV4 = 0x0800
_IPV6 = 0x86DD
_VLAN_TYPES = frozenset((0x8100, 0x88A8, 0x9100))
_SMALLEST_ETHERTYPE = 0x0600  # IEEE 802.3: what is below is a length
_REASONS = {
    0x0806: SkipReason.ARP,
    0x8035: SkipReason.ARP,  # reverse ARP
    0x88CC: SkipReason.LLDP,
}
_VLAN_ID_MASK = 0x0FFF

# Address families in the first word of BSD loopback frames. IPv6 has another number on each
# system: Linux 10, NetBSD and OpenBSD 24, FreeBSD 28, Darwin 30.
_FAMILIES = {2: _IPV4, 10: _IPV6, 24: _IPV6, 28: _IPV6, 30: _IPV6}

_ARPHRD_NETLINK = 824  # the protocol field of such a frame is a netlink family
_PACKET_OUTGOING = 4  # PACKET_OUTGOING of linux/if_packet.h; 0 to 3 came in

_unpack_type = Struct(">12xH").unpack_from
_unpack_tag = Struct(">HH").unpack_from
_unpack_sll = Struct(">HH10xH").unpack_from
_unpack_sll2 = Struct(">H2xIHB9x").unpack_from

# The common frames share one header object each.
_PLAIN_ETHERNET = {
    _IPV4: LinkHeader(_ETHERNET_BYTES, _IPV4),
    _IPV6: LinkHeader(_ETHERNET_BYTES, _IPV6),
}
_RAW = LinkHeader(0)


def _read_ethernet(frame: bytes) -> LinkHeader | SkipReason:
    if len(frame) < _ETHERNET_BYTES:
        return SkipReason.SHORT_LINK_HEADER
    (protocol,) = _unpack_type(frame)
    plain = _PLAIN_ETHERNET.get(protocol)
    if plain is not None:
        return _check_version(frame, plain)
    return _read_protocol(frame, _ETHERNET_BYTES, protocol)


def _read_sll(frame: bytes) -> LinkHeader | SkipReason:
    if len(frame) < _SLL_BYTES:
        return SkipReason.SHORT_LINK_HEADER
    packet_type, hardware, protocol = _unpack_sll(frame)
    if hardware == _ARPHRD_NETLINK:
        return SkipReason.NOT_IP
    return _read_protocol(frame, _SLL_BYTES, protocol, _sll_direction(packet_type))


def _read_sll2(frame: bytes) -> LinkHeader | SkipReason:
    if len(frame) < _SLL2_BYTES:
        return SkipReason.SHORT_LINK_HEADER
    protocol, index, hardware, packet_type = _unpack_sll2(frame)
    if hardware == _ARPHRD_NETLINK:
        return SkipReason.NOT_IP
    return _read_protocol(frame, _SLL2_BYTES, protocol, _sll_direction(packet_type), index)


def _sll_direction(packet_type: int) -> CaptureDirection:
    if packet_type == _PACKET_OUTGOING:
        return CaptureDirection.OUTBOUND
    return CaptureDirection.INBOUND if packet_type < _PACKET_OUTGOING else CaptureDirection.UNKNOWN


def _read_family(frame: bytes) -> LinkHeader | SkipReason:
    """Read the family word of loopback frames, which is in the byte order of whoever wrote it."""
    if len(frame) < _FAMILY_BYTES:
        return SkipReason.SHORT_LINK_HEADER
    word = frame[:_FAMILY_BYTES]
    family = min(int.from_bytes(word, "little"), int.from_bytes(word, "big"))
    protocol = _FAMILIES.get(family)
    if protocol is None:
        return SkipReason.NOT_IP
    return _check_version(frame, LinkHeader(_FAMILY_BYTES, protocol))


def _read_raw(_frame: bytes) -> LinkHeader | SkipReason:
    return _RAW


def _read_raw_ipv4(frame: bytes) -> LinkHeader | SkipReason:
    return _check_version(frame, LinkHeader(0, _IPV4))


def _read_raw_ipv6(frame: bytes) -> LinkHeader | SkipReason:
    return _check_version(frame, LinkHeader(0, _IPV6))


def _read_protocol(
    frame: bytes,
    size: int,
    protocol: int,
    direction: CaptureDirection = CaptureDirection.UNKNOWN,
    index: int = -1,
) -> LinkHeader | SkipReason:
    """Follow VLAN tags from ``protocol``, which stands in the two bytes before ``size``."""
    vlan_ids: tuple[int, ...] = ()
    while protocol in _VLAN_TYPES:
        if len(vlan_ids) == MAX_VLAN_TAGS:
            return SkipReason.VLAN_TAGS
        if len(frame) < size + _TAG_BYTES:
            return SkipReason.SHORT_LINK_HEADER
        control, protocol = _unpack_tag(frame, size)
        vlan_ids += (control & _VLAN_ID_MASK,)
        size += _TAG_BYTES
    if protocol in {_IPV4, _IPV6}:
        return _check_version(frame, LinkHeader(size, protocol, vlan_ids, direction, index))
    if protocol < _SMALLEST_ETHERTYPE:
        return SkipReason.LLC
    return _REASONS.get(protocol, SkipReason.NOT_IP)


def _check_version(frame: bytes, link: LinkHeader) -> LinkHeader | SkipReason:
    """Compare the announced version with that of the datagram; nothing captured fits both."""
    if len(frame) > link.size_bytes:
        version = frame[link.size_bytes] >> 4
        if (link.protocol == _IPV4 and version == 6) or (link.protocol == _IPV6 and version == 4):
            return SkipReason.IP_VERSION
    return link


LINK_READERS: Final[dict[int, Callable[[bytes], LinkHeader | SkipReason]]] = {
    0: _read_family,
    1: _read_ethernet,
    12: _read_raw,
    14: _read_raw,
    101: _read_raw,
    108: _read_family,
    113: _read_sll,
    228: _read_raw_ipv4,
    229: _read_raw_ipv6,
    276: _read_sll2,
}
"""How to read the frames of each link type that is supported."""

_NAMES = {
    6: "token ring",
    9: "PPP",
    50: "PPP with HDLC framing",
    51: "PPP over Ethernet",
    105: "IEEE 802.11",
    109: "BSD ENC",
    117: "BSD pf log",
    119: "IEEE 802.11 with a prism header",
    127: "IEEE 802.11 with radiotap",
    187: "Bluetooth HCI",
    189: "Linux USB",
    195: "IEEE 802.15.4",
    220: "Linux USB, padded",
    227: "SocketCAN",
    239: "Linux NFLOG",
    249: "USBPcap",
    253: "Linux netlink",
    272: "nordic BLE",
}


def link_type_text(link_type: int) -> str:
    """Name a link type for a message."""
    name = _NAMES.get(link_type)
    return f"link type {link_type}" + (f" ({name})" if name else "")
