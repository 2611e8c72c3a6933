"""Notifications of a Cilium datapath: decoded, printed, and turned into records.

`render` gives the text of one message and `Formatter` that of a stream, exactly as Cilium prints it
or, if asked for, mended. `decode_message` gives the message itself. What the numbers in it mean is
in `trireme_datapath.monitor.tables`.
"""

from __future__ import annotations

from trireme_datapath.monitor._errors import MessageError
from trireme_datapath.monitor.display import PLAIN_DISPLAY, Display, Level, Mode
from trireme_datapath.monitor.dissection import (
    ConnectionInfo,
    DissectSummary,
    Flow,
    connection_summary,
    dissect,
    get_connection_info,
    get_connection_summary,
    get_dissect_summary,
)
from trireme_datapath.monitor.filters import EventFilter, event_filter
from trireme_datapath.monitor.formatter import Formatter, Seen
from trireme_datapath.monitor.hubble import hubble_flow
from trireme_datapath.monitor.messages._kinds import Message, decode_message
from trireme_datapath.monitor.messages.access_log import (
    EndpointInfo,
    LogRecordDNS,
    LogRecordHTTP,
    LogRecordKafka,
    LogRecordL7,
    LogRecordNotify,
    LogRecordNotifyVerbose,
    decode_log_record_notify,
    log_record_notify_to_verbose,
)
from trireme_datapath.monitor.messages.agent import AgentNotify, decode_agent_notify
from trireme_datapath.monitor.messages.capture import (
    DEBUG_CAPTURE_LEN,
    DebugCapture,
    DebugCaptureVerbose,
    debug_capture_to_verbose,
    decode_debug_capture,
)
from trireme_datapath.monitor.messages.debug import DEBUG_MSG_LEN, DebugMsg, decode_debug_msg
from trireme_datapath.monitor.messages.drop import (
    DROP_NOTIFY_LEN,
    DROP_NOTIFY_LEN_1_9,
    DropNotify,
    DropNotifyVerbose,
    decode_drop_notify,
    drop_notify_to_verbose,
)
from trireme_datapath.monitor.messages.policy_verdict import (
    POLICY_EGRESS,
    POLICY_INGRESS,
    POLICY_VERDICT_NOTIFY_FLAG_DIRECTION,
    POLICY_VERDICT_NOTIFY_FLAG_IS_AUDITED,
    POLICY_VERDICT_NOTIFY_FLAG_IS_IPV6,
    POLICY_VERDICT_NOTIFY_FLAG_MATCH_TYPE,
    POLICY_VERDICT_NOTIFY_FLAG_MATCH_TYPE_BIT_OFFSET,
    POLICY_VERDICT_NOTIFY_LEN,
    PolicyVerdictNotify,
    PolicyVerdictNotifyVerbose,
    decode_policy_verdict_notify,
)
from trireme_datapath.monitor.messages.recorder import (
    RECORDER_CAPTURE_LEN,
    RecorderCapture,
    RecorderCaptureVerbose,
    decode_recorder_capture,
)
from trireme_datapath.monitor.messages.trace import (
    TRACE_NOTIFY_FLAG_IS_IPV6,
    TRACE_NOTIFY_V0_LEN,
    TRACE_NOTIFY_V1_LEN,
    TRACE_NOTIFY_VERSION0,
    TRACE_NOTIFY_VERSION1,
    TraceNotify,
    TraceNotifyV0,
    TraceNotifyV1,
    TraceNotifyVerbose,
    decode_trace_notify,
    trace_notify_to_verbose,
)
from trireme_datapath.monitor.messages.trace_sock import (
    TRACE_SOCK_NOTIFY_FLAG_IS_IPV6,
    TRACE_SOCK_NOTIFY_LEN,
    TraceSockNotify,
    TraceSockNotifyVerbose,
    decode_trace_sock_notify,
)
from trireme_datapath.monitor.profiles import (
    PROFILE_1_9,
    PROFILE_1_16,
    Profile,
    find_profile,
    get_all_types,
)
from trireme_datapath.monitor.rendering import render, render_stream
from trireme_datapath.monitor.tables.agent_events import AgentEvent, agent_event_name
from trireme_datapath.monitor.tables.captures import CaptureType
from trireme_datapath.monitor.tables.debug_messages import ConntrackState, DebugType
from trireme_datapath.monitor.tables.message_types import MessageType, message_type_name
from trireme_datapath.monitor.tables.sockets import SocketPoint
from trireme_datapath.monitor.tables.traces import (
    TRACE_REASON_ENCRYPT_MASK,
    TracePoint,
    TraceReason,
    trace_observation_point,
    trace_observation_point_has_conn_state,
)
from trireme_datapath.monitor.tables.verdicts import (
    PolicyMatchType,
    auth_type_name,
    get_policy_action_string,
)

