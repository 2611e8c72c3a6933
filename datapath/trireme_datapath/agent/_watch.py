"""What others may know about a running agent: its metrics, and whether it enforces."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Protocol

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
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from trireme_collector.metrics import MetricsConfig, MetricSource
    from trireme_collector.pipeline import Pipeline
    from trireme_datapath.backends.netlink import QueueStatistics

__all__ = ["DATAPATH_METRICS", "AgentWatch", "Measured", "MeasuredQueue", "Revised"]

_NANOSECONDS: Final = 1_000_000_000
_LONGEST_TURN_NS: Final = 10 * _NANOSECONDS  # a turn takes a second when nothing happens

_EVENTS: Final = MetricSpec(
    "trireme_engine_events", MetricKind.COUNTER, "What the engine did, by name.", ("event",)
)
_POLICY: Final = MetricSpec(
    "trireme_policy", MetricKind.INFO, "The policy that is in force.", ("revision",)
)
_IDLE: Final = MetricSpec(
    "trireme_loop_idle_seconds", MetricKind.GAUGE, "Time since the packet loop last turned."
)
_WAITING: Final = MetricSpec(
    "trireme_queue_waiting_packets", MetricKind.GAUGE, "Packets that wait in the kernel."
)
_LOST: Final = MetricSpec(
    "trireme_queue_dropped_packets",
    MetricKind.COUNTER,
    "Packets that the kernel dropped: `queue` was full, or the buffer of the `socket`.",
    ("full",),
)
DATAPATH_METRICS: Final = (_EVENTS, _POLICY, _IDLE, _WAITING, _LOST)
"""Every metric of the datapath."""


class Revised(Protocol):
    """What is told of a policy."""

    @property
    def revision(self) -> str:
        """Its revision."""
        ...


class Measured(Protocol):
    """What is told of an engine; perhaps it is in another process."""

    @property
    def counters(self) -> Mapping[str, int]:
        """What was done, by name."""
        ...

    @property
    def policy(self) -> Revised:
        """The policy in force."""
        ...


class MeasuredQueue(Protocol):
    """What is told of a queue."""

    def statistics(self) -> QueueStatistics | None:
        """Give the kernel's own counters, where they can be read."""
        ...


class AgentWatch:
    """Measures an agent and serves what it measured, if the configuration says where.

    Args:
        config: Where.
        pipeline: Where the agent's records go.
        engine: Who judges.
        clock: A clock that does not jump, nanoseconds.
        sources: What else is measured.

    Attributes:
        others: What else belongs to the health of the agent.
        spools: Who looks whether the disk serves the spools.

    Raises:
        MissingExtraError: The package for it is not installed.
    """

    def __init__(
        self,
        config: MetricsConfig,
        pipeline: Pipeline,
        engine: Measured,
        clock: Callable[[], int] = time.monotonic_ns,
        *,
        sources: Sequence[MetricSource] = (),
    ) -> None:
        """Build the server, if there is one; open nothing."""
        self._engine = engine
        self.others: list[Callable[[], Iterable[HealthCheck]]] = []
        self.spools = SpoolWatch(pipeline, clock)
        self._clock = clock
        self._backend: MeasuredQueue | None = None
        self._turned_ns = 0
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

    def start(self, backend: MeasuredQueue) -> None:
        """Answer from now on: packets are judged."""
        self._backend = backend
        self.turn()
        if self.server is not None:
            self.server.start()

    def turn(self) -> None:
        """Note that the packet loop turned."""
        self._turned_ns = self._clock()
        self.spools.turn()

    def close(self) -> None:
        """Answer nobody any more."""
        self._backend = None
        if self.server is not None:
            self.server.close()

    def metrics(self) -> Iterator[Metric]:
        """Read the counters of the engine and of the queue."""
        # One copy: the engine counts on.
        counters = dict(self._engine.counters)
        yield Metric(_EVENTS, [((name,), value) for name, value in sorted(counters.items())])
        yield Metric(_POLICY, [((self._engine.policy.revision,), 1)])
        yield Metric(_IDLE, [((), self._idle_ns() / _NANOSECONDS)])
        backend = self._backend
        statistics = None if backend is None else backend.statistics()
        if statistics is not None:
            yield Metric(_WAITING, [((), statistics.waiting)])
            lost = [(("queue",), statistics.dropped), (("socket",), statistics.user_dropped)]
            yield Metric(_LOST, lost)

    def health(self) -> Iterator[HealthCheck]:
        """Say whether packets are judged, and what else is not as it should be."""
        idle_ns = self._idle_ns()
        yield HealthCheck(
            "loop",
            ok=idle_ns < _LONGEST_TURN_NS,
            detail=f"turned {idle_ns / _NANOSECONDS:.1f} s ago",
            vital=True,
        )
        held = self._backend is not None
        yield HealthCheck("queue", ok=held, detail="held" if held else "not held")
        for other in self.others:
            yield from other()
        yield from self.spools.health()

    def _idle_ns(self) -> int:
        return max(0, self._clock() - self._turned_ns)
