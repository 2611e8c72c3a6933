"""Records of decisions as messages of the datapath: policy verdicts, drops and traces.

A record holds no packet, but addresses, ports and flags of the one that opened the flow. Its
headers are built again from them, behind an Ethernet header without addresses; what is not known,
such as the checksum of what the headers carry, is zero.
"""

from __future__ import annotations

import functools
import socket
import struct
import zlib
from typing import TYPE_CHECKING, Final

from msgspec import UNSET, UnsetType

from trireme_collector.records import (
    Direction,
    EndPoint,
    FlowDropReason,
    FlowRecord,
    PacketEvent,
    PacketReport,
)
from trireme_datapath.monitor.publishing._endpoints import EndpointNumbers
from trireme_datapath.monitor.tables.message_types import MessageType

if TYPE_CHECKING:
    from trireme_collector.records import Record

__all__ = ["Notifier", "drop_code"]

_VERDICT: Final = struct.Struct("<BBHIIHHIiHBBBBH")
_DROP: Final = struct.Struct("<BBHIIHHIIIHBbI")
_TRACE: Final = struct.Struct("<BBHIIHHIIHBBI16s")
_ETHERNET: Final = struct.Struct("!12xH")
_IPV4: Final = struct.Struct("!BBHHHBBH4s4s")
_IPV6: Final = struct.Struct("!IHBB16s16s")
_TCP: Final = struct.Struct("!HHIIBBHHH")
_UDP: Final = struct.Struct("!HHHH")

_VERSION: Final = 1
_INGRESS: Final = 1
_EGRESS: Final = 2
_IPV6_FLAG: Final = 0x04
_AUDITED: Final = 0x40
_TO_ENDPOINT: Final = 0
_TO_STACK: Final = 3
_NEW: Final = 0
_UNKNOWN: Final = 5
_TTL: Final = 64
_TCP_NUMBER: Final = 6
_UDP_NUMBER: Final = 17
_SYN: Final = 0x02

_POLICY_DENIED: Final = 133
_INVALID_PACKET: Final = 134
# The drop reasons of the datapath that have a counterpart; what else begins with "malformed" is
# an invalid packet, and what is left was denied by policy.
_DROP_CODES: Final = {
    FlowDropReason.POLICY_DROP.value: _POLICY_DENIED,
    FlowDropReason.INVALID_STATE.value: 163,
    FlowDropReason.INVALID_CONTEXT.value: 165,
    FlowDropReason.INVALID_CONNECTION.value: 163,
    "fragment": 175,
    "mapped-address": 132,
    "source-route": _INVALID_PACKET,
}


def drop_code(reason: str) -> int:
    """Give the number that notifications have for one of our drop reasons."""
    if reason.startswith("malformed"):
        return _INVALID_PACKET
    return _DROP_CODES.get(reason, _POLICY_DENIED)


class Notifier:
    """Makes the messages about records.

    Attributes:
        endpoints: The numbers of the processing units.
    """

    def __init__(self) -> None:
        """Start without endpoints."""
        self.endpoints = EndpointNumbers()

    def messages(self, record: Record) -> list[bytes]:
        """Give the messages about a record, none for most kinds.

        An accepted flow is a policy verdict and a trace, a rejected one a policy verdict and a
        drop, a packet report a drop. A processing unit that is new is announced before.
        """
        if isinstance(record, FlowRecord):
            # What a flow carried after it was judged is no decision.
            return [] if record.phase else self._flow(record)
        if isinstance(record, PacketReport):
            return [_packet(record)]
        return []

    def _flow(self, record: FlowRecord) -> list[bytes]:
        ends = record.source, record.destination
        ingress = record.direction is not Direction.EGRESS
        own, remote = reversed(ends) if ingress else ends
        number, announced = self.endpoints.number(own, namespace=record.namespace, tags=record.tags)
        remote_number, remote_announced = self.endpoints.number(remote)
        identity = self.endpoints.identity(own, number)
        remote_identity = self.endpoints.identity(remote, remote_number)
        size = record.bytes // record.packets if record.bytes and record.packets else 0
        packet, is_ipv6 = _frame(
            record.source, record.destination, record.l4_protocol, size, record.tcp_flags
        )
        length = max(_clamp(size + _ETHERNET.size), len(packet))
        flow_hash = zlib.crc32(_flow_key(record))
        rejected = record.action.rejected
        code = drop_code(record.drop_reason) if rejected else 0
        audited = record.observed_action.rejected and not rejected
        verdict = _VERDICT.pack(
            MessageType.POLICY_VERDICT,
            0,
            number,
            flow_hash,
            length,
            len(packet),
            _VERSION,
            remote_identity,
            -code,
            record.destination.port & 0xFFFF,
            record.l4_protocol & 0xFF,
            (_INGRESS if ingress else _EGRESS)
            | (_IPV6_FLAG if is_ipv6 else 0)
            | (_AUDITED if audited else 0),
            0,
            0,
            0,
        )
        source, destination = (
            (remote_identity, identity) if ingress else (identity, remote_identity)
        )
        ifindex = _ifindex(record.interface)
        destination_id = number if ingress else 0
        head = number, flow_hash, length, len(packet), _VERSION, source, destination
        if rejected:
            fate = _DROP.pack(MessageType.DROP, code, *head, destination_id, 0, 0, 0, ifindex)
        else:
            point = _TO_ENDPOINT if ingress else _TO_STACK
            flags = 1 if is_ipv6 else 0
            fate = _TRACE.pack(
                MessageType.TRACE, point, *head, destination_id, _NEW, flags, ifindex, bytes(16)
            )
        announcements = [message for message in (announced, remote_announced) if message]
        return [*announcements, verdict + packet, fate + packet]


