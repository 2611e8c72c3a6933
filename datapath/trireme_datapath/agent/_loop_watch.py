"""Whether the loop of an agent turns, told to others with whatever else is measured of it."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Final

from trireme_collector.metrics import HealthCheck, MetricsServer, PipelineMetrics, SpoolWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from trireme_collector.metrics import Metric, MetricsConfig, MetricSource
    from trireme_collector.pipeline import Pipeline

__all__ = ["LoopWatch"]

_NANOSECONDS: Final = 1_000_000_000
_LONGEST_TURN_SECONDS: Final = 10.0  # a turn takes a second when nothing happens


class LoopWatch(abc.ABC):
    """Measures an agent and serves what it measured, if the configuration says where.

    Args:
        config: Where.
        pipeline: Where the agent's records go.
        clock: A clock that does not jump, nanoseconds.
        sources: What else is measured.

    Attributes:
        server: Who serves it.
        spools: Who looks whether the disk serves the spools.

    Raises:
        MissingExtraError: The package for it is not installed.
    """

    def __init__(
        self,
        config: MetricsConfig,
        pipeline: Pipeline,
        clock: Callable[[], int],
        sources: Sequence[MetricSource],
    ) -> None:
        """Build the server, if there is one; open nothing."""
        self.spools = SpoolWatch(pipeline, clock)
        self._clock = clock
        self._turned_ns = 0
        self.server: MetricsServer | None = None
        if config.listen:
            account = PipelineMetrics(pipeline)
            self.server = MetricsServer(config, (account, self, *sources), (self, account))

    @abc.abstractmethod
    def metrics(self) -> Iterator[Metric]:
        """Read what is counted."""

    @abc.abstractmethod
    def _checks(self) -> Iterable[HealthCheck]:
        """Say what else is as it should be, or is not."""

    @property
    def idle_seconds(self) -> float:
        """Time since the loop last turned."""
        return max(0, self._clock() - self._turned_ns) / _NANOSECONDS

    def open(self) -> None:
        """Listen; nobody is answered yet.

        Raises:
            ConfigError: The address is in use, or not allowed.
        """
        if self.server is not None:
            self.server.open()

    def answer(self) -> None:
        """Answer from now on: the loop turns."""
        self.turn()
        if self.server is not None:
            self.server.start()

    def turn(self) -> None:
        """Note that the loop turned."""
        self._turned_ns = self._clock()
        self.spools.turn()

    def close(self) -> None:
        """Answer nobody any more."""
        if self.server is not None:
            self.server.close()

    def health(self) -> Iterator[HealthCheck]:
        """Say whether the loop turns, and whatever else is looked at."""
        idle_seconds = self.idle_seconds
        yield HealthCheck(
            "loop",
            ok=idle_seconds < _LONGEST_TURN_SECONDS,
            detail=f"turned {idle_seconds:.1f} s ago",
            vital=True,
        )
        yield from self._checks()
        yield from self.spools.health()
