"""Hubble's flows: what a message says about a connection, in the JSON form of ``flow.proto``.

A flow is a dictionary with the names of the protobuf fields; what has the default value is left
out. Nothing is looked up: what the agent knows about endpoints, pods, names and services is not
in the messages, and so not in the flows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trireme_datapath.monitor._errors import MessageError
from trireme_datapath.monitor._hubble_access_log import access_log_flow
from trireme_datapath.monitor._hubble_layers import (
    packet_fields,
    whole_text,
    without_defaults,
)
from trireme_datapath.monitor.display import link_names
from trireme_datapath.monitor.dissection._addresses import ip_text
from trireme_datapath.monitor.messages.access_log import decode_log_record_notify
from trireme_datapath.monitor.messages.capture import DEBUG_CAPTURE_LEN, decode_debug_capture
from trireme_datapath.monitor.messages.drop import DROP_NOTIFY_LEN, decode_drop_notify
from trireme_datapath.monitor.messages.policy_verdict import (
    POLICY_VERDICT_NOTIFY_LEN,
    decode_policy_verdict_notify,
)
from trireme_datapath.monitor.messages.trace import decode_trace_notify
from trireme_datapath.monitor.messages.trace_sock import decode_trace_sock_notify
from trireme_datapath.monitor.tables.captures import CaptureType
from trireme_datapath.monitor.tables.hubble import (
    HUBBLE_AUTH_TYPES,
    HUBBLE_CAPTURE_POINTS,
    HUBBLE_DROP_REASONS,
    HUBBLE_SOCKET_POINTS,
    HUBBLE_TO_ENDPOINT,
    HUBBLE_TRACE_POINTS,
    HUBBLE_TRACE_REASONS,
    enum_value,
)
from trireme_datapath.monitor.tables.message_types import MessageType
from trireme_datapath.monitor.tables.sockets import SocketPoint
from trireme_datapath.monitor.tables.traces import TracePoint, TraceReason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trireme_datapath.monitor.messages.policy_verdict import PolicyVerdictNotify
    from trireme_datapath.monitor.messages.trace import TraceNotify

__all__ = ["hubble_flow"]

_CAPTURES_WITH_INTERFACE = frozenset(
    {
        CaptureType.DELIVERY,
        CaptureType.FROM_LB,
        CaptureType.AFTER_V46,
        CaptureType.AFTER_V64,
        CaptureType.SNAT_PRE,
        CaptureType.SNAT_POST,
    }
)
_CAPTURES_WITH_PROXY = frozenset({CaptureType.PROXY_PRE, CaptureType.PROXY_POST})
_SOCKET_VERDICTS: Mapping[int, str] = {
    SocketPoint.PRE_DIRECTION_FORWARD: "TRACED",
    SocketPoint.POST_DIRECTION_FORWARD: "TRANSLATED",
    SocketPoint.PRE_DIRECTION_REVERSE: "TRACED",
    SocketPoint.POST_DIRECTION_REVERSE: "TRANSLATED",
}
_SOCKET_REVERSE = (SocketPoint.PRE_DIRECTION_REVERSE, SocketPoint.POST_DIRECTION_REVERSE)
_SOCKET_PROTOCOLS = {1: "TCP", 2: "UDP"}


def hubble_flow(
    message: bytes, *, ifnames: Mapping[int, str] | Mapping[str, str] | None = None
) -> dict[str, object]:
    """Make the flow of a message; for any bytes.

    Args:
        message: A message of Cilium 1.16, from its type on.
        ifnames: The names of interfaces by number; the number may be written as a string.

    Returns:
        The flow. For a message that makes none, because it is unsound or of a type that has no
        flows, a dictionary with the one key ``error``, in Hubble's words.
    """
    if not message:
        return {"error": "empty data"}
    flow = _FLOWS.get(message[0])
    if flow is None:
        return {"error": f"can't decode following payload type: {message[0]}"}
    what, make = flow
    try:
        return make(message, link_names(ifnames))
    except _PacketError as error:
        return {"error": str(error)}
    except MessageError as error:
        return {"error": whole_text(f"failed to parse {what}: {error}")}


class _PacketError(Exception):
    """The packet of a message is unsound."""


def _packet(packet: bytes) -> dict[str, object]:
    try:
        return packet_fields(packet)
    except MessageError as error:
        raise _PacketError(str(error)) from error


def _flow(fields: dict[str, object], *, source: int = 0, destination: int = 0) -> dict[str, object]:
    """Add what every flow of a packet has."""
    fields["source"] = without_defaults(identity=source)
    fields["destination"] = without_defaults(identity=destination)
    fields["Type"] = "L3_L4"
    return fields


def _event_type(kind: int, sub_type: int) -> dict[str, object]:
    return without_defaults(type=kind, sub_type=sub_type)


def _drop_reason(reason: int) -> dict[str, object]:
    # The enumeration is signed, the number beside it is not.
    signed = reason - (1 << 32) if reason >= 1 << 31 else reason
    return without_defaults(
        drop_reason=reason, drop_reason_desc=enum_value(HUBBLE_DROP_REASONS, signed)
    )


def _interface(index: int, ifnames: Mapping[int, str]) -> dict[str, object]:
    if not index:
        return {}
    return {"interface": without_defaults(index=index, name=ifnames.get(index, ""))}


def _drop(message: bytes, ifnames: Mapping[int, str]) -> dict[str, object]:
    del ifnames
    drop = decode_drop_notify(message)
    return _flow(
        {
            "verdict": "DROPPED",
            **_drop_reason(drop.sub_type),
            **_packet(message[DROP_NOTIFY_LEN:]),
            "event_type": _event_type(drop.type, drop.sub_type),
            # Without a lookup, the endpoint is never known to be the source.
            **without_defaults(traffic_direction="INGRESS" if drop.source else ""),
        },
        source=drop.src_label,
        destination=drop.dst_label,
    )


def _trace(message: bytes, ifnames: Mapping[int, str]) -> dict[str, object]:
    trace = decode_trace_notify(message)
    point = trace.obs_point or HUBBLE_TO_ENDPOINT
    fields = _packet(message[trace.data_offset() :])
    _add_trace_ip(fields, trace)
    reason = trace.trace_reason()
    if reason == TraceReason.UNKNOWN:
        shown_reason = 0
    else:
        shown_reason = reason + 1 if reason < TraceReason.UNKNOWN else reason
    if (
        trace.trace_reason_is_known()
        and not trace.trace_reason_is_encap()
        and not trace.trace_reason_is_decap()
    ):
        is_reply = trace.trace_reason_is_reply()
        # A known false is shown; the older field cannot tell it from an unknown one.
        fields |= {"is_reply": is_reply, **without_defaults(reply=is_reply)}
    to_proxy = trace.obs_point == TracePoint.TO_PROXY
    return _flow(
        {
            "verdict": "FORWARDED",
            **fields,
            "event_type": _event_type(trace.type, trace.obs_point),
            "trace_observation_point": enum_value(HUBBLE_TRACE_POINTS, point),
            **without_defaults(
                trace_reason=enum_value(HUBBLE_TRACE_REASONS, shown_reason),
                traffic_direction=_trace_direction(trace),
                proxy_port=trace.dst_id if to_proxy else 0,
            ),
            **_interface(trace.ifindex, ifnames),
        },
        source=trace.src_label,
        destination=trace.dst_label,
    )


def _original_ip(trace: TraceNotify) -> str:
    """Give the source before translation; ``""`` if it is unspecified."""
    packed = trace.orig_ip if trace.is_ipv6() else trace.orig_ip[:4]
    text = ip_text(packed)
    return "" if text in {"0.0.0.0", "::"} else text  # noqa: S104  an address, not a socket


def _add_trace_ip(fields: dict[str, object], trace: TraceNotify) -> None:
    ip = fields.get("IP")
    if not isinstance(ip, dict):
        return
    original = _original_ip(trace)
    if original and original != ip["source"]:
        ip["source_xlated"] = ip["source"]
        ip["source"] = original
    if trace.is_encrypted():
        ip["encrypted"] = True


def _trace_direction(trace: TraceNotify) -> str:
    if not trace.source or not trace.trace_reason_is_known():
        return ""
    if (
        trace.trace_reason() == TraceReason.ENCRYPT_OVERLAY
        or trace.trace_reason_is_reply()
        or _original_ip(trace)
    ):
        return "EGRESS"
    return "INGRESS"


def _policy_verdict(message: bytes, ifnames: Mapping[int, str]) -> dict[str, object]:
    del ifnames
    notify = decode_policy_verdict_notify(message)
    fields = _packet(message[POLICY_VERDICT_NOTIFY_LEN:])
    fields["verdict"] = _policy_action(notify)
    if notify.verdict < 0:
        fields |= _drop_reason(-notify.verdict)
    else:
        # Only the first packet of a connection is judged.
        fields["is_reply"] = False
    ingress = notify.is_traffic_ingress()
    fields |= {
        "event_type": _event_type(notify.type, notify.sub_type),
        "traffic_direction": "INGRESS" if ingress else "EGRESS",
        **without_defaults(
            policy_match_type=notify.policy_match_type(),
            auth_type=enum_value(HUBBLE_AUTH_TYPES, notify.auth_type),
        ),
    }
    remote = notify.remote_label
    return _flow(fields, source=remote) if ingress else _flow(fields, destination=remote)


def _policy_action(notify: PolicyVerdictNotify) -> str:
    if notify.verdict < 0:
        return "DROPPED"
    if notify.verdict > 0:
        return "REDIRECTED"
    return "AUDIT" if notify.is_traffic_audited() else "FORWARDED"


def _capture(message: bytes, ifnames: Mapping[int, str]) -> dict[str, object]:
    capture = decode_debug_capture(message)
    point = capture.sub_type
    fields = _packet(message[DEBUG_CAPTURE_LEN:])
    fields["event_type"] = _event_type(capture.type, point)
    fields |= without_defaults(debug_capture_point=enum_value(HUBBLE_CAPTURE_POINTS, point))
    if point in _CAPTURES_WITH_INTERFACE:
        fields |= _interface(capture.arg1, ifnames)
    elif point in _CAPTURES_WITH_PROXY:
        # Upstream swaps all 32 bits of a 16-bit port.
        swapped = int.from_bytes(capture.arg1.to_bytes(4, "little"), "big")
        fields |= without_defaults(proxy_port=swapped)
    return _flow(fields)


def _socket(message: bytes, ifnames: Mapping[int, str]) -> dict[str, object]:
    del ifnames
    notify = decode_trace_sock_notify(message)
    packed = notify.dst_ip if notify.is_ipv6() else notify.dst_ip[:4]
    near, far = ("source", "destination")
    if notify.xlate_point in _SOCKET_REVERSE:
        near, far = far, near
    fields: dict[str, object] = without_defaults(
        verdict=_SOCKET_VERDICTS.get(notify.xlate_point, "")
    )
    # The near side is a pod that only the agent could name.
    fields["IP"] = {far: ip_text(packed), "ipVersion": "IPv6" if notify.is_ipv6() else "IPv4"}
    protocol = _SOCKET_PROTOCOLS.get(notify.l4_proto)
    if protocol:
        fields["l4"] = {protocol: without_defaults(**{f"{far}_port": notify.dst_port})}
    fields |= {
        near: {},
        far: {},
        "Type": "SOCK",
        "event_type": _event_type(notify.type, notify.xlate_point),
        **without_defaults(
            sock_xlate_point=enum_value(HUBBLE_SOCKET_POINTS, notify.xlate_point),
            # 64-bit numbers are texts in the JSON form of protobuf.
            socket_cookie=str(notify.sock_cookie) if notify.sock_cookie else "",
            cgroup_id=str(notify.cgroup_id) if notify.cgroup_id else "",
        ),
        "Summary": protocol or "Unknown",
    }
    return fields


def _access_log(message: bytes, ifnames: Mapping[int, str]) -> dict[str, object]:
    del ifnames
    flow = access_log_flow(decode_log_record_notify(message))
    return {name: whole_text(value) for name, value in flow.items()}


_FLOWS: dict[
    int,
    tuple[str, Callable[[bytes, Mapping[int, str]], dict[str, object]]],
] = {
    MessageType.DROP: ("drop", _drop),
    MessageType.CAPTURE: ("debug capture", _capture),
    MessageType.TRACE: ("trace", _trace),
    MessageType.POLICY_VERDICT: ("policy verdict", _policy_verdict),
    MessageType.TRACE_SOCK: ("sock trace event", _socket),
    MessageType.ACCESS_LOG: ("access log", _access_log),
}
