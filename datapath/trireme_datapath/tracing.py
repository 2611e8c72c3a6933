"""Tracing: a report on every queued packet of a unit, by direction, for a limited time."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from msgspec import UNSET, Struct, structs

from trireme_collector.records import PacketEvent, PacketReport
from trireme_datapath.packets import Verdict
from trireme_datapath.reports import PAYLOAD_BYTES

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    from trireme_datapath.flows import Flow
    from trireme_datapath.packet import Packet
    from trireme_datapath.packets import Decision, QueuedPacket
    from trireme_datapath.policy import CompiledPolicy, CompiledUnit

__all__ = ["MAX_TRACE_SECONDS", "PacketTracer", "TraceDirection", "TraceRequest"]

MAX_TRACE_SECONDS: Final = 3_600
_MAX_REPORTS_PER_SECOND: Final = 10_000  # a tracer that slows the agent down is no use to anybody
_SECOND_NS: Final = 1_000_000_000


class TraceDirection(enum.Flag):
    """Which packets of a unit are traced; the numbers are Trireme's."""

    DISABLED = 0
    NETWORK = 1
    """What arrives at it."""
    APPLICATION = 2
    """What it sends."""
    BOTH = 3


class TraceRequest(Struct, frozen=True, kw_only=True, gc=False):
    """What somebody asked for.

    Attributes:
        direction: Which packets.
        until_ns: How long, nanoseconds since 1970 UTC.
        payload_bytes: How much of each packet is told, from the IP header on.
    """

    direction: TraceDirection
    until_ns: int
    payload_bytes: int = PAYLOAD_BYTES


class PacketTracer:
    """Makes the reports on the packets of traced units.

    Args:
        counters: Where reports are counted.
    """

    def __init__(self, counters: Counter[str]) -> None:
        """Trace nobody."""
        self._counters = counters
        self._requests: dict[str, TraceRequest] = {}
        self._second = -1
        self._made = 0

    def __bool__(self) -> bool:
        """Tell whether somebody is traced."""
        return bool(self._requests)

    def trace(self, policy: CompiledPolicy, unit_name: str, request: TraceRequest) -> str:
        """Trace a unit, from now on or no longer.

        The request outlives a change of the policy.

        Args:
            policy: The policy in force.
            unit_name: The id or the context of the unit.
            request: What is wanted; `TraceDirection.DISABLED` ends it.

        Returns:
            The context of the unit.

        Raises:
            LookupError: There is no such unit.
        """
        unit = policy.unit(unit_name)
        if unit is None:
            raise LookupError(f"no unit has the id or the context {unit_name!r}")
        if request.direction is TraceDirection.DISABLED:
            self._requests.pop(unit.context_id, None)
        else:
            self._requests[unit.context_id] = request
        return unit.context_id

    def shift_clock(self, by_ns: int) -> None:
        """Take the clock as set: everybody is traced as long as was asked for."""
        self._requests = {
            unit: structs.replace(request, until_ns=request.until_ns + by_ns)
            for unit, request in self._requests.items()
        }

    def expire(self, now_ns: int) -> None:
        """End what was asked for until now."""
        over = [unit for unit, request in self._requests.items() if request.until_ns <= now_ns]
        for unit in over:
            del self._requests[unit]

    def reports(
        self,
        packet: QueuedPacket,
        decoded: Packet,
        units: tuple[CompiledUnit | None, CompiledUnit | None],
        flow: Flow | None,
        decision: Decision,
        now_ns: int,
    ) -> Iterator[PacketReport]:
        """Report on a packet, once for each traced unit at its ends.

        Args:
            packet: The packet as it was queued.
            decoded: What it is.
            units: Who sent it and who gets it.
            flow: The flow that it belongs to, if there is one.
            decision: What was decided.
            now_ns: Nanoseconds since 1970 UTC.
        """
        sides = (TraceDirection.APPLICATION, TraceDirection.NETWORK)
        for unit, side in zip(units, sides, strict=True):
            request = None if unit is None else self._requests.get(unit.context_id)
            if unit is None or request is None or not request.direction & side:
                continue
            second = now_ns // _SECOND_NS
            if second != self._second:
                self._second, self._made = second, 0
            if self._made >= _MAX_REPORTS_PER_SECOND:
                self._counters["traced_packets_suppressed"] += 1
                continue
            self._made += 1
            self._counters["traced_packets"] += 1
            dropped = decision.verdict is not Verdict.ACCEPT
            yield PacketReport(
                tcp_flags=decoded.tcp_flags,
                claims=unit.tags.slice,
                destination_ip=decoded.destination_text,
                destination_port=decoded.destination_port,
                drop_reason=_reason(decision, flow) if dropped else "",
                event=PacketEvent.DROPPED if dropped else PacketEvent.RECEIVED,
                length=decoded.size_bytes,
                mark=packet.mark,
                namespace=unit.namespace,
                packet_id=decoded.identification,
                protocol=decoded.protocol,
                puid=unit.id,
                source_ip=decoded.source_text,
                source_port=decoded.source_port,
                trireme_packet=True,
                payload=packet.data[: min(request.payload_bytes, PAYLOAD_BYTES)],
                timestamp_ns=now_ns,
                interface=packet.indev or packet.outdev or UNSET,
            )


def _reason(decision: Decision, flow: Flow | None) -> str:
    """Say why a packet was dropped."""
    for record in decision.records:
        if isinstance(record, PacketReport):
            return record.drop_reason
    return "" if flow is None else flow.ruling.outcome.record.drop_reason
