"""Metrics in the forms that monitoring systems read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from trireme_collector.errors import MissingExtraError
from trireme_collector.metrics._model import MetricKind, bounded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from prometheus_client.metrics_core import Metric as PrometheusMetric
    from prometheus_client.registry import Collector

    from trireme_collector.metrics._model import HealthCheck, Metric, MetricSource

__all__ = ["Renderer", "render_health"]

_PLAIN: Final = "text/plain; version=0.0.4; charset=utf-8"


class Renderer:
    """Reads sources and writes what they say.

    Args:
        sources: What is measured.

    Raises:
        MissingExtraError: The package prometheus-client is not installed.
    """

    def __init__(self, sources: Sequence[MetricSource]) -> None:
        """Load the package; read nothing yet."""
        try:
            import prometheus_client.openmetrics.exposition as openmetrics  # noqa: PLC0415
            from prometheus_client import (  # noqa: PLC0415
                CollectorRegistry,
                generate_latest,
            )
        except ImportError as error:
            msg = (
                "[metrics] needs the package prometheus-client:"
                ' pip install "trireme-collector[metrics]", or take listen away'
            )
            raise MissingExtraError(msg) from error
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_bridge(sources))
        self._forms: dict[bool, tuple[str, Callable[[CollectorRegistry], bytes]]] = {
            True: (openmetrics.CONTENT_TYPE_LATEST, openmetrics.generate_latest),
            False: (_PLAIN, generate_latest),
        }

    def render(self, *, as_openmetrics: bool) -> tuple[str, bytes]:
        """Read all sources.

        Returns:
            The content type and the text, in OpenMetrics or in the older form of Prometheus.
        """
        content_type, generate = self._forms[as_openmetrics]
        return content_type, generate(self._registry)


def render_health(checks: Iterable[HealthCheck], *, vital_only: bool) -> tuple[bool, bytes]:
    """Sum up checks.

    Args:
        checks: What was looked at.
        vital_only: Whether only vital checks decide; otherwise those that are essential do.

    Returns:
        Whether all that decides is well, and a JSON object that says what was seen.
    """
    listed = list(checks)
    deciding = [one for one in listed if (one.vital if vital_only else one.essential)]
    ok = all(check.ok for check in deciding)
    well = all(check.ok for check in listed)
    body = {
        "version": 1,
        "status": "failing" if not ok else "ok" if well else "degraded",
        "checks": {check.name: {"ok": check.ok, "detail": check.detail} for check in listed},
    }
    return ok, msgspec.json.encode(body) + b"\n"


def _bridge(sources: Sequence[MetricSource]) -> Collector:
    from prometheus_client.registry import Collector  # noqa: PLC0415

    class Bridge(Collector):
        """Gives the values of the moment to the package."""

        def collect(self) -> Iterator[PrometheusMetric]:
            for source in sources:
                for metric in source.metrics():
                    yield _converted(bounded(metric))

    return Bridge()


def _converted(metric: Metric) -> PrometheusMetric:
    from prometheus_client.metrics_core import (  # noqa: PLC0415
        CounterMetricFamily,
        GaugeMetricFamily,
        InfoMetricFamily,
    )

    spec = metric.spec
    if spec.kind is MetricKind.INFO:
        info = InfoMetricFamily(spec.name, spec.help, labels=())
        for labels, _ in metric.samples:
            info.add_metric((), dict(zip(spec.labels, labels, strict=True)))
        return info
    if spec.kind is MetricKind.COUNTER:
        counter = CounterMetricFamily(spec.name, spec.help, labels=spec.labels)
        for labels, value in metric.samples:
            counter.add_metric(labels, value)
        return counter
    gauge = GaugeMetricFamily(spec.name, spec.help, labels=spec.labels)
    for labels, value in metric.samples:
        gauge.add_metric(labels, value)
    return gauge
