"""The collector between a packet loop and its pipeline that shows what passes to somebody else."""

from __future__ import annotations

import abc
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

__all__ = ["ShowingCollector"]


class ShowingCollector(abc.ABC):
    """Hands every record on, and then shows those about flows and packets.

    Args:
        collector: Who gets the records.
    """

    def __init__(self, collector: EventCollector) -> None:
        """Stand in front of `collector`."""
        self._collector = collector
        # Not every collector has the methods for all records: those that it has are its own.
        for name in COLLECT_METHODS.values():
            if not hasattr(self, name) and hasattr(collector, name):
                setattr(self, name, getattr(collector, name))

    @abc.abstractmethod
    def _show(self, record: FlowRecord | PacketReport) -> None:
        """Show what was handed on."""

    def collect_flow_event(self, record: FlowRecord) -> None:
        """Hand a flow on, and show it."""
        self._collector.collect_flow_event(record)
        self._show(record)

    def collect_packet_event(self, report: PacketReport) -> None:
        """Hand a packet on, and show it."""
        self._collector.collect_packet_event(report)
        self._show(report)

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
