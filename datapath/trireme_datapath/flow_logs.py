"""Packets as flow logs in the JSON format of NetObserv.

What counts as a flow, and which of a packet's flags are reported, is as the agent of that format
has it: one flow log for each interval, direction and set of addresses, ports and protocol.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from trireme_datapath.backends.pcap import CaptureDirection, CaptureError, CaptureReader
from trireme_datapath.packet import Malformed, Packet, decode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trireme_datapath.backends.pcap import CapturedPacket

__all__ = ["FlowAccount", "read_capture"]

_NS_PER_MS = 1_000_000
_INTERVAL_MS = 5_000
_MAX_FLOWS = 120_000
_PORTED = frozenset({6, 17, 132})
_ICMP = frozenset({1, 58})
_TCP = 6
_ETYPE = {4: 0x0800, 6: 0x86DD}
_FIN, _SYN, _RST, _ACK = 0x01, 0x02, 0x04, 0x10
_COMBINED = {_SYN: 0x100, _FIN: 0x200, _RST: 0x400}
# Each packet is put down to the first of these that it has.
_SINGLE = (_FIN, _SYN, _ACK, _RST, 0x08, 0x20, 0x40, 0x80)


class _Entry:
    """One flow of an interval."""

    __slots__ = ("captured", "end_ms", "flags", "packet", "packets", "size_bytes", "start_ms")

    def __init__(self, packet: Packet, captured: CapturedPacket, now_ms: int) -> None:
        self.packet = packet
        self.captured = captured
        self.start_ms = self.end_ms = now_ms
        self.packets = self.size_bytes = self.flags = 0


class FlowAccount:
    """Adds packets up to flow logs.

    Attributes:
        malformed: How many packets could not be read.
    """

    def __init__(self, *, interval_ms: int = _INTERVAL_MS, max_flows: int = _MAX_FLOWS) -> None:
        """Start empty.

        Args:
            interval_ms: How long packets are added up before they are given out.
            max_flows: How many flows are kept; before one more, all are given out.
        """
        self.malformed = 0
        self._interval_ms = interval_ms
        self._max_flows = max_flows
        self._entries: dict[tuple[object, ...], _Entry] = {}
        self._begin_ms: int | None = None

    def add(self, captured: CapturedPacket, now_ms: int) -> list[dict[str, object]]:
        """Count a packet.

        Args:
            captured: The packet.
            now_ms: The time in milliseconds; it must not go back.

        Returns:
            The flow logs of the interval that is over, if one is.
        """
        given: list[dict[str, object]] = []
        begin_ms = now_ms if self._begin_ms is None else self._begin_ms
        if now_ms >= begin_ms + self._interval_ms or len(self._entries) >= self._max_flows:
            given = self.flush()
            begin_ms = now_ms
        self._begin_ms = begin_ms
        packet = decode(captured.data, original_length=captured.original_length)
        if isinstance(packet, Malformed):
            self.malformed += 1
            return given
        key = (
            packet.source,
            packet.destination,
            packet.source_port,
            packet.destination_port,
            packet.protocol,
            packet.icmp_type,
            packet.icmp_code,
        )
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry(packet, captured, now_ms)
        entry.end_ms = now_ms
        entry.packets += 1
        # Their counters are of whole frames, ours of datagrams with their link header.
        entry.size_bytes += packet.size_bytes + captured.link.size_bytes
        entry.flags |= _flag(packet.tcp_flags) if packet.protocol == _TCP else 0
        return given

    def flush(self) -> list[dict[str, object]]:
        """Give out everything that was added up, the oldest first."""
        given = [_flow_log(entry) for entry in self._entries.values()]
        self._entries.clear()
        self._begin_ms = None
        return given


def read_capture(path: str) -> Iterator[dict[str, object]]:
    """Read a capture as flow logs.

    Args:
        path: A pcap or pcapng file, also one compressed with gzip, or ``-`` for standard input.

    Raises:
        CaptureError: It cannot be read, or not to its end; what was read until then is given.
    """
    account = FlowAccount()
    now_ms = 0
    with CaptureReader(path) as reader:
        try:
            for captured in reader:
                if captured.time_ns is not None:
                    now_ms = max(now_ms, captured.time_ns // _NS_PER_MS)
                yield from account.add(captured, now_ms)
        except CaptureError:
            yield from account.flush()
            raise
    yield from account.flush()


def _flag(flags: int) -> int:
    """Give the one flag to which a packet is put down."""
    if flags & _ACK:
        for bit, combined in _COMBINED.items():
            if flags & bit:
                return combined
    return next((bit for bit in _SINGLE if flags & bit), 0)


def _flow_log(entry: _Entry) -> dict[str, object]:
    packet, captured = entry.packet, entry.captured
    protocol = packet.protocol
    flow: dict[str, object] = {
        "SrcAddr": _text(packet.source),
        "DstAddr": _text(packet.destination),
        "Proto": protocol,
        "Packets": entry.packets,
        "Bytes": entry.size_bytes,
        "TimeFlowStartMs": entry.start_ms,
        "TimeFlowEndMs": entry.end_ms,
        "Etype": _ETYPE[packet.version],
    }
    if protocol in _PORTED:
        flow |= {"SrcPort": packet.source_port, "DstPort": packet.destination_port}
    if protocol in _ICMP:
        flow |= {"IcmpType": max(0, packet.icmp_type), "IcmpCode": max(0, packet.icmp_code)}
    if protocol == _TCP:
        flow["Flags"] = entry.flags
    if captured.interface:
        flow["Interface"] = captured.interface
    if captured.direction is not CaptureDirection.UNKNOWN:
        flow["FlowDirection"] = int(captured.direction is CaptureDirection.OUTBOUND)
    return flow


def _text(address: bytes) -> str:
    parsed = ipaddress.ip_address(address)
    mapped = getattr(parsed, "ipv4_mapped", None)
    return str(mapped or parsed)
