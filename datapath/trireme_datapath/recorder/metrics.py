"""What a recorder counts, as metrics."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, Protocol

from trireme_collector.metrics import HealthCheck, Metric, MetricKind, MetricSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trireme_datapath.recorder._recording import RecordingStatistics
    from trireme_datapath.recorder.recorder import Recorder

__all__ = ["RECORDER_METRICS", "RecorderMetrics", "RecorderTotals"]


class RecorderTotals:
    """What all recordings of a recorder counted.

    Attributes:
        packets: Packets that were written.
        size: Their bytes, as far as they were kept.
        lost: Packets that were lost, by cause.
    """

    def __init__(self) -> None:
        """Start at zero."""
        self.packets = self.size = 0
        self.lost: Counter[str] = Counter()

    def add(self, statistics: RecordingStatistics, lost: Mapping[str, int]) -> None:
        """Add what one recording counted."""
        self.packets += statistics.packets_captured
        self.size += statistics.bytes_captured
        self.lost.update(lost)

    def copy(self) -> RecorderTotals:
        """Give the same, to add others to."""
        same = RecorderTotals()
        same.packets, same.size, same.lost = self.packets, self.size, self.lost.copy()
        return same


_RUNNING: Final = MetricSpec(
    "trireme_recorder_recordings_running", MetricKind.GAUGE, "Recordings that run."
)
_BEGUN: Final = MetricSpec(
    "trireme_recorder_recordings", MetricKind.COUNTER, "Recordings that were begun."
)
_ENDED: Final = MetricSpec(
    "trireme_recorder_recordings_ended",
    MetricKind.COUNTER,
    "Recordings that ended, by why.",
    ("reason",),
)
_REFUSED: Final = MetricSpec(
    "trireme_recorder_recordings_refused",
    MetricKind.COUNTER,
    "Recordings that could not begin, by why.",
    ("reason",),
)
_PACKETS: Final = MetricSpec(
    "trireme_recorder_packets", MetricKind.COUNTER, "Packets that were written to files."
)
_BYTES: Final = MetricSpec(
    "trireme_recorder_bytes", MetricKind.COUNTER, "Bytes of those packets, as far as they are kept."
)
_LOST: Final = MetricSpec(
    "trireme_recorder_packets_lost",
    MetricKind.COUNTER,
    "Packets that fitted and were lost, by where: `kernel`, `agent` or `disk`.",
    ("cause",),
)
_CLIENTS: Final = MetricSpec(
    "trireme_recorder_clients", MetricKind.GAUGE, "Calls of clients that are open."
)

RECORDER_METRICS: Final = (
    _RUNNING,
    _BEGUN,
    _ENDED,
    _REFUSED,
    _PACKETS,
    _BYTES,
    _LOST,
    _CLIENTS,
)
"""Every metric of a recorder."""


class _Clients(Protocol):
    @property
    def clients(self) -> int:
        """Calls that are open."""
        ...

    @property
    def refused(self) -> Counter[str]:
        """Recordings that could not begin, by why."""
        ...


class RecorderMetrics:
    """Measures a recorder.

    Args:
        recorder: The recorder.
        clients: Who serves clients.
    """

    def __init__(self, recorder: Recorder, clients: _Clients) -> None:
        """Keep what is measured."""
        self._recorder = recorder
        self._clients = clients

    def metrics(self) -> Iterator[Metric]:
        """Read the counters."""
        recorder = self._recorder
        totals = recorder.totals()
        yield Metric(_RUNNING, [((), len(recorder.active))])
        yield Metric(_BEGUN, [((), recorder.begun)])
        for spec, counted in ((_ENDED, recorder.ended), (_REFUSED, self._clients.refused)):
            # One copy: others count on.
            yield Metric(spec, [((name,), count) for name, count in sorted(dict(counted).items())])
        yield Metric(_PACKETS, [((), totals.packets)])
        yield Metric(_BYTES, [((), totals.size)])
        yield Metric(_LOST, [((cause,), count) for cause, count in sorted(totals.lost.items())])
        yield Metric(_CLIENTS, [((), self._clients.clients)])

    def health(self) -> Iterator[HealthCheck]:
        """Say whether there is room to record."""
        free = self._recorder.store.has_space()
        yield HealthCheck("space", ok=free, detail="enough" if free else "less than min_free_bytes")
