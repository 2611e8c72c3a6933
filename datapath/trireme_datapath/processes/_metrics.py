"""What is measured of the processes of an agent, besides what is measured of any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trireme_collector.metrics import HealthCheck, Metric, MetricKind, MetricSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trireme_datapath.processes._collector_messages import Feed

__all__ = ["PROCESS_METRICS", "ProcessMetrics"]

_RUNNING: Final = MetricSpec(
    "trireme_process_running", MetricKind.GAUGE, "1 while the process is there.", ("process",)
)
_DEATHS: Final = MetricSpec(
    "trireme_process_deaths",
    MetricKind.COUNTER,
    "How often a process had to be replaced because it ended, or hung.",
    ("process",),
)
_POLICY: Final = MetricSpec(
    "trireme_process_policy",
    MetricKind.INFO,
    "The policy that each process judges by.",
    ("process", "revision"),
)
_CROSSING: Final = MetricSpec(
    "trireme_crossing_records",
    MetricKind.COUNTER,
    "Records between the processes that judge and the collectors, by what became of them.",
    ("fate",),
)
_SETTLED: Final = MetricSpec(
    "trireme_queue_settled_packets",
    MetricKind.COUNTER,
    "Packets that a process had received when it died.",
)
PROCESS_METRICS: Final = (_RUNNING, _DEATHS, _POLICY, _CROSSING, _SETTLED)
"""Every metric of a tree of processes."""

_RESERVE: Final = "enforcer in reserve"


class ProcessMetrics:
    """Measures a tree of processes, as the supervisor tells it."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._feed: Feed | None = None

    def take(self, feed: Feed) -> None:
        """Know what the supervisor tells."""
        self._feed = feed

    def health(self) -> Iterator[HealthCheck]:
        """Give what only the supervisor can know."""
        for one in () if self._feed is None else self._feed.health:
            yield HealthCheck(one.name, one.ok, one.detail, one.vital, one.essential)

    def metrics(self) -> Iterator[Metric]:
        """Give what it told last."""
        feed = self._feed
        if feed is None:
            return
        posts = [one for one in feed.processes if one.name != _RESERVE]
        yield Metric(_RUNNING, [((one.name,), float(one.pid > 0)) for one in posts])
        yield Metric(_DEATHS, [((one.name,), one.deaths) for one in posts])
        judging = [one for one in posts if one.policy_revision]
        yield Metric(_POLICY, [((one.name, one.policy_revision), 1) for one in judging])
        crossing = feed.crossing
        fates = ("made", "dropped", "sent", "taken", "lost")
        yield Metric(_CROSSING, [((fate,), getattr(crossing, fate)) for fate in fates])
        yield Metric(_SETTLED, [((), feed.settled)])
