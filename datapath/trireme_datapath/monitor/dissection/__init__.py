"""The packets in messages: what gopacket would say about them, layer by layer.

A packet begins with its Ethernet header. Every function here is total: any bytes give a result,
and what it costs is bounded by their number.
"""

from __future__ import annotations

from trireme_datapath.monitor.dissection._connection import (
    ConnectionInfo,
    connection_summary,
    get_connection_info,
    get_connection_summary,
)
from trireme_datapath.monitor.dissection._printing import crashes_upstream, dissect
from trireme_datapath.monitor.dissection._summary import (
    DissectSummary,
    Flow,
    get_dissect_summary,
)

__all__ = [
    "ConnectionInfo",
    "DissectSummary",
    "Flow",
    "connection_summary",
    "crashes_upstream",
    "dissect",
    "get_connection_info",
    "get_connection_summary",
    "get_dissect_summary",
]
