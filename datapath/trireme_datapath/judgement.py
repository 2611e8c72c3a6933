"""From addresses and ports to a ruling: which unit judges, what it says, and the flow record.

The record follows Trireme's rules for a packet filter. The packet's own policy gives action
and policy id. An observed policy gives the observed action and id. A flow between two known
endpoints is reported as one between processing units; any other has an external endpoint whose
id is the service of the policy that was reported, and then a reject on either side of the pair
gives the drop reason ``policy``.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

from msgspec import UNSET, Struct, structs

from trireme_collector.records import (
    DEFAULT_END_POINT,
    ActionType,
    Direction,
    EndPoint,
    EndPointType,
    FlowDropReason,
    FlowRecord,
    ObserveActionType,
)
from trireme_datapath.policy import FlowPolicy, Match

if TYPE_CHECKING:
    from trireme_datapath.policy import CompiledPolicy, CompiledUnit, Peer

__all__ = ["FlowTuple", "Judge", "Ruling"]

TCP: Final = 6
LOCAL_POLICY: Final = "local"
"""The policy id of TCP flows that a unit has with itself, as upstream reports them."""

_LOCAL = FlowPolicy(action=ActionType.ACCEPT, accepted=True, policy_id=LOCAL_POLICY)
_REFUSED = FlowPolicy(
    action=ActionType.REJECT, policy_id=DEFAULT_END_POINT, service_id=DEFAULT_END_POINT
)
_LOCAL_MATCH = Match(report=_LOCAL, packet=_LOCAL)
_REFUSED_MATCH = Match(report=_REFUSED, packet=_REFUSED)


class FlowTuple(Struct, frozen=True, kw_only=True, gc=False):
    """What a decision depends on, oriented from client to server.

    Attributes:
        source: The client's packed address.
        destination: The server's packed address.
        protocol: The IP protocol number.
        source_port: The client's port, for the record only.
        port: The server's port, 0 when the protocol has none.
        icmp_type: The ICMP type, -1 for other protocols.
        icmp_code: The ICMP code.
    """

    source: bytes
    destination: bytes
    protocol: int
    source_port: int = 0
    port: int = 0
    icmp_type: int = -1
    icmp_code: int = 0


class Ruling(Struct, kw_only=True, gc=False):
    """A judgement, and the flows that were opened under it since it was last reported.

    All flows of one ruling differ in the client's port only, so they are one record with a
    count: the first flow gives the port, as the merge rule of the seed has it.

    Attributes:
        template: The record without what the flows add to it.
        denied: Whether the packets of these flows are dropped.
    """

    template: FlowRecord
    denied: bool
    count: int = 0
    packets: int = 0
    bytes: int = 0
    source_port: int = 0
    start_ns: int = 0
    end_ns: int = 0
    tcp_flags: int = 0

    def add(self, source_port: int, size_bytes: int, tcp_flags: int, now_ns: int) -> bool:
        """Count one flow that was opened by one packet.

        Returns:
            Whether it is the first since the last report.
        """
        first = not self.count
        if first:
            self.source_port = source_port
            self.start_ns = now_ns
        self.count += 1
        self.packets += 1
        self.bytes += size_bytes
        self.tcp_flags |= tcp_flags
        self.end_ns = now_ns
        return first

    def take_record(self) -> FlowRecord:
        """Give the record of the flows since the last report, and start anew."""
        template = self.template
        source = template.source
        record = structs.replace(
            template,
            source=structs.replace(source, port=self.source_port) if self.source_port else source,
            count=self.count,
            packets=self.packets,
            bytes=self.bytes,
            start_time_ns=self.start_ns,
            end_time_ns=self.end_ns,
            tcp_flags=self.tcp_flags if template.l4_protocol == TCP else UNSET,
        )
        self.count = self.packets = self.bytes = self.tcp_flags = 0
        return record


class Judge:
    """Applies one compiled policy."""

    def __init__(self, policy: CompiledPolicy) -> None:
        """Keep the policy."""
        self.policy = policy

    def rule(
        self,
        flow: FlowTuple,
        source_unit: CompiledUnit | None,
        destination_unit: CompiledUnit | None,
        interface: str,
    ) -> Ruling:
        """Judge a flow of which at least one end is a processing unit.

        Both units have their say when both ends are units: the client's egress rules first, then
        the server's ingress rules. The one that rejects reports; an accept is reported by the
        server, as upstream does.
        """
        egress: Match | None = None
        if source_unit is not None:
            if source_unit is destination_unit and flow.protocol == TCP:
                return self._ruling(
                    flow, _LOCAL_MATCH, source_unit, source_unit.peer, Direction.EGRESS, interface
                )
            peer = self._peer(flow.destination, destination_unit)
            egress = source_unit.egress.candidates(flow.destination, peer).decide(
                flow.protocol, flow.port, flow.icmp_type, flow.icmp_code
            )
            if destination_unit is None or not egress.packet.accepted:
                return self._ruling(flow, egress, source_unit, peer, Direction.EGRESS, interface)
        if destination_unit is None:
            msg = "a flow without a processing unit cannot be judged"
            raise ValueError(msg)
        peer = self._peer(flow.source, source_unit)
        match = destination_unit.ingress.candidates(flow.source, peer).decide(
            flow.protocol, flow.port, flow.icmp_type, flow.icmp_code
        )
        if egress is not None and _observed(egress) and not _observed(match):
            # One record for both sides: the server's, with what the client's side observed.
            match = structs.replace(match, report=egress.report)
        return self._ruling(flow, match, destination_unit, peer, Direction.INGRESS, interface)

    def refuse(
        self,
        flow: FlowTuple,
        source_unit: CompiledUnit | None,
        destination_unit: CompiledUnit | None,
        interface: str,
        reason: FlowDropReason,
    ) -> Ruling:
        """Reject a flow for a reason that no rule can change, such as a missing handshake."""
        if destination_unit is not None:
            unit, direction = destination_unit, Direction.INGRESS
            peer = self._peer(flow.source, source_unit)
        elif source_unit is not None:
            unit, direction = source_unit, Direction.EGRESS
            peer = self._peer(flow.destination, None)
        else:
            msg = "a flow without a processing unit cannot be judged"
            raise ValueError(msg)
        return self._ruling(flow, _REFUSED_MATCH, unit, peer, direction, interface, reason)

    def _peer(self, address: bytes, unit: CompiledUnit | None) -> Peer | None:
        return unit.peer if unit is not None else self.policy.peer_for(address)

    def _ruling(
        self,
        flow: FlowTuple,
        match: Match,
        unit: CompiledUnit,
        peer: Peer | None,
        direction: Direction,
        interface: str,
        reason: FlowDropReason = FlowDropReason.POLICY_DROP,
    ) -> Ruling:
        packet, report = match.packet, match.report
        denied = not packet.accepted
        rejected = denied or (peer is None and report.action.rejected)
        own = (unit.id, EndPointType.PU)
        other = (
            (peer.id, EndPointType.PU)
            if peer is not None
            else (report.service_id or DEFAULT_END_POINT, EndPointType.EXTERNAL_IP)
        )
        client, server = (own, other) if direction is Direction.EGRESS else (other, own)
        observed = _observed(match)
        template = FlowRecord(
            context_id=unit.context_id,
            namespace=unit.namespace,
            source=EndPoint(id=client[0], type=client[1], ip=_text(flow.source)),
            destination=EndPoint(
                id=server[0], type=server[1], ip=_text(flow.destination), port=flow.port
            ),
            tags=unit.tags.slice,
            drop_reason=str(reason) if rejected else "",
            policy_id=packet.policy_id,
            observed_policy_id=report.policy_id if observed else "",
            count=1,
            action=packet.action | ActionType.LOG if packet.log else packet.action,
            observed_action=report.action if observed else ActionType.NONE,
            l4_protocol=flow.protocol,
            direction=direction,
            interface=interface or UNSET,
            policy_revision=self.policy.revision,
        )
        return Ruling(template=template, denied=denied)


def _observed(match: Match) -> bool:
    return match.report.observe_action is not ObserveActionType.NONE


def _text(address: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)
