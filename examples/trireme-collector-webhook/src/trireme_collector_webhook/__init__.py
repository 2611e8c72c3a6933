"""The collector ``webhook`` of trireme-collector: rejected flows in a chat room."""

from __future__ import annotations

from trireme_collector import CollectorContext, CollectorSpec, Stability, hookimpl

from trireme_collector_webhook.collector import Options, WebhookCollector

__all__ = ["Options", "WebhookCollector", "trireme_register_collectors"]


def _build(options: Options, context: CollectorContext) -> WebhookCollector:
    return WebhookCollector(options, name=context.name)


@hookimpl
def trireme_register_collectors() -> list[CollectorSpec[Options]]:
    """Offer the collector."""
    return [
        CollectorSpec(
            name="webhook",
            factory=_build,
            config_type=Options,
            summary="Tells a chat room about rejected flows.",
            stability=Stability.EXPERIMENTAL,
        )
    ]
