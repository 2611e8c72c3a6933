"""From addresses and ports to an outcome: which unit judges, what it says, what is reported.

The record follows Trireme's rules for a packet filter. The packet's own policy gives action
and policy id. An observed policy gives the observed action and id. A flow between two known
endpoints is reported as one between processing units; any other has an external endpoint whose
id is the service of the policy that was reported, and then a reject on either side of the pair
gives the drop reason ``policy``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from msgspec import UNSET, Struct, structs

from trireme_collector.records import (
    DEFAULT_END_POINT,
    ActionType,
    Direction,
    EndPointType,
    FlowDropReason,
    FlowRecord,
    ObserveActionType,
)
from trireme_datapath.policy import FlowPolicy, Match, drop_reason
from trireme_datapath.policy.rule_table import OBSERVE_ONLY

if TYPE_CHECKING:
    from trireme_datapath.policy import CompiledPolicy, CompiledUnit, Peer

__all__ = ["FlowTuple", "Judge", "Outcome"]

TCP: Final = 6
LOCAL_POLICY: Final = "local"
"""The policy id of TCP flows that a unit has with itself, as upstream reports them."""

_LOCAL = FlowPolicy(action=ActionType.ACCEPT, accepted=True, policy_id=LOCAL_POLICY)
_REFUSED = FlowPolicy(
    action=ActionType.REJECT, policy_id=DEFAULT_END_POINT, service_id=DEFAULT_END_POINT
)
_LOCAL_MATCH = Match(report=_LOCAL, packet=_LOCAL)
_REFUSED_MATCH = Match(report=_REFUSED, packet=_REFUSED)
_OBSERVED_REFUSAL = Match(
    report=structs.replace(_REFUSED, observe_action=ObserveActionType.CONTINUE),
    packet=OBSERVE_ONLY,
)
_MAX_OUTCOMES: Final = 16_384  # all are forgotten when there are more

_Outcomes: TypeAlias = "dict[tuple[object, ...], Outcome]"
# By the id of the answer, which the outcome keeps alive, by unit, peer, interface and for refusals
# by direction and reason.


class FlowTuple(Struct, frozen=True, gc=False):
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


class Outcome(Struct, frozen=True, kw_only=True, gc=False, eq=False):
    """What was decided, and all that a record says about it but addresses and ports.

    Flows with the same answer, unit, peer and interface share one. Two are the same only if they
    are one object, so that things can be counted by it.

    Attributes:
        denied: Whether the packets are dropped.
        match: The answer of the policy.
        client: Id and kind of the client.
        server: Id and kind of the server.
        direction: The way of the flow as seen from the unit that judged it.
        record: The record of such a flow, all but its ends and counts.
    """

    denied: bool
    match: Match
    client: tuple[str, EndPointType]
    server: tuple[str, EndPointType]
    direction: Direction
    record: FlowRecord


class Judge:
    """Applies one compiled policy."""

    def __init__(self, policy: CompiledPolicy) -> None:
        """Keep the policy."""
        self.policy = policy
        self._peer_for = policy.peer_for
        self._ingress: _Outcomes = {}
        self._egress: _Outcomes = {}
        self._refused: _Outcomes = {}

    def rule(
        self,
        flow: FlowTuple,
        source_unit: CompiledUnit | None,
        destination_unit: CompiledUnit | None,
        interface: str,
    ) -> Outcome:
        """Judge a flow of which at least one end is a processing unit.

        Both units have their say when both ends are units: the client's egress rules first, then
        the server's ingress rules. The one that rejects reports; an accept is reported by the
        server, as upstream does.
        """
        egress: Match | None = None
        if source_unit is not None:
            if source_unit is destination_unit and flow.protocol == TCP:
                return self._out(_LOCAL_MATCH, source_unit, source_unit.peer, interface)
            peer = (
                self._peer_for(flow.destination)
                if destination_unit is None
                else destination_unit.peer
            )
            egress = source_unit.egress.candidates(flow.destination, peer).decide(
                flow.protocol, flow.port, flow.icmp_type, flow.icmp_code
            )
            # What a dry run lets through on this side only would never have reached the other.
            stopped = not egress.packet.accepted or egress.packet is OBSERVE_ONLY
            if destination_unit is None or stopped:
                return self._out(egress, source_unit, peer, interface)
        if destination_unit is None:
            msg = "a flow without a processing unit cannot be judged"
            raise ValueError(msg)
        peer = self._peer_for(flow.source) if source_unit is None else source_unit.peer
        match = destination_unit.ingress.candidates(flow.source, peer).decide(
            flow.protocol, flow.port, flow.icmp_type, flow.icmp_code
        )
        if egress is not None and _observed(egress) and not _observed(match):
            # One record for both sides: the server's, with what the client's side observed.
            match = Match(report=egress.report, packet=match.packet)
        key = (id(match), destination_unit, peer, interface)
        return self._ingress.get(key) or self._keep(
            self._ingress, key, match, destination_unit, peer, Direction.INGRESS, interface
        )

    def refuse(
        self,
        flow: FlowTuple,
        source_unit: CompiledUnit | None,
        destination_unit: CompiledUnit | None,
        interface: str,
        reason: FlowDropReason,
    ) -> Outcome:
        """Reject a flow for a reason that no rule can change, such as a missing handshake."""
        if destination_unit is not None:
            unit, direction = destination_unit, Direction.INGRESS
            peer = self._peer_for(flow.source) if source_unit is None else source_unit.peer
        elif source_unit is not None:
            unit, direction = source_unit, Direction.EGRESS
            peer = self._peer_for(flow.destination)
        else:
            msg = "a flow without a processing unit cannot be judged"
            raise ValueError(msg)
        match = _OBSERVED_REFUSAL if self.policy.observe_only else _REFUSED_MATCH
        key = (id(match), unit, peer, interface, direction, reason)
        return self._refused.get(key) or self._keep(
            self._refused, key, match, unit, peer, direction, interface, str(reason)
        )

    def _out(self, match: Match, unit: CompiledUnit, peer: Peer | None, interface: str) -> Outcome:
        key = (id(match), unit, peer, interface)
        return self._egress.get(key) or self._keep(
            self._egress, key, match, unit, peer, Direction.EGRESS, interface
        )

    def _keep(
        self,
        outcomes: _Outcomes,
        key: tuple[object, ...],
        match: Match,
        unit: CompiledUnit,
        peer: Peer | None,
        direction: Direction,
        interface: str,
        reason: str = FlowDropReason.POLICY_DROP.value,
    ) -> Outcome:
        """Make an outcome and remember it."""
        outcome = self._make_outcome(match, unit, peer, direction, interface, reason)
        if len(outcomes) >= _MAX_OUTCOMES:
            outcomes.clear()
        outcomes[key] = outcome
        return outcome

    def _make_outcome(
        self,
        match: Match,
        unit: CompiledUnit,
        peer: Peer | None,
        direction: Direction,
        interface: str,
        reason: str,
    ) -> Outcome:
        packet, report = match.packet, match.report
        rejected = drop_reason(match, external=peer is None)
        observed = _observed(match)
        own = (unit.id, EndPointType.PU)
        other = (
            (peer.id, EndPointType.PU)
            if peer is not None
            else (report.service_id or DEFAULT_END_POINT, EndPointType.EXTERNAL_IP)
        )
        client, server = (own, other) if direction is Direction.EGRESS else (other, own)
        named = FlowRecord(
            context_id=unit.context_id,
            namespace=unit.namespace,
            tags=unit.tags.slice,
            drop_reason=reason if rejected else "",
            policy_id=packet.policy_id,
            observed_policy_id=report.policy_id if observed else "",
            action=packet.action | ActionType.LOG if packet.log else packet.action,
            observed_action=report.action if observed else ActionType.NONE,
            direction=direction,
            interface=interface or UNSET,
            policy_revision=self.policy.revision,
        )
        return Outcome(
            denied=not packet.accepted,
            match=match,
            client=client,
            server=server,
            direction=direction,
            record=named,
        )


def _observed(match: Match) -> bool:
    return match.report.observe_action is not ObserveActionType.NONE
