"""The collector ``loki``: records as lines in streams, pushed to Grafana Loki."""

from __future__ import annotations

from trireme_collector import CollectorSpec, Stability, hookimpl
from trireme_collector_loki._options import LokiOptions
from trireme_collector_loki.collector import LokiCollector

__all__ = ["LokiCollector", "LokiOptions", "trireme_register_collectors"]


@hookimpl
def trireme_register_collectors() -> list[CollectorSpec[LokiOptions]]:
    """Offer the collector."""
    return [
        CollectorSpec(
            name="loki",
            factory=lambda options, context: LokiCollector(
                options, name=context.name, enrich=context.enrich
            ),
            config_type=LokiOptions,
            summary="Pushes flow logs, or all records, to Grafana Loki.",
            stability=Stability.BETA,
        )
    ]
