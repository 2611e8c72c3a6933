"""What an observer counts, as metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trireme_collector.metrics import Metric, MetricKind, MetricSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trireme_datapath.observer.core import FlowObserver

__all__ = ["OBSERVER_METRICS", "ObserverCounts", "ObserverMetrics"]


class ObserverCounts:
    """What became of flows that clients asked for; written by the thread that serves them.

    Attributes:
        clients: Clients that read flows now.
        sent: Flows that were sent.
        missed: Flows that were overwritten before a client had read them.
    """

    __slots__ = ("clients", "missed", "sent")

    def __init__(self) -> None:
        """Start at zero."""
        self.clients = self.sent = self.missed = 0


_OF_OBSERVER: Final[tuple[tuple[MetricSpec, Callable[[FlowObserver], int]], ...]] = (
    (
        MetricSpec("trireme_observer_flows", MetricKind.GAUGE, "Flows that are kept."),
        lambda observer: len(observer.ring),
    ),
    (
        MetricSpec("trireme_observer_max_flows", MetricKind.GAUGE, "Flows that there is room for."),
        lambda observer: observer.ring.capacity,
    ),
    (
        MetricSpec("trireme_observer_flows_seen", MetricKind.COUNTER, "Flows that were seen."),
        lambda observer: observer.seen,
    ),
    (
        MetricSpec(
            "trireme_observer_events_lost",
            MetricKind.COUNTER,
            "Events that were lost before they could be seen.",
        ),
        lambda observer: observer.lost_events,
    ),
    (
        MetricSpec(
            "trireme_observer_messages_unsound",
            MetricKind.COUNTER,
            "Messages that no flow could be made of, as far as somebody looked.",
        ),
        lambda observer: observer.maker.unsound,
    ),
)
_OF_CLIENTS: Final[tuple[tuple[MetricSpec, Callable[[ObserverCounts], int]], ...]] = (
    (
        MetricSpec("trireme_observer_clients", MetricKind.GAUGE, "Clients that read flows now."),
        lambda counts: counts.clients,
    ),
    (
        MetricSpec(
            "trireme_observer_flows_sent", MetricKind.COUNTER, "Flows that were sent to clients."
        ),
        lambda counts: counts.sent,
    ),
    (
        MetricSpec(
            "trireme_observer_flows_missed",
            MetricKind.COUNTER,
            "Flows that were overwritten before a client had read them.",
        ),
        lambda counts: counts.missed,
    ),
)

OBSERVER_METRICS: Final = (
    *(spec for spec, _ in _OF_OBSERVER),
    *(spec for spec, _ in _OF_CLIENTS),
)
"""Every metric of an observer."""


class ObserverMetrics:
    """Measures an observer.

    Args:
        observer: Who sees the flows.
        counts: What became of those that clients asked for.
    """

    def __init__(self, observer: FlowObserver, counts: ObserverCounts) -> None:
        """Keep what is measured."""
        self._observer = observer
        self._counts = counts

    def metrics(self) -> Iterator[Metric]:
        """Read the counters."""
        for spec, read in _OF_OBSERVER:
            yield Metric(spec, [((), read(self._observer))])
        for spec, of_clients in _OF_CLIENTS:
            yield Metric(spec, [((), of_clients(self._counts))])
