"""The collector ``otlp``: records as OpenTelemetry logs, over HTTP."""

from __future__ import annotations

from trireme_collector import CollectorSpec, Stability, hookimpl
from trireme_collector_otlp._options import OtlpOptions
from trireme_collector_otlp.collector import OtlpCollector

__all__ = ["OtlpCollector", "OtlpOptions", "trireme_register_collectors"]


@hookimpl
def trireme_register_collectors() -> list[CollectorSpec[OtlpOptions]]:
    """Offer the collector."""
    return [
        CollectorSpec(
            name="otlp",
            factory=lambda options, context: OtlpCollector(
                options, name=context.name, instance=context.instance, enrich=context.enrich
            ),
            config_type=OtlpOptions,
            summary="Exports records as OpenTelemetry logs over HTTP.",
            stability=Stability.BETA,
        )
    ]
