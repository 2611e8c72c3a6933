"""Our own decisions as notifications on a socket, for whoever attaches to a running agent."""

from __future__ import annotations

from trireme_datapath.monitor.publishing._collector import PublishingCollector
from trireme_datapath.monitor.publishing._endpoints import (
    FIRST_IDENTITY,
    WORLD_IDENTITY,
    EndpointNumbers,
)
from trireme_datapath.monitor.publishing._notifications import Notifier, drop_code
from trireme_datapath.monitor.publishing._server import MonitorServer

__all__ = [
    "FIRST_IDENTITY",
    "WORLD_IDENTITY",
    "EndpointNumbers",
    "MonitorServer",
    "Notifier",
    "PublishingCollector",
    "drop_code",
]
