"""What others may know about an agent that reads a monitor socket."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from trireme_collector.metrics import (
    HealthCheck,
    Metric,
    MetricKind,
    MetricSpec,
    MetricsServer,
    PipelineMetrics,
    SpoolWatch,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from trireme_collector.metrics import MetricsConfig, MetricSource
    from trireme_collector.pipeline import Pipeline
    from trireme_datapath.agent._monitor_feed import MonitorFeed
    from trireme_datapath.monitor.sources import MonitorSocket

__all__ = ["MONITOR_METRICS", "MonitorWatch"]

_NANOSECONDS: Final = 1_000_000_000
_LONGEST_TURN_NS: Final = 10 * _NANOSECONDS  # a turn takes a second when nothing happens

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


class MonitorWatch:
    """Measures such an agent and serves what it measured, if the configuration says where.

    Args:
        config: Where.
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
        self._feed = feed
        self._source = source
        self._clock = clock
        self._turned_ns = 0
        self._spools = SpoolWatch(pipeline, clock)
        self.server: MetricsServer | None = None
        if config.listen:
            account = PipelineMetrics(pipeline)
            self.server = MetricsServer(config, (account, self, *sources), (self, account))

    def open(self) -> None:
        """Listen; nobody is answered yet.

        Raises:
            ConfigError: The address is in use, or not allowed.
        """
        if self.server is not None:
            self.server.open()

    def start(self) -> None:
        """Answer from now on."""
        self.turn()
        if self.server is not None:
            self.server.start()

    def turn(self) -> None:
        """Note that the loop turned."""
        self._turned_ns = self._clock()
        self._spools.turn()

    def close(self) -> None:
        """Answer nobody any more."""
        if self.server is not None:
            self.server.close()

    def metrics(self) -> Iterator[Metric]:
        """Read the counters."""
        both = (_EVENTS, self._feed.counters), (_SOURCE, self._source.counters)
        for spec, counters in both:
            rows = sorted(dict(counters).items())
            yield Metric(spec, [((name,), value) for name, value in rows])

    def health(self) -> Iterator[HealthCheck]:
        """Say whether messages are read."""
        idle_ns = max(0, self._clock() - self._turned_ns)
        yield HealthCheck(
            "loop",
            ok=idle_ns < _LONGEST_TURN_NS,
            detail=f"turned {idle_ns / _NANOSECONDS:.1f} s ago",
            vital=True,
        )
        connected = self._source.connected
        yield HealthCheck(
            "monitor", ok=connected, detail="connected" if connected else "not connected"
        )
        yield from self._spools.health()
