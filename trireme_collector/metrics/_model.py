"""What is measured, before it takes the form of any protocol."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "MAX_SERIES",
    "HealthCheck",
    "HealthSource",
    "Metric",
    "MetricKind",
    "MetricSource",
    "MetricSpec",
    "bounded",
]

MAX_SERIES: Final = 1000
"""A metric has no more series: the others become one, whose labels are all `OTHER`."""
OTHER: Final = "(other)"


class MetricKind(enum.StrEnum):
    """How a value may change."""

    COUNTER = "counter"
    GAUGE = "gauge"
    INFO = "info"


class MetricSpec(NamedTuple):
    """What a metric is.

    Attributes:
        name: Its name, without what the form adds to counters and infos.
        kind: How its values may change.
        help: What it means, in one sentence.
        labels: What its series are told apart by.
    """

    name: str
    kind: MetricKind
    help: str
    labels: tuple[str, ...] = ()

    @property
    def exposed_name(self) -> str:
        """The name that queries use."""
        suffix = {MetricKind.COUNTER: "_total", MetricKind.INFO: "_info"}.get(self.kind, "")
        return self.name + suffix


class Metric(NamedTuple):
    """A metric and its values now.

    Attributes:
        spec: What it is.
        samples: The values of the labels, and the value.
    """

    spec: MetricSpec
    samples: Sequence[tuple[tuple[str, ...], float]]


class HealthCheck(NamedTuple):
    """One thing that is as it should be, or not.

    Attributes:
        name: What was looked at.
        ok: Whether it is as it should be.
        detail: What was seen, in a few words; never a secret, never text from the network.
        vital: Whether a restart is the remedy: the process does nothing useful like this.
        essential: Whether it harms readiness; what does not is *degraded*, and packets are judged.
    """

    name: str
    ok: bool
    detail: str = ""
    vital: bool = False
    essential: bool = True


class MetricSource(Protocol):
    """Something that is measured. Called by the thread of the server."""

    def metrics(self) -> Iterable[Metric]:
        """Read the values; quickly, and without holding up what is measured."""
        ...


class HealthSource(Protocol):
    """Something that knows whether it works. Called by the thread of the server."""

    def health(self) -> Iterable[HealthCheck]:
        """Look; quickly, and without holding up what is looked at."""
        ...


def bounded(metric: Metric) -> Metric:
    """Keep a metric within `MAX_SERIES`: the values of the others are added up in one."""
    samples = metric.samples
    if len(samples) <= MAX_SERIES:
        return metric
    kept = list(samples[: MAX_SERIES - 1])
    rest = sum(value for _, value in samples[MAX_SERIES - 1 :])
    return Metric(metric.spec, [*kept, ((OTHER,) * len(metric.spec.labels), rest)])
