"""The collector ``kafka``: one message for each record, acknowledged by every replica in sync."""

from __future__ import annotations

from trireme_collector import CollectorSpec, Stability, hookimpl
from trireme_collector_kafka._options import KafkaOptions
from trireme_collector_kafka.collector import KafkaCollector

__all__ = ["KafkaCollector", "KafkaOptions", "trireme_register_collectors"]


@hookimpl
def trireme_register_collectors() -> list[CollectorSpec[KafkaOptions]]:
    """Offer the collector."""
    return [
        CollectorSpec(
            name="kafka",
            factory=lambda options, context: KafkaCollector(
                options, name=context.name, enrich=context.enrich
            ),
            config_type=KafkaOptions,
            summary="Produces records, keyed by conversation, to a topic of Kafka.",
            stability=Stability.BETA,
        )
    ]
