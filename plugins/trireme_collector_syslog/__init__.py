"""The collector ``syslog``: RFC 5424 or 3164 over unix sockets, UDP, TCP, TLS and RELP."""

from __future__ import annotations

from trireme_collector import CollectorSpec, Stability, hookimpl
from trireme_collector_syslog._options import SyslogOptions
from trireme_collector_syslog.collector import SyslogCollector

__all__ = ["SyslogCollector", "SyslogOptions", "trireme_register_collectors"]


@hookimpl
def trireme_register_collectors() -> list[CollectorSpec[SyslogOptions]]:
    """Offer the collector."""
    return [
        CollectorSpec(
            name="syslog",
            factory=lambda options, context: SyslogCollector(options, name=context.name),
            config_type=SyslogOptions,
            summary="Sends records as syslog messages over a unix socket, UDP, TCP, TLS or RELP.",
            stability=Stability.BETA,
        )
    ]
