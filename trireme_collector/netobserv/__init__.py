"""Flow logs and conversations in the JSON format of NetObserv."""

from __future__ import annotations

from trireme_collector.netobserv._config import default_tracking_config
from trireme_collector.netobserv._hash import Numbers, UnencodableError, conversation_hash
from trireme_collector.netobserv._line_tracker import LineTracker
from trireme_collector.netobserv._table import DEFAULT_MAX_CONVERSATIONS
from trireme_collector.netobserv._tracker import Tracker

__all__ = [
    "DEFAULT_MAX_CONVERSATIONS",
    "LineTracker",
    "Numbers",
    "Tracker",
    "UnencodableError",
    "conversation_hash",
    "default_tracking_config",
]
