"""The collector ``console``: one line per record, for people."""

from __future__ import annotations

from trireme_collector import CollectorSpec, Stability, hookimpl
from trireme_collector_console._options import Color, ConsoleOptions, Stream
from trireme_collector_console.collector import ConsoleCollector

__all__ = ["Color", "ConsoleCollector", "ConsoleOptions", "Stream", "trireme_register_collectors"]


@hookimpl
def trireme_register_collectors() -> list[CollectorSpec[ConsoleOptions]]:
    """Offer the collector."""
    return [
        CollectorSpec(
            name="console",
            factory=lambda options, context: ConsoleCollector(options, name=context.name),
            config_type=ConsoleOptions,
            summary="Prints records to the terminal, one aligned line each.",
            stability=Stability.BETA,
        )
    ]
