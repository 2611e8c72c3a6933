"""The collector between a packet loop and its pipeline that shows flows to an observer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from trireme_collector.collector import COLLECT_METHODS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trireme_collector.collector import EventCollector
    from trireme_collector.records import (
        ContainerRecord,
        CounterReport,
        DNSRequestReport,
        FlowRecord,
        PacketReport,
        PingReport,
        UserRecord,
    )
    from trireme_datapath.observer.core import FlowObserver

__all__ = ["ObservingCollector"]


class ObservingCollector:
    """Hands every record on, and shows those about flows and packets to an observer.

    Args:
        collector: Who gets the records.
        observer: Who sees them.
        clock: The time, nanoseconds since 1970 UTC.
    """

    def __init__(
        self,
        collector: EventCollector,
        observer: FlowObserver,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Stand in front of `collector`."""
        self._collector = collector
        self._observer = observer
        self._clock = clock
        # Not every collector has the methods for all records: those that it has are its own.
        for name in COLLECT_METHODS.values():
            if not hasattr(self, name) and hasattr(collector, name):
                setattr(self, name, getattr(collector, name))

    def collect_flow_event(self, record: FlowRecord) -> None:
        """Hand a flow on, and show it."""
        self._collector.collect_flow_event(record)
        self._observer.observe(record, self._clock())

    def collect_packet_event(self, report: PacketReport) -> None:
        """Hand a packet on, and show it."""
        self._collector.collect_packet_event(report)
        self._observer.observe(report, self._clock())

    def collect_container_event(self, record: ContainerRecord) -> None:
        """Hand it on."""
        self._collector.collect_container_event(record)

    def collect_user_event(self, record: UserRecord) -> None:
        """Hand it on."""
        self._collector.collect_user_event(record)

    def collect_trace_event(self, records: Sequence[str]) -> None:
        """Hand it on."""
        self._collector.collect_trace_event(records)

    def collect_counter_event(self, counter_report: CounterReport) -> None:
        """Hand it on."""
        self._collector.collect_counter_event(counter_report)

    def collect_dns_requests(self, request: DNSRequestReport) -> None:
        """Hand it on."""
        self._collector.collect_dns_requests(request)

    def collect_ping_event(self, report: PingReport) -> None:
        """Hand it on."""
        self._collector.collect_ping_event(report)
