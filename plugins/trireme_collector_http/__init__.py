"""The collector ``http``: batches of records, posted as JSON."""

from __future__ import annotations

from trireme_collector import CollectorSpec, Stability, hookimpl
from trireme_collector_http._options import HttpOptions
from trireme_collector_http.collector import HttpCollector

__all__ = ["HttpCollector", "HttpOptions", "trireme_register_collectors"]


@hookimpl
def trireme_register_collectors() -> list[CollectorSpec[HttpOptions]]:
    """Offer the collector."""
    return [
        CollectorSpec(
            name="http",
            factory=lambda options, context: HttpCollector(
                options, name=context.name, enrich=context.enrich
            ),
            config_type=HttpOptions,
            summary="Posts batches of records as JSON to an HTTP server.",
            stability=Stability.BETA,
        )
    ]
