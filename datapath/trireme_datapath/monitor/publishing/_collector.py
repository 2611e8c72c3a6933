"""The collector between a packet loop and its pipeline that lets others watch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trireme_datapath._showing_collector import ShowingCollector

if TYPE_CHECKING:
    from trireme_collector.collector import EventCollector
    from trireme_collector.records import FlowRecord, PacketReport
    from trireme_datapath.monitor.publishing._notifications import Notifier
    from trireme_datapath.monitor.publishing._server import MonitorServer

__all__ = ["PublishingCollector"]


class PublishingCollector(ShowingCollector):
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
        super().__init__(collector)
        self._notifier = notifier
        self._server = server

    def _show(self, record: FlowRecord | PacketReport) -> None:
        if self._server.watched:
            for message in self._notifier.messages(record):
                self._server.publish(message)
