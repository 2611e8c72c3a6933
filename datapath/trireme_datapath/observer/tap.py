"""The collector between a packet loop and its pipeline that shows flows to an observer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from trireme_datapath._showing_collector import ShowingCollector

if TYPE_CHECKING:
    from collections.abc import Callable

    from trireme_collector.collector import EventCollector
    from trireme_collector.records import FlowRecord, PacketReport
    from trireme_datapath.observer.core import FlowObserver

__all__ = ["ObservingCollector"]


class ObservingCollector(ShowingCollector):
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
        super().__init__(collector)
        self._observer = observer
        self._clock = clock

    def _show(self, record: FlowRecord | PacketReport) -> None:
        self._observer.observe(record, self._clock())
