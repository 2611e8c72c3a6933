"""The kernel's connection tracking: what it says about connections, and what it is asked."""

from __future__ import annotations

from trireme_datapath.kernel.conntrack._messages import (
    DELETE_MESSAGE,
    NEW_MESSAGE,
    Connection,
    ConnectionKind,
    ConnectionStatus,
    ConnectionTuple,
    Control,
    Counters,
    TcpState,
    messages,
    parse_connection,
)
from trireme_datapath.kernel.conntrack._requests import delete_request, dump_request
from trireme_datapath.kernel.conntrack._rows import ConnectionRow, RowReader, row_of
from trireme_datapath.kernel.conntrack._settings import enable_accounting
from trireme_datapath.kernel.conntrack._sockets import (
    DEFAULT_EVENT_BUFFER_BYTES,
    ConnectionEvents,
    ConnectionTable,
    Listing,
)
from trireme_datapath.kernel.conntrack._tracker import (
    ConnectionTracker,
    FollowsConnections,
    TrackerSettings,
    is_local_address,
)

__all__ = [
    "DEFAULT_EVENT_BUFFER_BYTES",
    "DELETE_MESSAGE",
    "NEW_MESSAGE",
    "Connection",
    "ConnectionEvents",
    "ConnectionKind",
    "ConnectionRow",
    "ConnectionStatus",
    "ConnectionTable",
    "ConnectionTracker",
    "ConnectionTuple",
    "Control",
    "Counters",
    "FollowsConnections",
    "Listing",
    "RowReader",
    "TcpState",
    "TrackerSettings",
    "delete_request",
    "dump_request",
    "enable_accounting",
    "is_local_address",
    "messages",
    "parse_connection",
    "row_of",
]
