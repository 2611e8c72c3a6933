"""Counter reports: what was counted for each processing unit, and for nobody in particular.

Trireme's table of counters comes first, in its order and with its zeros, so that who reads them by
place or by name finds them. What the agent's own kind of judgement counts stands behind. Every
report says what was counted since the one before, so the reports add up to the totals.
"""

from __future__ import annotations

from collections import Counter as Totals
from typing import TYPE_CHECKING, Final

from trireme_collector.records import (
    Counter,
    CounterReport,
    Direction,
    EndPointType,
    FlowDropReason,
)
from trireme_datapath.identity import TCP, UDP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from trireme_collector.records import Record
    from trireme_datapath.backends._queue_statistics import QueueStatistics
    from trireme_datapath.judgement import Outcome
    from trireme_datapath.rulings import Ruling

__all__ = [
    "AGENT_COUNTERS",
    "COUNTER_INTERVAL_SECONDS",
    "TRIREME_COUNTERS",
    "CounterReporter",
    "queue_totals",
]

COUNTER_INTERVAL_SECONDS: Final = 30.0
"""How often Trireme reports."""

TRIREME_COUNTERS: Final = (
    "UNKNOWNERROR",
    "INVALIDNETSTATE",
    "NONPUTRAFFIC",
    "SYNNOTSEEN",
    "CONNECTIONNOTFOUND",
    "REJECTEDPACKET",
    "TCPAUTHENTICATIONOPTIONNOTFOUND",
    "INVALIDCONNECTIONSTATE",
    "MARKNOTFOUND",
    "PORTNOTFOUND",
    "CONTEXTNOTFOUND",
    "INVALIDPROTOCOL",
    "PREPROCESSINGFAILED",
    "POSTPROCESSINGFAILED",
    "ACLSYNDROPPED",
    "SYNDROPPEDNOCLAIMS",
    "SYNDROPPEDINVALIDTOKEN",
    "SYNDROPPEDAUTHOPTIONNOTFOUND",
    "SYNDROPPEDINVALIDFORMAT",
    "SYNDROPPEDPOLICY",
    "UNEXPECTEDSYNACK",
    "DEADPUSYNACK",
    "SYNACKDROPPEDINVALIDTOKEN",
    "SYNACKDROPPEDBADCLAIMS",
    "SYNACKDROPPEDNOCLAIMS",
    "SYNACKAUTHOPTIONNOTFOUND",
    "SYNACKDROPPEDINVALIDFORMAT",
    "SYNACKDROPPEDCLAIMSMISMATCH",
    "SYNACKDROPPEDPOLICY",
    "ERRSYNACKDROPPEDEXTERNALSERVICE",
    "ACKDROPPEDPOLICY",
    "ACKDROPPEDAUTHOPTIONNOTFOUND",
    "ACKDROPPEDSIGVALIDATIONFAILED",
    "ACKDROPPEDINVALIDFORMAT",
    "ACKDROPPEDUNKNOWNCONNSTATE",
    "SYNUNEXPECTEDPACKET",
    "CONNECTIONSPROCESSED",
    "ENCRCONNECTIONSPROCESSED",
    "UDPINVALIDNETSTATE",
    "UDPDROPSYNACK",
    "UDPDROPFIN",
    "UDPDROPPACKET",
    "UDPPREPROCESSINGFAILED",
    "UDPREJECTED",
    "UDPPOSTPROCESSINGFAILED",
    "UDPDROPNOCONNECTION",
    "UDPSYNINVALIDTOKEN",
    "UDPSYNMISSINGCLAIMS",
    "UDPSYNDROPPEDPOLICY",
    "UDPSYNACKBADCLAIMS",
    "UDPSYNACKMISSINGCLAIMS",
    "UDPSYNACKPOLICY",
    "UDPACKINVALIDSIGNATURE",
    "UDPCONNECTIONSPROCESSED",
    "UDPCONTEXTIDNOTFOUND",
    "UDPDROPQUEUEFULL",
    "UDPDROPINNFQUEUE",
    "UDPSYNDROPPED",
    "DUPLICATEHANDSHAKEACKDROP",
)
"""The counters of Trireme in their order; those about identity tokens stay 0 here."""

AGENT_COUNTERS: Final = (
    "packets",
    "packets_denied",
    "packets_dropped",
    "packets_dropped_observed",
    "packets_unmatched_accepted",
    "flows_accepted",
    "flows_rejected",
    "packet_reports_suppressed",
    "queue_received",
    "queue_dropped_full",
    "queue_dropped_socket",
    "queue_unjudged",
)
"""Counters of the agent that every report on nobody in particular has; others follow by name."""

_UNIT_COUNTERS: Final = ("flows_accepted", "flows_rejected")
# What the engine counts is what Trireme calls so.
_SAME: Final = {
    "NONPUTRAFFIC": "packets_unmatched_accepted",
    "REJECTEDPACKET": "packets_denied",
    "CONTEXTNOTFOUND": "dropped_context",
}
_SECOND_NS: Final = 1_000_000_000
_MAX_OUTCOMES: Final = 16_384


