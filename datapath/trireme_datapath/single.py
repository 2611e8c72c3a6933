"""The clear door of the engine: one packet, whatever it is, and the decision about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import structs

from trireme_collector.records import Direction, FlowDropReason, PacketReport
from trireme_datapath.flows import Flow, FlowState, reverse_key
from trireme_datapath.fragments import FragmentTable
from trireme_datapath.identity import TCP, flow_key, is_mapped, orient
from trireme_datapath.packet import Malformed, Packet, decode, decode_embedded
from trireme_datapath.packets import Decision, Verdict
from trireme_datapath.reports import DropReporter
from trireme_datapath.rulings import Ruling
from trireme_datapath.tracing import PacketTracer

if TYPE_CHECKING:
    from trireme_collector.records import Record
    from trireme_datapath.accounting import ConnectionAccount
    from trireme_datapath.core import EngineCore
    from trireme_datapath.judgement import Outcome
    from trireme_datapath.packets import QueuedPacket
    from trireme_datapath.units import Way

__all__ = ["SingleDoor"]

_FIN_SYN_RST: Final = 0x07

_ACCEPT: Final = Decision(verdict=Verdict.ACCEPT)


class SingleDoor:
    """Judges packets one by one; see `Engine` for what it promises.

    Args:
        core: What is shared with the other door.
        max_fragments: Datagrams whose later fragments are awaited.
        max_reports_per_second: Reports on packets that are dropped outside any flow.

    Attributes:
        account: The account of what accepted flows carried, if one is kept.
        tracer: Who reports on packets of units that are traced.
    """

    def __init__(self, core: EngineCore, max_fragments: int, max_reports_per_second: int) -> None:
        """Keep what is shared with the other door."""
        self._core = core
        self.account: ConnectionAccount | None = None
        self.tracer = PacketTracer(core.counters)
        self._counters = core.counters
        self._flows = core.flows
        self._fragments = FragmentTable(max_fragments)
        self._reporter = DropReporter(max_reports_per_second)

    def enter_policy(self) -> None:
        """Forget what was decided about pieces of datagrams, after the policy was replaced."""
        self._fragments.clear()

    def receive(self, packet: QueuedPacket, now_ns: int) -> Decision:
        """Judge one packet; see `Engine.receive`."""
        self._counters["packets"] += 1
        decoded = decode(packet.data, original_length=packet.original_length)
        if isinstance(decoded, Malformed):
            return self._drop(packet, decoded, f"malformed:{decoded.reason}", now_ns)
        if decoded.source_routed:
            return self._drop(packet, decoded, "source-route", now_ns)
        if is_mapped(decoded.source, decoded.destination):
            return self._drop(packet, decoded, "mapped-address", now_ns)
        way = self._core.ways.find(packet.hook, packet.indev, packet.outdev, packet.mark)
        if self.tracer:
            return self._receive_traced(packet, decoded, way, now_ns)
        return self._receive_decoded(packet, decoded, way, now_ns)

    def _receive_decoded(
        self, packet: QueuedPacket, decoded: Packet, way: Way, now_ns: int
    ) -> Decision:
        if decoded.fragment_offset_bytes:
            known = self._fragments.find(decoded, now_ns)
            if known is None:
                return self._drop(packet, decoded, "fragment", now_ns)
            denied, outcome = known
            return self._decide(packet, outcome, denied=denied)
        decision, flow = self._judge_packet(packet, decoded, way, now_ns)
        if decoded.more_fragments:
            outcome = None if flow is None else flow.ruling.outcome
            denied = decision.verdict is Verdict.DROP if flow is None else flow.denied
            self._fragments.keep(decoded, outcome, denied=denied, now_ns=now_ns)
        return decision

    def rule_of(self, packet: QueuedPacket) -> str:
        """Give the rule that decides about the flow of a packet; see `Engine.rule_of`."""
        decoded = decode(packet.data, original_length=packet.original_length)
        if isinstance(decoded, Malformed) or decoded.fragment_offset_bytes:
            return ""
        way = self._core.ways.find(packet.hook, packet.indev, packet.outdev, packet.mark)
        flow = _flow_of(decoded, way)
        return "" if flow is None else flow.ruling.outcome.record.policy_id

    def _receive_traced(
        self, packet: QueuedPacket, decoded: Packet, way: Way, now_ns: int
    ) -> Decision:
        """Judge a packet while somebody is traced."""
        decision = self._receive_decoded(packet, decoded, way, now_ns)
        flow = _flow_of(decoded, way)
        units = way.units(decoded.source, decoded.destination)
        if flow is not None and units == (None, None):  # only what its client sends has a mark
            unit = self._core.policy.unit(flow.ruling.outcome.record.context_id)
            sends = (flow.key == flow_key(decoded)) == (
                flow.ruling.outcome.direction is Direction.EGRESS
            )
            units = (unit, None) if sends else (None, unit)
        traces = tuple(self.tracer.reports(packet, decoded, units, flow, decision, now_ns))
        if not traces:
            return decision
        others = [one for one in decision.records if not isinstance(one, PacketReport)]
        return structs.replace(decision, records=(*others, *traces))

    def _judge_packet(
        self, packet: QueuedPacket, decoded: Packet, way: Way, now_ns: int
    ) -> tuple[Decision, Flow | None]:
        protocol = decoded.protocol
        key = flow_key(decoded)
        flow = way.zone.table(protocol).get(key)
        if flow is None:
            flow = self._answered(decoded, way, key, now_ns)
        if flow is not None and protocol == TCP and decoded.tcp_flags & _FIN_SYN_RST:
            followed = self._core.follow_tcp(flow, key, decoded.tcp_flags)
            if followed is None:
                self._flows.remove(flow)
            flow = followed
        record: Record | None = None
        core = self._core
        if flow is not None and flow.revision not in {core.revision, ~core.revision}:
            flow, record = self._judge_again(flow, packet, decoded, way, now_ns)
        if flow is None:
            flow = self._related(decoded, way)
        if flow is None:
            opened = self._open_judged(packet, decoded, way, key, now_ns)
            if isinstance(opened, Decision):
                return opened, None
            flow, record = opened
        flow.packets += 1
        flow.bytes += decoded.size_bytes
        flow.last_seen_ns = now_ns
        records = () if record is None else (record,)
        if flow.revision < 0 and not flow.denied and core.dns is not None:
            core.dns.look(flow, decoded, packet.data, now_ns)
            return Decision(verdict=Verdict.ACCEPT, records=records), flow
        outcome = flow.ruling.outcome
        return self._decide(packet, outcome, denied=flow.denied, records=records), flow

    def _answered(self, decoded: Packet, way: Way, key: bytes, now_ns: int) -> Flow | None:
        """Find the flow that this packet is an answer to."""
        protocol = decoded.protocol
        flow = way.reverse_zone.table(protocol).get(reverse_key(protocol, key))
        if flow is None:
            return None
        if not flow.denied:
            if protocol == TCP:
                self._core.note_reset(flow, decoded.tcp_flags, now_ns)
            self._flows.answer(flow, key)
        elif orient(decoded, judge_midstream=False) == (True, None):
            # The other side of a rejected flow opens one of its own: its answers may pass.
            self._flows.remove(flow)
            return None
        return flow

    def _decide(
        self,
        packet: QueuedPacket,
        outcome: Outcome | None,
        *,
        denied: bool,
        records: tuple[Record, ...] = (),
    ) -> Decision:
        if denied:
            self._counters["packets_denied"] += 1
            if outcome is not None and self._core.counting is not None:
                self._core.counting.denied((outcome,))
            verdict, mark = self._core.denied_verdict(packet.mark)
            return Decision(verdict=verdict, mark=mark, records=records)
        mark = self._core.accepted_mark(packet.mark)
        if not records and mark is None:
            return _ACCEPT
        return Decision(verdict=Verdict.ACCEPT, mark=mark, records=records)

    def _open_judged(
        self, packet: QueuedPacket, decoded: Packet, way: Way, key: bytes, now_ns: int
    ) -> tuple[Flow, Record | None] | Decision:
        """Judge the first packet of a flow that is not in the table."""
        forward, reason = orient(decoded, judge_midstream=self._core.policy.judge_midstream)
        if not forward:
            key = reverse_key(decoded.protocol, key)
        interface = packet.indev or packet.outdev
        ruling = self._core.rule(
            decoded.protocol, key, way, interface, forward=forward, reason=reason
        )
        if not isinstance(ruling, Ruling):
            if ruling:
                self._counters["packets_unmatched_accepted"] += 1
                return self._decide(packet, None, denied=False)
            return self._drop(packet, decoded, FlowDropReason.INVALID_CONTEXT, now_ns)
        ruling.add(key, decoded.size_bytes, decoded.tcp_flags, now_ns)
        origin = self._core.origin(packet, forward=forward)
        flow = self._core.open(way, key, ruling, now_ns, origin)
        return flow, self._core.report_opening(ruling)

    def _judge_again(
        self, flow: Flow, packet: QueuedPacket, decoded: Packet, way: Way, now_ns: int
    ) -> tuple[Flow | None, Record | None]:
        """Judge a flow that was opened under an earlier policy; report it if that changed it."""
        forward = flow.key == flow_key(decoded)
        interface = packet.indev or packet.outdev
        ruling = self._core.rule(decoded.protocol, flow.key, way, interface, forward=forward)
        if not isinstance(ruling, Ruling):
            self._flows.remove(flow)
            return None, None
        changed = ruling.denied != flow.denied
        if self.account is not None:
            self.account.change(flow, ruling, now_ns)
        flow.ruling, flow.denied, flow.revision = ruling, ruling.denied, self._core.stamp(ruling)
        if not changed:
            return flow, None
        flow.state = FlowState.DENIED if ruling.denied else FlowState.NEW
        ruling.add(flow.key, decoded.size_bytes, decoded.tcp_flags, now_ns)
        return flow, self._core.report(ruling)

    def _related(self, decoded: Packet, way: Way) -> Flow | None:
        """Find the accepted flow that an ICMP error is about."""
        quoted = decode_embedded(decoded)
        if not isinstance(quoted, Packet) or quoted.fragment_offset_bytes:
            return None
        if quoted.source != decoded.destination:  # an error goes to who sent what it quotes
            return None
        key = flow_key(quoted)
        protocol = quoted.protocol
        flow = way.reverse_zone.table(protocol).get(key)
        if flow is None:
            flow = way.zone.table(protocol).get(reverse_key(protocol, key))
        return None if flow is None or flow.denied else flow

    def _drop(
        self, packet: QueuedPacket, decoded: Packet | Malformed, reason: str, now_ns: int
    ) -> Decision:
        """Drop a packet that belongs to no flow, and say so as far as the limit allows.

        Where the whole policy observes, it passes and is reported all the same.
        """
        observed = self._core.policy.observe_only
        verdict = Verdict.ACCEPT if observed else Verdict.DROP
        self._counters["packets_dropped_observed" if observed else "packets_dropped"] += 1
        self._counters[f"dropped_{reason}"] += 1
        report = self._reporter.report(packet, decoded, reason, now_ns, passed=observed)
        if report is None:
            self._counters["packet_reports_suppressed"] += 1
            return Decision(verdict=verdict)
        return Decision(verdict=verdict, records=(report,))


def _flow_of(decoded: Packet, way: Way) -> Flow | None:
    """Find the flow that a packet belongs to, in either direction."""
    protocol, key = decoded.protocol, flow_key(decoded)
    flow = way.zone.table(protocol).get(key)
    if flow is None:
        flow = way.reverse_zone.table(protocol).get(reverse_key(protocol, key))
    return flow
