"""The collector ``ipfix``: flows as IPFIX, over UDP or TCP."""

from __future__ import annotations

from trireme_collector import CollectorSpec, Stability, hookimpl
from trireme_collector_ipfix._options import IpfixOptions
from trireme_collector_ipfix.collector import IpfixCollector

__all__ = ["IpfixCollector", "IpfixOptions", "trireme_register_collectors"]


@hookimpl
def trireme_register_collectors() -> list[CollectorSpec[IpfixOptions]]:
    """Offer the collector."""
    return [
        CollectorSpec(
            name="ipfix",
            factory=lambda options, context: IpfixCollector(options, name=context.name),
            config_type=IpfixOptions,
            summary="Exports flows as IPFIX over UDP or TCP.",
            stability=Stability.BETA,
        )
    ]
