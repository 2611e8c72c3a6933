"""Our flow records as records of the format, and back as far as that goes."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET

from trireme_collector.netobserv._flags import FLAG_NAMES
from trireme_collector.netobserv._flow import Flow
from trireme_collector.records import ActionType, Direction, EndPoint, FlowRecord

if TYPE_CHECKING:
    from msgspec import UnsetType

__all__ = ["flows_from_record", "record_from_flow"]

_PORTED = frozenset({6, 17, 132})
_ICMP = frozenset({1, 58})
_NS_PER_MS = 1_000_000
_INGRESS, _EGRESS = 0, 1
_ETYPE_IPV4, _ETYPE_IPV6 = 0x0800, 0x86DD
_ALLOW, _DROP = "allow", "drop"
# A mapped address is an IPv4 address to everybody who reads the format.
_MAPPED = "::ffff:"
# The two flags of a packet that have a name of their own, and the bits that they stand for.
_COMBINED = {"SYN_ACK": "SYN", "FIN_ACK": "FIN", "RST_ACK": "RST"}


def flows_from_record(
    record: FlowRecord,
    *,
    agent_ip: str | UnsetType = UNSET,
    time_received: int | UnsetType = UNSET,
) -> tuple[Flow, ...]:
    """Make flow logs of a flow record: one for each direction whose packets were counted.

    The verdict goes where the format has decisions of network policies, and what was rejected
    counts as dropped.

    Args:
        record: The flow record.
        agent_ip: The address of this host.
        time_received: When the record was received, seconds since 1970.

    Returns:
        The flow log of what the client sent, or of both directions together if they were not
        counted apart; then, if the server sent anything, that of the way back.
    """
    source, destination = _address(record.source.ip), _address(record.destination.ip)
    has_ports = record.l4_protocol in _PORTED
    rejected = record.action.rejected
    divided = record.source_packets is not UNSET
    packets = record.source_packets if divided else record.packets
    octets = record.source_bytes if divided else record.bytes
    there = Flow(
        flow_direction=_direction(record),
        src_addr=source or UNSET,
        dst_addr=destination or UNSET,
        src_port=record.source.port if has_ports else UNSET,
        dst_port=record.destination.port if has_ports else UNSET,
        proto=record.l4_protocol,
        interface=record.interface or UNSET,
        packets=packets,
        bytes=octets,
        time_flow_start_ms=_milliseconds(record.start_time_ns),
        time_flow_end_ms=_milliseconds(record.end_time_ns),
        time_received=time_received,
        agent_ip=agent_ip,
        etype=_etype(source or destination),
        flags=record.tcp_flags,
        icmp_type=record.icmp_type,
        icmp_code=record.icmp_code,
        pkt_drop_bytes=octets if rejected else UNSET,
        pkt_drop_packets=packets if rejected else UNSET,
        pkt_drop_latest_drop_cause=(record.drop_reason or UNSET) if rejected else UNSET,
        network_events=_events(record),
    )
    return (there, _way_back(there, record)) if record.destination_packets else (there,)


def _way_back(there: Flow, record: FlowRecord) -> Flow:
    direction = there.flow_direction
    return msgspec.structs.replace(
        there,
        flow_direction=UNSET if direction is UNSET else _EGRESS - direction,
        src_addr=there.dst_addr,
        dst_addr=there.src_addr,
        src_port=there.dst_port,
        dst_port=there.src_port,
        packets=record.destination_packets,
        bytes=record.destination_bytes,
        pkt_drop_bytes=UNSET,
        pkt_drop_packets=UNSET,
        pkt_drop_latest_drop_cause=UNSET,
        network_events=UNSET,
        icmp_type=UNSET,
        icmp_code=UNSET,
    )


def record_from_flow(flow: Flow) -> FlowRecord:
    """Make a flow record of a flow log.

    Names from Kubernetes become tags, ``SrcK8S_Name=web``. A conversation stands for as many
    flows as it has flow logs.
    """
    event = flow.network_events[0] if flow.network_events else {}
    action = {_ALLOW: ActionType.ACCEPT, _DROP: ActionType.REJECT}.get(
        event.get("Action", ""), ActionType.NONE
    )
    cause = flow.pkt_drop_latest_drop_cause
    return FlowRecord(
        namespace=event.get("Namespace", ""),
        source=EndPoint(ip=flow.src_addr or "", port=flow.src_port or 0),
        destination=EndPoint(ip=flow.dst_addr or "", port=flow.dst_port or 0),
        tags=_tags(flow),
        drop_reason=cause if cause and action.rejected else "",
        policy_id=event.get("Name", ""),
        count=int(flow.num_flow_logs or 1),
        action=action,
        l4_protocol=flow.proto or 0,
        packets=_whole(flow.packets),
        bytes=_whole(flow.bytes),
        start_time_ns=_nanoseconds(flow.time_flow_start_ms),
        end_time_ns=_nanoseconds(flow.time_flow_end_ms),
        direction=_direction_of(flow.flow_direction),
        interface=flow.interface or (flow.interfaces[0] if flow.interfaces else UNSET),
        tcp_flags=_bits(flow.flags),
        icmp_type=flow.icmp_type if flow.proto in _ICMP else UNSET,
        icmp_code=flow.icmp_code if flow.proto in _ICMP else UNSET,
    )


def _address(text: str) -> str:
    if text.startswith(_MAPPED):
        try:
            mapped = ipaddress.IPv6Address(text).ipv4_mapped
        except ValueError:
            return text
        return text if mapped is None else str(mapped)
    return text


def _etype(address: str) -> int | UnsetType:
    if not address:
        return UNSET
    return _ETYPE_IPV6 if ":" in address else _ETYPE_IPV4


def _direction(record: FlowRecord) -> int | UnsetType:
    if record.direction is UNSET:
        return UNSET
    return _INGRESS if record.direction == Direction.INGRESS else _EGRESS


def _direction_of(number: int | UnsetType) -> Direction | UnsetType:
    if number == _INGRESS:
        return Direction.INGRESS
    return Direction.EGRESS if number == _EGRESS else UNSET


def _events(record: FlowRecord) -> tuple[dict[str, str], ...] | UnsetType:
    if not record.action.accepted and not record.action.rejected:
        return UNSET
    event = {
        "Feature": "acl",
        "Type": "NetworkPolicy",
        "Namespace": record.namespace,
        "Name": record.policy_id,
        "Action": _DROP if record.action.rejected else _ALLOW,
        "Direction": "" if record.direction is UNSET else record.direction.value.capitalize(),
    }
    return ({name: value for name, value in event.items() if value},)


def _milliseconds(time_ns: int | UnsetType) -> int | UnsetType:
    return UNSET if time_ns is UNSET else time_ns // _NS_PER_MS


def _nanoseconds(time_ms: float | UnsetType) -> int | UnsetType:
    return UNSET if time_ms is UNSET else int(time_ms * _NS_PER_MS)


def _whole(number: float | UnsetType) -> int | UnsetType:
    return UNSET if number is UNSET else int(number)


def _bits(flags: int | tuple[str, ...] | UnsetType) -> int | UnsetType:
    """Give the union of the flags as packets carry them, combined ones taken apart."""
    if flags is UNSET:
        return UNSET
    total = 0
    for name, bit in FLAG_NAMES.items():
        if name in flags if isinstance(flags, tuple) else flags & bit:
            total |= FLAG_NAMES[_COMBINED[name]] | FLAG_NAMES["ACK"] if name in _COMBINED else bit
    return total


def _tags(flow: Flow) -> tuple[str, ...]:
    return tuple(
        f"{name}={value}"
        for name, value in msgspec.to_builtins(flow).items()
        if "K8S_" in name and isinstance(value, str)
    )
