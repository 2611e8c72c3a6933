"""The collector between a packet loop and its pipeline that lets others watch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trireme_collector.collector import COLLECT_METHODS

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    from trireme_datapath.monitor.publishing._notifications import Notifier
    from trireme_datapath.monitor.publishing._server import MonitorServer

__all__ = ["PublishingCollector"]


class PublishingCollector:
    """Hands every record on, and publishes those about flows and packets if anybody watches.

    Args:
        collector: Who gets the records.
        notifier: Makes messages of them.
        server: Who publishes the messages.
    """

    def __init__(
        self, collector: EventCollector, notifier: Notifier, server: MonitorServer
    ) -> None:
        """Stand in front of `collector`."""
        self._collector = collector
        self._notifier = notifier
        self._server = server
        # Not every collector has the methods for all records: those that it has are its own.
        for name in COLLECT_METHODS.values():
            if not hasattr(self, name) and hasattr(collector, name):
                setattr(self, name, getattr(collector, name))

    def collect_flow_event(self, record: FlowRecord) -> None:
        """Hand a flow on, and publish it."""
        self._collector.collect_flow_event(record)
        self._publish(record)

    def collect_packet_event(self, report: PacketReport) -> None:
        """Hand a packet on, and publish it."""
        self._collector.collect_packet_event(report)
        self._publish(report)

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

    def _publish(self, record: FlowRecord | PacketReport) -> None:
        if self._server.watched:
            for message in self._notifier.messages(record):
                self._server.publish(message)
