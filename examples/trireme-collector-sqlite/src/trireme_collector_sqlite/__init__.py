"""The collector ``sqlite`` of trireme-collector: flows in a database."""

from __future__ import annotations

from trireme_collector import CollectorContext, CollectorSpec, Stability, hookimpl

from trireme_collector_sqlite.collector import Options, SqliteCollector

__all__ = ["Options", "SqliteCollector", "trireme_register_collectors"]


def _build(options: Options, context: CollectorContext) -> SqliteCollector:
    return SqliteCollector(options, name=context.name)


@hookimpl
def trireme_register_collectors() -> list[CollectorSpec[Options]]:
    """Offer the collector."""
    return [
        CollectorSpec(
            name="sqlite",
            factory=_build,
            config_type=Options,
            summary="Keeps flow records in an SQLite database.",
            stability=Stability.EXPERIMENTAL,
        )
    ]