def queue_totals(statistics: QueueStatistics | None, judged: int) -> dict[str, int]:
    """Name the kernel's own totals about a queue.

    Args:
        statistics: The totals, None where they cannot be read.
        judged: How many packets of the queue were judged.
    """
    if statistics is None:
        return {}
    gone = statistics.last_packet_id - statistics.waiting - statistics.user_dropped
    return {
        # A packet that finds the queue full gets no number.
        "queue_received": statistics.last_packet_id + statistics.dropped,
        "queue_dropped_full": statistics.dropped,
        "queue_dropped_socket": statistics.user_dropped,
        "queue_unjudged": gone - judged,
    }


class CounterReporter:
    """Makes the reports of one engine.

    Args:
        totals: The counters of the engine, which only rise.
        read_queue: Gives the kernel's own totals about the queue, by our names; those that are
            not known are left out.
        interval_seconds: How often.
    """

    def __init__(
        self,
        totals: Mapping[str, int],
        read_queue: Callable[[], Mapping[str, int]],
        interval_seconds: float = COUNTER_INTERVAL_SECONDS,
    ) -> None:
        """Count from here."""
        self._totals = totals
        self._read_queue = read_queue
        self._interval_ns = round(interval_seconds * _SECOND_NS)
        self._due_ns = 0
        self._reported: dict[str, int] = {}
        self._units: dict[tuple[str, str], Totals[str]] = {}
        self._flows: Totals[tuple[Outcome, int]] = Totals()  # by outcome and protocol
        self._denied: Totals[Outcome] = Totals()

    def judged(self, ruling: Ruling) -> None:
        """Count the flows of a ruling for the unit that judged them; before they are reported."""
        if len(self._flows) >= _MAX_OUTCOMES:
            self._settle()
        self._flows[ruling.outcome, ruling.protocol] += ruling.count

    def denied(self, outcomes: Iterable[Outcome]) -> None:
        """Count packets of rejected flows for the units that judged those, by their outcomes."""
        if len(self._denied) >= _MAX_OUTCOMES:
            self._settle()
        self._denied.update(outcomes)

    def _settle(self) -> None:
        """Find out which counters belong to the judged flows and to the denied packets."""
        for (outcome, protocol), count in self._flows.items():
            unit = self._unit(outcome)
            unit["flows_rejected" if outcome.denied else "flows_accepted"] += count
            name = _trireme_name(outcome, protocol)
            if name:
                unit[name] += count
        for outcome, count in self._denied.items():
            self._unit(outcome)["REJECTEDPACKET"] += count
        self._flows.clear()
        self._denied.clear()

    def _unit(self, outcome: Outcome) -> Totals[str]:
        key = (outcome.record.namespace, outcome.record.context_id)
        unit = self._units.get(key)
        if unit is None:
            unit = self._units[key] = Totals()
        return unit

    def take_records(self, now_ns: int) -> list[Record]:
        """Give the reports, when it is time."""
        if not self._due_ns or self._due_ns - now_ns > self._interval_ns:  # the clock was set back
            self._due_ns = now_ns + self._interval_ns
        if now_ns < self._due_ns:
            return []
        self._due_ns = now_ns + self._interval_ns
        return self.take_all(now_ns)

    def take_all(self, now_ns: int) -> list[Record]:
        """Give the reports now."""
        self._settle()
        units, self._units = self._units, {}
        records: list[Record] = [
            CounterReport(
                namespace=namespace,
                context_id=context_id,
                counters=tuple(
                    Counter(name=name, value=counted[name])
                    for name in (*TRIREME_COUNTERS, *_UNIT_COUNTERS)
                ),
                timestamp_ns=now_ns,
            )
            for (namespace, context_id), counted in units.items()
        ]
        totals = {**self._totals, **self._read_queue()}
        values = {name: value - self._reported.get(name, 0) for name, value in totals.items()}
        self._reported = totals
        for name, ours in _SAME.items():
            values[name] = values.get(ours, 0)
        first = (*TRIREME_COUNTERS, *AGENT_COUNTERS)
        names = (*first, *sorted(values.keys() - set(first)))
        counters = tuple(Counter(name=name, value=values.get(name, 0)) for name in names)
        records.append(CounterReport(counters=counters, timestamp_ns=now_ns))
        return records


def _trireme_name(outcome: Outcome, protocol: int) -> str:
    """Name the counter of Trireme that a judgement belongs to, empty when there is none."""
    if not outcome.denied:
        return {TCP: "CONNECTIONSPROCESSED", UDP: "UDPCONNECTIONSPROCESSED"}.get(protocol, "")
    if outcome.record.drop_reason == FlowDropReason.INVALID_STATE:
        return "INVALIDCONNECTIONSTATE"
    if protocol == UDP:
        return "UDPSYNDROPPEDPOLICY"
    if protocol != TCP:
        return ""
    outward = outcome.direction is Direction.EGRESS
    external = outcome.server[1] is EndPointType.EXTERNAL_IP
    return "ACLSYNDROPPED" if outward and external else "SYNDROPPEDPOLICY"