def _packet(report: PacketReport) -> bytes:
    """Write the message about a packet that was dropped, or noted, outside any flow."""
    is_ipv6 = ":" in report.source_ip
    if report.payload:
        is_ipv6 = report.payload[0] >> 4 == 6
        frame = _ETHERNET.pack(_ether_type(is_ipv6=is_ipv6)) + report.payload
    else:
        frame, is_ipv6 = _frame(
            EndPoint(ip=report.source_ip, port=report.source_port),
            EndPoint(ip=report.destination_ip, port=report.destination_port),
            report.protocol,
            report.length,
            report.tcp_flags,
        )
    length = _clamp(report.length + _ETHERNET.size)
    head = 0, zlib.crc32(frame[:54]), length, len(frame), _VERSION, 0, 0
    ifindex = _ifindex(report.interface)
    if report.event is PacketEvent.DROPPED:
        code = drop_code(report.drop_reason)
        return _DROP.pack(MessageType.DROP, code, *head, 0, 0, 0, 0, ifindex) + frame
    flags = 1 if is_ipv6 else 0
    trace = MessageType.TRACE, _TO_STACK, *head, 0, _UNKNOWN, flags, ifindex, bytes(16)
    return _TRACE.pack(*trace) + frame


def _frame(
    source: EndPoint,
    destination: EndPoint,
    protocol: int,
    size_bytes: int,
    tcp_flags: int | UnsetType,
) -> tuple[bytes, bool]:
    """Build the headers of a packet again, and say whether it is IPv6."""
    is_ipv6 = ":" in source.ip
    ports = source.port & 0xFFFF, destination.port & 0xFFFF
    transport = b""
    if protocol == _TCP_NUMBER:
        flags = _SYN if tcp_flags is UNSET else tcp_flags & 0xFF
        transport = _TCP.pack(*ports, 0, 0, 5 << 4, flags, 0, 0, 0)
    header = 40 if is_ipv6 else 20
    size = min(max(size_bytes, header + len(transport)), 0xFFFF)
    if protocol == _UDP_NUMBER:
        size = max(size, header + _UDP.size)
        transport = _UDP.pack(*ports, size - header, 0)
    addresses = _packed(source.ip, is_ipv6=is_ipv6), _packed(destination.ip, is_ipv6=is_ipv6)
    if is_ipv6:
        network = _IPV6.pack(6 << 28, size - header, protocol & 0xFF, _TTL, *addresses)
    else:
        fields = 0x45, 0, size, 0, 0, _TTL, protocol & 0xFF
        # A sum of words in ones' complement is the remainder by 0xFFFF.
        checksum = 0xFFFF - int.from_bytes(_IPV4.pack(*fields, 0, *addresses)) % 0xFFFF
        network = _IPV4.pack(*fields, checksum, *addresses)
    return _ETHERNET.pack(_ether_type(is_ipv6=is_ipv6)) + network + transport, is_ipv6


def _clamp(length: int) -> int:
    """Give a length that fits 32 bits."""
    return max(0, min(length, 0xFFFFFFFF))


def _ether_type(*, is_ipv6: bool) -> int:
    return 0x86DD if is_ipv6 else 0x0800


def _packed(text: str, *, is_ipv6: bool) -> bytes:
    try:
        return socket.inet_pton(socket.AF_INET6 if is_ipv6 else socket.AF_INET, text)
    except (OSError, ValueError):
        return bytes(16 if is_ipv6 else 4)


def _flow_key(record: FlowRecord) -> bytes:
    source, destination = record.source, record.destination
    ends = f"{source.ip} {source.port} {destination.ip} {destination.port} {record.l4_protocol}"
    return ends.encode("utf-8", "replace")


@functools.lru_cache(maxsize=256)
def _ifindex(interface: str | UnsetType) -> int:
    if not interface:
        return 0
    try:
        return socket.if_nametoindex(interface)
    except (OSError, ValueError):
        return 0
