"""From a decoded packet to the flow it belongs to: key, tuple and who is the client."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from trireme_collector.records import FlowDropReason
from trireme_datapath.flows import is_icmp_answer
from trireme_datapath.judgement import FlowTuple

if TYPE_CHECKING:
    from trireme_datapath.packet import Packet

__all__ = ["OPENING_FLAGS", "SYN", "TCP", "UDP", "flow_key", "flow_tuple", "is_mapped", "orient"]

TCP: Final = 6
UDP: Final = 17
SYN: Final = 0x02
OPENING_FLAGS: Final = 0x17
"""Of ACK, RST, SYN and FIN the first packet of a connection has SYN alone."""

_SCTP: Final = 132
_WITH_PORTS: Final = frozenset({TCP, UDP, _SCTP, 136})
_ICMP: Final = frozenset({1, 58})
_ACK: Final = 0x10
_SCTP_INIT: Final = 1
_IPV6_BYTES: Final = 16
_IPV4_KEY: Final = 12
_SPLIT_4: Final = Struct("!4s4sHH").unpack
_SPLIT_6: Final = Struct("!16s16sHH").unpack
_MAPPED: Final = bytes(10) + b"\xff\xff"  # ::ffff:0:0/96, RFC 4291 section 2.5.5.2


def is_mapped(source: bytes, destination: bytes) -> bool:
    """Whether one of the packed addresses is an IPv4 address in IPv6 clothes.

    On the wire there is no honest use for one, and a rule for IPv4 would not see it.
    """
    return len(source) == _IPV6_BYTES and (source[:12] == _MAPPED or destination[:12] == _MAPPED)


def flow_key(packet: Packet) -> bytes:
    """Pack addresses and ports as they stand in the packet; see `reverse_key` for ICMP."""
    protocol = packet.protocol
    if protocol in _WITH_PORTS:
        ports = packet.source_port << 16 | packet.destination_port
    elif protocol in _ICMP and packet.icmp_type >= 0:
        identifier = max(packet.icmp_identifier, 0)
        ports = identifier << 16 | packet.icmp_type << 8 | packet.icmp_code
    else:
        ports = 0
    return packet.source + packet.destination + ports.to_bytes(4, "big")


def flow_tuple(protocol: int, key: bytes) -> FlowTuple:
    """Give what a decision depends on, from the key of the client's packets."""
    source, destination, high, low = (_SPLIT_4 if len(key) == _IPV4_KEY else _SPLIT_6)(key)
    if protocol in _ICMP:
        return FlowTuple(source, destination, protocol, icmp_type=low >> 8, icmp_code=low & 0xFF)
    return FlowTuple(source, destination, protocol, high, low)


def orient(packet: Packet, *, judge_midstream: bool) -> tuple[bool, FlowDropReason | None]:
    """Say who is the client of a flow of which this is the first packet seen.

    Returns:
        Whether the sender is the client; and why the flow must not be judged, None if it may:
        a connection that began unseen, or an answer to nothing.
    """
    protocol = packet.protocol
    unseen = None if judge_midstream else FlowDropReason.INVALID_STATE
    servers_have_low_ports = packet.destination_port <= packet.source_port
    if protocol == TCP:
        flags = packet.tcp_flags & OPENING_FLAGS
        if flags == SYN:
            return True, None
        if flags & SYN and flags & _ACK:  # only a server answers so
            return False, unseen
        return servers_have_low_ports, unseen
    if protocol == _SCTP and packet.sctp_chunk_type != _SCTP_INIT:
        return servers_have_low_ports, unseen
    if is_icmp_answer(protocol, packet.icmp_type):
        return False, FlowDropReason.INVALID_STATE
    return True, None
