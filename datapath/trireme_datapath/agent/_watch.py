"""What others may know about a running agent: its metrics, and whether it enforces."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Protocol

from trireme_collector.metrics import HealthCheck, Metric, MetricKind, MetricSpec
from trireme_datapath.agent._loop_watch import LoopWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from trireme_collector.metrics import MetricsConfig, MetricSource
    from trireme_collector.pipeline import Pipeline
    from trireme_datapath.backends.netlink import QueueStatistics

__all__ = ["DATAPATH_METRICS", "AgentWatch", "Measured", "MeasuredQueue", "Revised"]

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


class AgentWatch(LoopWatch):
    """Measures an agent that judges packets.

    Args:
        config: Where that is served, if anywhere.
        pipeline: Where the agent's records go.
        engine: Who judges.
        clock: A clock that does not jump, nanoseconds.
        sources: What else is measured.

    Attributes:
        others: What else belongs to the health of the agent.

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
        super().__init__(config, pipeline, clock, sources)
        self._engine = engine
        self.others: list[Callable[[], Iterable[HealthCheck]]] = []
        self._backend: MeasuredQueue | None = None

    def start(self, backend: MeasuredQueue) -> None:
        """Answer from now on: packets are judged."""
        self._backend = backend
        self.answer()

    def close(self) -> None:
        """Answer nobody any more: the queue is given back."""
        self._backend = None
        super().close()

    def metrics(self) -> Iterator[Metric]:
        """Read the counters of the engine and of the queue."""
        # One copy: the engine counts on.
        counters = dict(self._engine.counters)
        yield Metric(_EVENTS, [((name,), value) for name, value in sorted(counters.items())])
        yield Metric(_POLICY, [((self._engine.policy.revision,), 1)])
        yield Metric(_IDLE, [((), self.idle_seconds)])
        backend = self._backend
        statistics = None if backend is None else backend.statistics()
        if statistics is not None:
            yield Metric(_WAITING, [((), statistics.waiting)])
            lost = [(("queue",), statistics.dropped), (("socket",), statistics.user_dropped)]
            yield Metric(_LOST, lost)

    def _checks(self) -> Iterator[HealthCheck]:
        held = self._backend is not None
        yield HealthCheck("queue", ok=held, detail="held" if held else "not held")
        for other in self.others:
            yield from other()
