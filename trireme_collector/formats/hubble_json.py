"""Flow records as Hubble shows flows: one ``GetFlowsResponse`` per line, in protobuf's JSON form.

``hubble observe --input-file FILE`` reads such lines. Names and enumerations are those of
``flow.proto`` in Cilium v1.16, those of denying policies and the kind of a policy of v1.18; as
protobuf has it, what has the default value is left out.
"""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING

from msgspec import UNSET

from trireme_collector.formats._escaping import json_escape
from trireme_collector.formats._time import format_rfc3339
from trireme_collector.formats.icmp import icmp_text
from trireme_collector.formats.text import record_time_ns
from trireme_collector.records import (
    ActionType,
    Direction,
    EndPoint,
    EndPointType,
    FlowDropReason,
    FlowRecord,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trireme_collector.records import Record

__all__ = [
    "MAX_HUBBLE_LINE_BYTES",
    "drop_to_hubble",
    "flow_to_hubble",
    "render_hubble_line",
    "render_hubble_lines",
    "render_hubble_response",
]

# The longest line that Hubble's reader takes, a limit of Go's scanner.
MAX_HUBBLE_LINE_BYTES = 65_535

_ENCODER = json.JSONEncoder(separators=(",", ":"))
_READABLE = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
_TCP = 6
_TRANSPORTS = {_TCP: "TCP", 17: "UDP", 132: "SCTP"}
_ICMP = {1: "ICMPv4", 58: "ICMPv6"}
# In the order of Hubble's summaries.
_TCP_FLAGS = (
    ("SYN", 0x002),
    ("ACK", 0x010),
    ("RST", 0x004),
    ("FIN", 0x001),
    ("PSH", 0x008),
    ("URG", 0x020),
    ("ECE", 0x040),
    ("CWR", 0x080),
    ("NS", 0x100),
)
# The reasons that Hubble has one for; the others are dropped without a reason.
_DROP_REASONS: Mapping[str, tuple[int, str]] = {
    FlowDropReason.POLICY_DROP: (133, "POLICY_DENIED"),
    FlowDropReason.API_POLICY_DROP: (133, "POLICY_DENIED"),
    FlowDropReason.FLOW_REJECT: (133, "POLICY_DENIED"),
    FlowDropReason.INVALID_FORMAT: (134, "INVALID_PACKET_DROPPED"),
    FlowDropReason.INVALID_HEADER: (134, "INVALID_PACKET_DROPPED"),
    FlowDropReason.INVALID_PAYLOAD: (134, "INVALID_PACKET_DROPPED"),
    FlowDropReason.INVALID_CONNECTION: (163, "UNKNOWN_CONNECTION_TRACKING_STATE"),
    FlowDropReason.INVALID_STATE: (163, "UNKNOWN_CONNECTION_TRACKING_STATE"),
    FlowDropReason.INVALID_CONTEXT: (171, "INVALID_IDENTITY"),
    FlowDropReason.INVALID_NONCE: (171, "INVALID_IDENTITY"),
    FlowDropReason.INVALID_TOKEN: (171, "INVALID_IDENTITY"),
    FlowDropReason.MISSING_TOKEN: (189, "AUTH_REQUIRED"),
    FlowDropReason.ENCRYPTION_MISMATCH: (195, "UNENCRYPTED_TRAFFIC"),
}
_DECIDED = {"FORWARDED": "allowed", "DROPPED": "denied"}
_DIRECTIONS = {Direction.INGRESS: "INGRESS", Direction.EGRESS: "EGRESS"}
# The numbers of messages and of an identity in Cilium.
_DROP = 1
_TRACE = 4
_POLICY_VERDICT = 5
_WORLD = 2
_NO_POLICY = frozenset({"", "default"})
# What a drop for a reason without a counterpart is called: what is left was denied by policy.
_POLICY_DENIED = (133, "POLICY_DENIED")
# Clients of version 1.18 print policies that have a kind; that of Kubernetes' is its resource.
_POLICY_KIND = "TriremePolicy"


def flow_to_hubble(record: FlowRecord, *, time: str | None = None) -> dict[str, object]:
    """Give a flow record as a flow of Hubble.

    The endpoints' tags are known of the unit that judged only, which the direction tells.

    Args:
        record: The record.
        time: When it was, in RFC 3339; if None, what the record says.
    """
    verdict = _verdict(record)
    flow: dict[str, object] = {}
    if time is None:
        time_ns = record_time_ns(record)
        time = "" if time_ns is None else format_rfc3339(time_ns)
    _add(flow, "time", time)
    _add(flow, "verdict", verdict)
    if verdict == "DROPPED" and record.drop_reason in _DROP_REASONS:
        flow["drop_reason"], flow["drop_reason_desc"] = _DROP_REASONS[record.drop_reason]
    _add(flow, "IP", _ip(record))
    _add(flow, "l4", _transport(record))
    flow["source"] = _endpoint(record, record.source, Direction.EGRESS)
    flow["destination"] = _endpoint(record, record.destination, Direction.INGRESS)
    flow["Type"] = "L3_L4"
    _add(flow, "node_name", record.instance or "")
    # The packet that opened the flow was judged; what is told later was only seen.
    flow["event_type"] = {"type": _TRACE if record.phase else _POLICY_VERDICT}
    if record.direction:
        flow["traffic_direction"] = _DIRECTIONS[record.direction]
        decided = _DECIDED.get(verdict)
        if decided and record.policy_id not in _NO_POLICY:
            policy: dict[str, object] = {"name": record.policy_id}
            _add(policy, "namespace", record.namespace)
            policy["kind"] = _POLICY_KIND
            flow[f"{record.direction.value}_{decided}_by"] = [policy]
    # A record is turned the way of the first packet.
    flow["is_reply"] = False
    if record.interface:
        flow["interface"] = {"name": record.interface}
    _add(flow, "Summary", _summary(record))
    return flow


def drop_to_hubble(record: FlowRecord, *, time: str | None = None) -> dict[str, object] | None:
    """Give the drop of a denied flow, which Hubble tells beside the verdict of the policy.

    Args:
        record: The record.
        time: When it was, in RFC 3339; if None, what the record says.

    Returns:
        The drop, or None if nothing was dropped.
    """
    if record.phase or not record.action.rejected:
        return None
    flow = flow_to_hubble(record, time=time)
    for name in ("is_reply", "egress_denied_by", "ingress_denied_by"):
        flow.pop(name, None)
    code, name = _DROP_REASONS.get(record.drop_reason, _POLICY_DENIED)
    flow["drop_reason"], flow["drop_reason_desc"] = code, name
    flow["event_type"] = {"type": _DROP, "sub_type": code}
    return flow


def render_hubble_response(
    flow: Mapping[str, object], *, node_name: str = "", time: str = ""
) -> bytes:
    """Wrap a flow of Hubble into a response and render it as one line, with its line end.

    Args:
        flow: The flow, with the names of the protobuf fields.
        node_name: Where it was seen; if empty, what the flow says.
        time: When, in RFC 3339; if empty, what the flow says.
    """
    response: dict[str, object] = {"flow": flow}
    _add(response, "node_name", node_name or flow.get("node_name"))
    _add(response, "time", time or flow.get("time"))
    line = _ENCODER.encode(response)
    if "\\ud" in line:
        line = _paired(_READABLE.encode(response))
    # The one ASCII character that JSON may hold and a terminal may not.
    return line.replace("\x7f", "\\u007f").encode("ascii") + b"\n"


def render_hubble_line(record: FlowRecord) -> bytes:
    """Render what was decided about a flow as one line, with its line end.

    Hubble's reader stops at a line that is too long, so one leaves out its labels.
    """
    return _line(flow_to_hubble(record))


def render_hubble_lines(records: Iterable[Record]) -> bytes:
    """Render the flow records among others as lines; Hubble has no form for the rest.

    A denied flow is two lines: the verdict of the policy, and the drop.
    """
    lines: list[bytes] = []
    for record in records:
        if isinstance(record, FlowRecord):
            lines.append(render_hubble_line(record))
            drop = drop_to_hubble(record)
            if drop is not None:
                lines.append(_line(drop))
    return b"".join(lines)


def _line(flow: dict[str, object]) -> bytes:
    line = render_hubble_response(flow)
    if len(line) > MAX_HUBBLE_LINE_BYTES:
        for side in (flow["source"], flow["destination"]):
            if isinstance(side, dict):
                side.pop("labels", None)
        line = render_hubble_response(flow)
    return line if len(line) <= MAX_HUBBLE_LINE_BYTES else b""


def _add(fields: dict[str, object], name: str, value: object) -> None:
    if value:
        fields[name] = value


def _paired(text: str) -> str:
    """Escape JSON that is not ASCII; half a surrogate pair, which no reader takes, is replaced."""
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return "".join(c if c.isascii() else json_escape(c) for c in whole)


def _verdict(record: FlowRecord) -> str:
    action: ActionType = record.action
    if action.rejected:
        return "DROPPED"
    if not action.accepted:
        return ""
    # Let through, although the policy under observation would not have done so.
    return "AUDIT" if record.observed_action.rejected else "FORWARDED"


@functools.lru_cache(maxsize=512)
def _flags(value: int) -> tuple[tuple[str, ...], str]:
    # Few combinations occur, and every flow has one.
    names = tuple(name for name, bit in _TCP_FLAGS if value & bit)
    return names, f"TCP Flags: {', '.join(names)}"


def _summary(record: FlowRecord) -> str:
    protocol = record.l4_protocol
    if protocol == _TCP and record.tcp_flags:
        return _flags(record.tcp_flags)[1]
    icmp = _ICMP.get(protocol)
    if icmp is None:
        return _TRANSPORTS.get(protocol, "")
    if record.icmp_type is UNSET:
        return icmp
    return f"{icmp} {icmp_text(protocol, record.icmp_type, record.icmp_code or 0)}"


def _ip(record: FlowRecord) -> dict[str, object]:
    source, destination = record.source.ip, record.destination.ip
    if not (source or destination):
        return {}
    ip: dict[str, object] = {}
    _add(ip, "source", source)
    _add(ip, "destination", destination)
    ip["ipVersion"] = "IPv6" if ":" in (source or destination) else "IPv4"
    return ip


def _transport(record: FlowRecord) -> dict[str, object]:
    protocol = record.l4_protocol
    name = _TRANSPORTS.get(protocol)
    if name is None:
        icmp = _ICMP.get(protocol)
        if icmp is None:
            return {}
        # Even without type and code: by this filters know the protocol.
        message: dict[str, object] = {}
        _add(message, "type", record.icmp_type)
        _add(message, "code", record.icmp_code)
        return {icmp: message}
    ports: dict[str, object] = {}
    _add(ports, "source_port", record.source.port)
    _add(ports, "destination_port", record.destination.port)
    if protocol == _TCP and record.tcp_flags:
        ports["flags"] = dict.fromkeys(_flags(record.tcp_flags)[0], True)
    return {name: ports}


def _endpoint(record: FlowRecord, end: EndPoint, own_direction: Direction) -> dict[str, object]:
    endpoint: dict[str, object] = {}
    if end.type is EndPointType.EXTERNAL_IP:
        endpoint["identity"] = _WORLD
        labels = ["reserved:world"]
        if end.id not in _NO_POLICY:
            labels.append(f"trireme:external-network={end.id}")
        endpoint["labels"] = labels
        return endpoint
    _add(endpoint, "namespace", record.namespace)
    if record.direction == own_direction:
        _add(endpoint, "labels", [f"trireme:{tag}" for tag in record.tags])
    _add(endpoint, "pod_name", end.id)
    return endpoint
