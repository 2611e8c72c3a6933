"""Flow logs and conversations in the JSON format of NetObserv."""

from __future__ import annotations

from trireme_collector.netobserv._config import Profile, default_tracking_config
from trireme_collector.netobserv._enrichment import DEFAULT_INFRASTRUCTURE, Enricher
from trireme_collector.netobserv._flags import FLAG_NAMES, flag_names
from trireme_collector.netobserv._flow import FLOW_FIELDS, LABELS, SEED_FIELDS, Flow
from trireme_collector.netobserv._handover import ConversationState
from trireme_collector.netobserv._hash import Numbers, UnencodableError, conversation_hash
from trireme_collector.netobserv._line_tracker import LineTracker
from trireme_collector.netobserv._lookup_cache import KubernetesObject, ObjectLookup
from trireme_collector.netobserv._partition import Following, PartitionConversations
from trireme_collector.netobserv._reader import DEFAULT_MAX_LINE_BYTES, FlowReader, UnknownFields
from trireme_collector.netobserv._records import flows_from_record, record_from_flow
from trireme_collector.netobserv._shared_conversations import SharedConversations, Totals
from trireme_collector.netobserv._stream import ConversationStream
from trireme_collector.netobserv._table import DEFAULT_MAX_CONVERSATIONS
from trireme_collector.netobserv._tracker import Tracker
from trireme_collector.netobserv._writer import encode_flow, flow_fields, in_order

__all__ = [
    "DEFAULT_INFRASTRUCTURE",
    "DEFAULT_MAX_CONVERSATIONS",
    "DEFAULT_MAX_LINE_BYTES",
    "FLAG_NAMES",
    "FLOW_FIELDS",
    "LABELS",
    "SEED_FIELDS",
    "ConversationState",
    "ConversationStream",
    "Enricher",
    "Flow",
    "FlowReader",
    "Following",
    "KubernetesObject",
    "LineTracker",
    "Numbers",
    "ObjectLookup",
    "PartitionConversations",
    "Profile",
    "SharedConversations",
    "Totals",
    "Tracker",
    "UnencodableError",
    "UnknownFields",
    "conversation_hash",
    "default_tracking_config",
    "encode_flow",
    "flag_names",
    "flow_fields",
    "flows_from_record",
    "in_order",
    "record_from_flow",
]
