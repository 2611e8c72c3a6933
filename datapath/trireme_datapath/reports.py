"""Reports on packets that are dropped outside any flow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import UNSET

from trireme_collector.records import PacketEvent, PacketReport
from trireme_datapath.packet import Malformed, Packet

if TYPE_CHECKING:
    from trireme_datapath.packets import QueuedPacket

__all__ = ["PAYLOAD_BYTES", "DropReporter"]

PAYLOAD_BYTES: Final = 64
"""How much of a packet a report carries, from the IP header on, as upstream does."""

_SECOND_NS: Final = 1_000_000_000


class DropReporter:
    """Makes the reports, at most so many in a second.

    Args:
        max_per_second: How many; the rest is for the counters alone.
    """

    def __init__(self, max_per_second: int) -> None:
        """Start with a full second."""
        self._max = max_per_second
        self._second = -1
        self._made = 0

    def report(
        self,
        packet: QueuedPacket,
        decoded: Packet | Malformed,
        reason: str,
        now_ns: int,
        *,
        passed: bool = False,
    ) -> PacketReport | None:
        """Make the report on a dropped packet; None when the second has had its share."""
        second = now_ns // _SECOND_NS
        if second != self._second:
            self._second, self._made = second, 0
        if self._made >= self._max:
            return None
        self._made += 1
        read = decoded if isinstance(decoded, Packet) else None
        return PacketReport(
            tcp_flags=read.tcp_flags if read else 0,
            destination_ip=decoded.destination_text,
            destination_port=read.destination_port if read else 0,
            drop_reason=reason,
            event=PacketEvent.RECEIVED if passed else PacketEvent.DROPPED,
            length=decoded.size_bytes,
            mark=packet.mark,
            packet_id=read.identification if read else 0,
            protocol=max(decoded.protocol, 0),
            source_ip=decoded.source_text,
            source_port=read.source_port if read else 0,
            trireme_packet=True,
            payload=packet.data[:PAYLOAD_BYTES],
            timestamp_ns=now_ns,
            interface=packet.indev or packet.outdev or UNSET,
        )