__all__ = [  # noqa: RUF022  sorted as text, the numbers too
    "DEBUG_CAPTURE_LEN",
    "DEBUG_MSG_LEN",
    "DROP_NOTIFY_LEN",
    "DROP_NOTIFY_LEN_1_9",
    "PLAIN_DISPLAY",
    "POLICY_EGRESS",
    "POLICY_INGRESS",
    "POLICY_VERDICT_NOTIFY_FLAG_DIRECTION",
    "POLICY_VERDICT_NOTIFY_FLAG_IS_AUDITED",
    "POLICY_VERDICT_NOTIFY_FLAG_IS_IPV6",
    "POLICY_VERDICT_NOTIFY_FLAG_MATCH_TYPE",
    "POLICY_VERDICT_NOTIFY_FLAG_MATCH_TYPE_BIT_OFFSET",
    "POLICY_VERDICT_NOTIFY_LEN",
    "PROFILE_1_16",
    "PROFILE_1_9",
    "RECORDER_CAPTURE_LEN",
    "TRACE_NOTIFY_FLAG_IS_IPV6",
    "TRACE_NOTIFY_V0_LEN",
    "TRACE_NOTIFY_V1_LEN",
    "TRACE_NOTIFY_VERSION0",
    "TRACE_NOTIFY_VERSION1",
    "TRACE_REASON_ENCRYPT_MASK",
    "TRACE_SOCK_NOTIFY_FLAG_IS_IPV6",
    "TRACE_SOCK_NOTIFY_LEN",
    "AgentEvent",
    "AgentNotify",
    "CaptureType",
    "ConnectionInfo",
    "ConntrackState",
    "DebugCapture",
    "DebugCaptureVerbose",
    "DebugMsg",
    "DebugType",
    "Display",
    "DissectSummary",
    "DropNotify",
    "DropNotifyVerbose",
    "EndpointInfo",
    "EventFilter",
    "Flow",
    "Formatter",
    "Level",
    "LogRecordDNS",
    "LogRecordHTTP",
    "LogRecordKafka",
    "LogRecordL7",
    "LogRecordNotify",
    "LogRecordNotifyVerbose",
    "Message",
    "MessageError",
    "MessageType",
    "Mode",
    "PolicyMatchType",
    "PolicyVerdictNotify",
    "PolicyVerdictNotifyVerbose",
    "Profile",
    "RecorderCapture",
    "RecorderCaptureVerbose",
    "Seen",
    "SocketPoint",
    "TraceNotify",
    "TraceNotifyV0",
    "TraceNotifyV1",
    "TraceNotifyVerbose",
    "TracePoint",
    "TraceReason",
    "TraceSockNotify",
    "TraceSockNotifyVerbose",
    "agent_event_name",
    "auth_type_name",
    "connection_summary",
    "debug_capture_to_verbose",
    "decode_agent_notify",
    "decode_debug_capture",
    "decode_debug_msg",
    "decode_drop_notify",
    "decode_log_record_notify",
    "decode_message",
    "decode_policy_verdict_notify",
    "decode_recorder_capture",
    "decode_trace_notify",
    "decode_trace_sock_notify",
    "dissect",
    "drop_notify_to_verbose",
    "event_filter",
    "find_profile",
    "get_all_types",
    "get_connection_info",
    "get_connection_summary",
    "get_dissect_summary",
    "get_policy_action_string",
    "hubble_flow",
    "log_record_notify_to_verbose",
    "message_type_name",
    "render",
    "render_stream",
    "trace_notify_to_verbose",
    "trace_observation_point",
    "trace_observation_point_has_conn_state",
]
