"""What others may know about an agent that reads a monitor socket."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from trireme_collector.metrics import HealthCheck, Metric, MetricKind, MetricSpec
from trireme_datapath.agent._loop_watch import LoopWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from trireme_collector.metrics import MetricsConfig, MetricSource
    from trireme_collector.pipeline import Pipeline
    from trireme_datapath.agent._monitor_feed import MonitorFeed
    from trireme_datapath.monitor.sources import MonitorSocket

__all__ = ["MONITOR_METRICS", "MonitorWatch"]

_EVENTS: Final = MetricSpec(
    "trireme_monitor_events",
    MetricKind.COUNTER,
    "What became of the messages of a Cilium node, by name.",
    ("event",),
)
_SOURCE: Final = MetricSpec(
    "trireme_monitor_source_events",
    MetricKind.COUNTER,
    "Connections to the monitor socket, and what went wrong with them, by name.",
    ("event",),
)
MONITOR_METRICS: Final = (_EVENTS, _SOURCE)
"""Every metric of an agent that reads a monitor socket."""


class MonitorWatch(LoopWatch):
    """Measures such an agent.

    Args:
        config: Where that is served, if anywhere.
        pipeline: Where the agent's records go.
        feed: Who makes them.
        source: Where the messages come from.
        clock: A clock that does not jump, nanoseconds.
        sources: What else is measured.

    Raises:
        MissingExtraError: The package for it is not installed.
    """

    def __init__(
        self,
        config: MetricsConfig,
        pipeline: Pipeline,
        feed: MonitorFeed,
        source: MonitorSocket,
        clock: Callable[[], int] = time.monotonic_ns,
        *,
        sources: Sequence[MetricSource] = (),
    ) -> None:
        """Build the server, if there is one; open nothing."""
        super().__init__(config, pipeline, clock, sources)
        self._feed = feed
        self._source = source

    def metrics(self) -> Iterator[Metric]:
        """Read the counters."""
        both = (_EVENTS, self._feed.counters), (_SOURCE, self._source.counters)
        for spec, counters in both:
            rows = sorted(dict(counters).items())
            yield Metric(spec, [((name,), value) for name, value in rows])

    def _checks(self) -> Iterator[HealthCheck]:
        connected = self._source.connected
        yield HealthCheck(
            "monitor", ok=connected, detail="connected" if connected else "not connected"
        )
