"""The collector for those who choose none: it reports to syslog.

Upstream's default collector promised syslog in its comment and did nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trireme_collector._host_name import host_name
from trireme_collector.delivery import DeliveryConfig
from trireme_collector.pipeline import Pipeline
from trireme_collector.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trireme_collector.aggregation import AggregationConfig
    from trireme_collector.delivery import Clock

__all__ = ["DefaultCollector", "new_default_collector"]


class DefaultCollector(Pipeline):
    """A pipeline whose only collector is syslog.

    Args:
        options: Options of the syslog collector; by default it writes to ``/dev/log``.
        registry: Where the syslog collector comes from; the installed plugins by default.
        aggregation: How flows are merged.
        delivery: What stands around the collector.
        instance: The name of the agent in the records; the host name by default.
        clock: Where the time comes from.
        threads: Whether `start` runs threads. Without them the owner calls `tick`.

    Raises:
        ConfigError: The options are wrong.
        PluginError: The syslog collector is not installed, or broken.
    """

    def __init__(
        self,
        options: Mapping[str, object] | None = None,
        *,
        registry: Registry | None = None,
        aggregation: AggregationConfig | None = None,
        delivery: DeliveryConfig | None = None,
        instance: str = "",
        clock: Clock | None = None,
        threads: bool = True,
    ) -> None:
        """Build the syslog collector and the pipeline around it; start nothing."""
        # What reads options takes long to import: see `trireme_collector.pipeline`.
        from trireme_collector._pipeline_build import build_collectors  # noqa: PLC0415  see above

        instance = instance or host_name()
        collectors, deliveries, filters = build_collectors(
            {"syslog": {**(options or {}), "type": "syslog"}},
            registry or Registry(),
            instance=instance,
            delivery=delivery or DeliveryConfig(),
        )
        super().__init__(
            collectors,
            aggregation=aggregation,
            delivery=deliveries,
            filters=filters,
            instance=instance,
            clock=clock,
            threads=threads,
        )


def new_default_collector(
    options: Mapping[str, object] | None = None, *, registry: Registry | None = None
) -> DefaultCollector:
    """Give a default collector that is started; `Pipeline.close` it at the end.

    Args:
        options: Options of the syslog collector; by default it writes to ``/dev/log``.
        registry: Where the syslog collector comes from; the installed plugins by default.
    """
    collector = DefaultCollector(options, registry=registry)
    collector.start()
    return collector
