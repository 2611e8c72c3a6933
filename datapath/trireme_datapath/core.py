"""What both doors of the engine share: the policy in force, the flows and the counters."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from trireme_collector.records import EndPointType
from trireme_datapath.dns_observer import DNS_PORT
from trireme_datapath.flows import Flow, FlowState, FlowTable, Origin, reverse_key
from trireme_datapath.identity import OPENING_FLAGS, SYN, TCP, UDP, flow_tuple
from trireme_datapath.judgement import Judge
from trireme_datapath.packets import Verdict
from trireme_datapath.rulings import Ruling
from trireme_datapath.units import Way, Ways

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trireme_collector.records import FlowDropReason, FlowRecord, Record
    from trireme_datapath.counters import CounterReporter
    from trireme_datapath.dns_observer import DNSObserver
    from trireme_datapath.exceptions import ExceptionReporter
    from trireme_datapath.judgement import Outcome
    from trireme_datapath.packets import QueuedPacket
    from trireme_datapath.policy import CompiledPolicy

__all__ = ["UNSETTLED", "EngineCore"]

UNSETTLED: Final = -(1 << 60)
"""The revision of a rejected flow that may be allowed at any time: each packet is judged anew."""

_FIN_RST: Final = 0x05
_RST: Final = 0x04
_MAX_ORIGINS: Final = 4_096  # hooks x interfaces x marks; beyond it, flows no longer share them
# Plain numbers: a member of an enumeration costs a look-up on every new flow.
_NEW: Final = int(FlowState.NEW)
_DENIED: Final = int(FlowState.DENIED)


class EngineCore:
    """The state of an engine.

    Args:
        policy: The compiled policy.
        max_flows: How many flows are kept.
        refuse_mark: The bit that sends packets of rejected flows round again, None to drop them.
        accept_mark: The bit that accepted packets get, None to leave their mark.

    Attributes:
        policy: The policy in force.
        revision: How often the policy was replaced; flows remember under which they were judged.
        flows: The flow table.
        ways: Finds out what hook, interfaces and mark say about the units of a packet.
        counters: What was done, by name.
        counted: Whether the kernel counts the packets of accepted flows.
        report_opened: Whether those flows are reported when they are judged, too.
        dns: Who looks at DNS, if somebody does.
        counting: Who reports the counters, if somebody does.
        exceptions: Who reports connections that came to nothing, if somebody does.
        sees_all: Whether every packet of an accepted flow comes here.
    """

    def __init__(
        self,
        policy: CompiledPolicy,
        *,
        max_flows: int,
        refuse_mark: int | None,
        accept_mark: int | None = None,
    ) -> None:
        """Start without flows."""
        self.counters: Counter[str] = Counter()
        self.flows = FlowTable(max_flows)
        self.revision = -1
        self.counted = False
        self.report_opened = True
        self.dns: DNSObserver | None = None
        self.counting: CounterReporter | None = None
        self.exceptions: ExceptionReporter | None = None
        self.sees_all = accept_mark is None
        self._refuse_mark = refuse_mark
        self._accept_mark = accept_mark
        self._origins: dict[tuple[int, str, str, int, bool], Origin] = {}
        self.enforce(policy)

    def enforce(self, policy: CompiledPolicy) -> None:
        """Put a policy in force."""
        self.policy = policy
        self.revision += 1
        self.ways = Ways(policy, self.flows)
        self._judge = Judge(policy)
        if self.dns is not None:
            self.dns.enter_policy(policy)

    def accepted_mark(self, mark: int) -> int | None:
        """Give the new mark of a packet that was judged and accepted, None to leave it."""
        accept = self._accept_mark
        return None if accept is None else mark | accept

    def denied_verdict(self, mark: int) -> tuple[Verdict, int | None]:
        """Say what becomes of a packet of a rejected flow, and its new mark."""
        refuse = self._refuse_mark
        if refuse is None or mark & refuse:  # it came round once: no rule answered for us
            return Verdict.DROP, None
        return Verdict.REPEAT, mark | refuse

    def rule(
        self,
        protocol: int,
        key: bytes,
        way: Way,
        interface: str,
        *,
        forward: bool = True,
        reason: FlowDropReason | None = None,
    ) -> Ruling | bool:
        """Find the units of a flow and judge it; for a flow without units say if it passes."""
        outcome = self.judge(protocol, key, way, interface, forward=forward, reason=reason)
        if isinstance(outcome, bool):
            return outcome
        denied = outcome.denied
        return Ruling(outcome, denied, key, protocol, self.counted and not denied)

    def rule_again(self, flow: Flow, origin: Origin) -> Ruling | bool:
        """Judge a flow by the policy in force, as if its first packet came now; see `rule`."""
        interface = origin.indev or origin.outdev
        way = self.ways.find(origin.hook, origin.indev, origin.outdev, origin.mark)
        return self.rule(flow.protocol, flow.key, way, interface, forward=origin.forward)

    def judge(
        self,
        protocol: int,
        key: bytes,
        way: Way,
        interface: str,
        *,
        forward: bool = True,
        reason: FlowDropReason | None = None,
    ) -> Outcome | bool:
        """Give the outcome alone; see `rule`."""
        flow = flow_tuple(protocol, key)
        if forward:
            source_unit, destination_unit = way.units(flow.source, flow.destination)
        else:
            destination_unit, source_unit = way.units(flow.destination, flow.source)
        if source_unit is None and destination_unit is None:
            return self.policy.unmatched_accepted
        if reason is None:
            return self._judge.rule(flow, source_unit, destination_unit, interface)
        return self._judge.refuse(flow, source_unit, destination_unit, interface, reason)

    def origin(self, packet: QueuedPacket, *, forward: bool = True) -> Origin:
        """Give the origin of a flow that this packet opens."""
        where = (packet.hook, packet.indev, packet.outdev, packet.mark, forward)
        origin = self._origins.get(where)
        if origin is None:
            if len(self._origins) >= _MAX_ORIGINS:
                self._origins.clear()
            origin = self._origins[where] = Origin(*where)
        return origin

    def stamp(self, ruling: Ruling) -> int:
        """Give the revision of a flow that was judged now.

        The fast door leaves flows with any other than the policy's own to the clear one: those
        whose every packet is looked at have its complement.
        """
        dns = self.dns
        if dns is None:
            return self.revision
        if ruling.denied:
            waits = dns.may_be_allowed_later(ruling.outcome.record.context_id)
            return UNSETTLED if waits else self.revision
        if ruling.port == DNS_PORT and self.watches(ruling):
            return ~self.revision
        return self.revision

    def watches(self, ruling: Ruling) -> bool:
        """Whether every packet of a flow is looked at: a unit asks a name server."""
        return (
            ruling.port == DNS_PORT
            and self.dns is not None
            and ruling.protocol in {TCP, UDP}
            and ruling.outcome.client[1] is EndPointType.PU
        )

    def open(
        self,
        way: Way,
        key: bytes,
        ruling: Ruling,
        now_ns: int,
        origin: Origin,
        packets: int = 0,
        size_bytes: int = 0,
    ) -> Flow:
        """Put a flow that was judged into the table, under the key of its client's packets.

        Args:
            way: The way of its first packet.
            key: That key.
            ruling: The judgement.
            now_ns: Nanoseconds since 1970 UTC.
            origin: Where its first packet was queued.
            packets: Packets that were counted already.
            size_bytes: Their IP bytes.
        """
        protocol, denied = ruling.protocol, ruling.denied
        zone, reverse_zone = way.zone, way.reverse_zone
        if not origin.forward:
            zone, reverse_zone = reverse_zone, zone
        flow = Flow(
            key,
            protocol,
            zone.number,
            reverse_zone.number,
            ruling,
            denied,
            _DENIED if denied else _NEW,
            self.revision if self.dns is None else self.stamp(ruling),
            now_ns,
            origin,
            packets,
            size_bytes,
        )
        self.flows.insert(zone.table(protocol), flow)
        if way.one_way and not denied:
            self.flows.answer(flow, reverse_key(protocol, key))
        return flow

    def report(self, ruling: Ruling) -> FlowRecord:
        """Make the record of the flows that were opened under a ruling, and count them."""
        self.counters["flows_rejected" if ruling.denied else "flows_accepted"] += ruling.count
        if self.counting is not None:
            self.counting.judged(ruling)
        return ruling.take_record()

    def report_opening(self, ruling: Ruling) -> FlowRecord | None:
        """Make the record of a flow that was opened; None where only its end is reported."""
        if self.report_opened or not ruling.counted:
            return self.report(ruling)
        self.counters["flows_accepted"] += ruling.count
        if self.counting is not None:
            self.counting.judged(ruling)
        ruling.count = 0
        return None

    def report_all(self, rulings: Iterable[Ruling]) -> list[Record]:
        """Make the records of many rulings; see `report_opening`."""
        counting, report_opened = self.counting, self.report_opened
        accepted = rejected = 0
        records: list[Record] = []
        keep = records.append
        for ruling in rulings:
            if ruling.denied:
                rejected += ruling.count
            else:
                accepted += ruling.count
            if counting is not None:
                counting.judged(ruling)
            if report_opened or not ruling.counted:
                keep(ruling.take_record())
            else:
                ruling.count = 0
        self.counters["flows_accepted"] += accepted
        self.counters["flows_rejected"] += rejected
        return records

    def note_reset(self, flow: Flow, flags: int, now_ns: int) -> None:
        """Report a connection whose first answer, which this packet is, is a reset."""
        if self.exceptions is None or not flags & _RST or flow.state != _NEW:
            return
        if flow.account is None or not flow.account.ended:  # else the kernel told it already
            self.exceptions.answered_by_reset(flow, now_ns)

    def follow_tcp(self, flow: Flow, key: bytes, flags: int) -> Flow | None:
        """Note a SYN, FIN or RST of a flow; None when a SYN opens a connection of its own.

        That is so when the connection before it was closing, or when the other side of a
        rejected one calls. A SYN into an open connection is the receiver's to answer (RFC 5961).
        """
        if flags & OPENING_FLAGS == SYN:
            if flow.state == FlowState.CLOSING:
                return None
            return flow if flow.state != FlowState.DENIED or key == flow.key else None
        if flags & _FIN_RST and flow.state != FlowState.DENIED:
            flow.state = FlowState.CLOSING
        return flow
