"""Finds processing units on this host: its named network namespaces and its control groups."""

from __future__ import annotations

from trireme_collector_host.discoverer import (
    HostDiscoverer,
    HostOptions,
    trireme_register_discoverers,
)

__all__ = ["HostDiscoverer", "HostOptions", "trireme_register_discoverers"]
