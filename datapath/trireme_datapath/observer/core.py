"""An observer: it sees every flow, keeps the last ones, and tells how it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from trireme_collector.formats import record_time_ns
from trireme_collector.records import FlowRecord
from trireme_datapath.observer.reader import FlowReader
from trireme_datapath.observer.ring import FlowRing
from trireme_datapath.observer.seen import (
    FLOW_MESSAGES,
    DroppedFlow,
    FlowMaker,
    LostEvents,
    SeenFlow,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from trireme_collector.records import PacketReport
    from trireme_datapath.observer.reader import FlowsRequest

__all__ = ["DEFAULT_MAX_FLOWS", "FlowObserver", "ObserverStatus"]

DEFAULT_MAX_FLOWS: Final = 4_095
_SECOND: Final = 1_000_000_000
_MINUTE_NS: Final = 60 * _SECOND
_NAMESPACE_NS: Final = 3_600 * _SECOND  # as long as Hubble remembers one
_MAX_NAMESPACES: Final = 1_024


class ObserverStatus(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How an observer is.

    Attributes:
        flows: Flows that are kept.
        max_flows: Flows that there is room for.
        seen: Flows that were seen since the start.
        lost: Events that were lost before they could be seen.
        unsound: Messages that no flow could be made of, as far as somebody looked.
        uptime_ns: How long it sees.
        flows_per_second: Over the last minute, or as far as it remembers.
    """

    flows: int
    max_flows: int
    seen: int
    lost: int
    unsound: int
    uptime_ns: int
    flows_per_second: float


class FlowObserver:
    """Keeps the last flows for whoever wants to read them.

    It never waits for a reader, and makes nothing of a flow that nobody reads. One thread may
    call `observe`, `observe_message` and `lost`; all may read.

    Args:
        node_name: The name of this host.
        start_ns: The time, nanoseconds since 1970 UTC.
        max_flows: How many flows to keep.

    Attributes:
        node_name: The same.
        ring: The flows.
        maker: Makes flows of what was seen.
        seen: Flows that were seen.
        lost_events: Events that were lost before they could be seen.
    """

    def __init__(
        self, node_name: str, start_ns: int, *, max_flows: int = DEFAULT_MAX_FLOWS
    ) -> None:
        """Start with nothing seen."""
        self.node_name = node_name
        self.ring = FlowRing(max_flows)
        self._start_ns = start_ns
        self.maker = FlowMaker(node_name, start_ns)
        self.seen = 0
        self.lost_events = 0
        self._lost_unsaid: dict[tuple[str, int | None], int] = {}
        self._lost_said_ns = 0
        self._namespaces: dict[str, int] = {}
        self._wake: Callable[[], None] | None = None

    def observe(self, record: FlowRecord | PacketReport, now_ns: int) -> None:
        """See a record; a denied flow is two events, the policy's verdict and the drop.

        Args:
            record: It.
            now_ns: The time, for records that do not say when.
        """
        time_ns = record_time_ns(record)
        self.seen += 1
        namespace = getattr(record, "namespace", "")
        if namespace:
            self._remember(namespace, now_ns)
        if time_ns is None:
            time_ns = now_ns
        self._write(SeenFlow(record, time_ns, self.maker), now_ns)
        if isinstance(record, FlowRecord) and record.action.rejected and not record.phase:
            self.seen += 1
            self._write(SeenFlow(DroppedFlow(record), time_ns, self.maker), now_ns)

    def observe_message(self, message: bytes, now_ns: int) -> None:
        """See a message of a Cilium datapath; those that tell of no flow are passed over."""
        if message and message[0] in FLOW_MESSAGES:
            self.seen += 1
            self._write(SeenFlow(message, now_ns, self.maker), now_ns)

    def lost(self, source: str, count: int, now_ns: int, *, cpu: int | None = None) -> None:
        """Note events that will not be seen; readers are told at most once a second.

        Args:
            source: Where, as ``flow.LostEventSource`` calls it.
            count: How many.
            now_ns: The time.
            cpu: On which processor.
        """
        if count <= 0:
            return
        self.lost_events += count
        key = source, cpu
        self._lost_unsaid[key] = self._lost_unsaid.get(key, 0) + count
        self._say_lost(now_ns)

    def read(self, request: FlowsRequest) -> FlowReader:
        """Begin to read.

        Raises:
            RequestError: The request cannot be honoured.
        """
        return FlowReader(self.ring, request)

    def wake_once(self, wake: Callable[[], None]) -> None:
        """Have something called, once, as soon as something was written.

        It is called by the thread that writes, which must not wait.
        """
        self._wake = wake

    def namespaces(self, now_ns: int) -> list[str]:
        """List the namespaces of the last hour."""
        return sorted(
            name
            for name, seen_ns in tuple(self._namespaces.items())
            if now_ns - seen_ns <= _NAMESPACE_NS
        )

    def status(self, now_ns: int) -> ObserverStatus:
        """Tell how it is."""
        return ObserverStatus(
            flows=len(self.ring),
            max_flows=self.ring.capacity,
            seen=self.seen,
            lost=self.lost_events,
            unsound=self.maker.unsound,
            uptime_ns=max(0, now_ns - self._start_ns),
            flows_per_second=self._rate(now_ns),
        )

    def _write(self, entry: SeenFlow | LostEvents, now_ns: int) -> None:
        if self._lost_unsaid and isinstance(entry, SeenFlow):
            self._say_lost(now_ns)
        self.ring.write(entry)
        wake = self._wake
        if wake is not None:
            self._wake = None
            wake()

    def _say_lost(self, now_ns: int) -> None:
        if now_ns - self._lost_said_ns < _SECOND:
            return
        self._lost_said_ns = now_ns
        unsaid, self._lost_unsaid = self._lost_unsaid, {}
        for (source, cpu), count in unsaid.items():
            self._write(LostEvents(source, count, now_ns, cpu), now_ns)

    def _remember(self, namespace: str, now_ns: int) -> None:
        known = self._namespaces
        if namespace not in known and len(known) >= _MAX_NAMESPACES:
            known.pop(next(iter(known)))
        known[namespace] = now_ns

    def _rate(self, now_ns: int) -> float:
        ring, count, since_ns = self.ring, 0, now_ns - _MINUTE_NS
        oldest_ns = now_ns
        for number in range(ring.next - 1, ring.oldest - 1, -1):
            entry = ring.get(number)
            if not isinstance(entry, SeenFlow):
                continue
            if entry.time_ns < since_ns:
                break
            oldest_ns = min(oldest_ns, entry.time_ns)
            count += 1
        else:
            # All that is there is younger: what was before was forgotten.
            if ring.oldest:
                since_ns = oldest_ns
        seconds = (now_ns - since_ns) / _SECOND
        return count / seconds if seconds > 0 else 0.0
