"""Messages of a datapath as records, so that every collector can take them.

A policy verdict, a drop and a trace are flows; a drop, and a trace if wanted, is a packet report;
a name that was looked up and an endpoint that comes or goes are records of their own. What no
record can hold, such as debug messages, gives none.

Messages carry no time, so records have none but that of an access log.
"""

from __future__ import annotations

from socket import AF_INET, AF_INET6, inet_ntop
from typing import TYPE_CHECKING, Annotated, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from trireme_collector.records import (
    ActionType,
    Direction,
    FlowRecord,
    PacketEvent,
    PacketReport,
)
from trireme_datapath.monitor._record_agent import container_record, dns_report
from trireme_datapath.monitor._record_parts import (
    PacketView,
    endpoint_name,
    identity_name,
    named_end,
    view,
)
from trireme_datapath.monitor.display import link_names
from trireme_datapath.monitor.messages._kinds import decode_message
from trireme_datapath.monitor.messages.access_log import LogRecordNotify
from trireme_datapath.monitor.messages.agent import AgentNotify
from trireme_datapath.monitor.messages.drop import DropNotify
from trireme_datapath.monitor.messages.policy_verdict import (
    POLICY_VERDICT_NOTIFY_LEN,
    PolicyVerdictNotify,
)
from trireme_datapath.monitor.messages.trace import TraceNotify
from trireme_datapath.monitor.profiles import find_profile
from trireme_datapath.monitor.tables.bpf_files import bpf_file_name
from trireme_datapath.monitor.tables.traces import (
    TracePoint,
    TraceReason,
    trace_observation_point,
)
from trireme_datapath.monitor.tables.verdicts import auth_type_name

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from trireme_collector.records import Record
    from trireme_datapath.monitor.profiles import Profile

__all__ = ["MonitorRecords", "PacketSource", "RecordSelection"]

PacketSource = Literal["policy-verdict", "drop", "trace"]
"""A type of message that is about a packet."""

AUDIT_POLICY: Final = "audit"
"""The observed policy of what passes only because policies are being tried out."""

# At these points the endpoint that a trace names is the sender of the packet.
_FROM_ENDPOINT: Final = frozenset(
    {
        TracePoint.FROM_LXC,
        TracePoint.TO_STACK,
        TracePoint.TO_HOST,
        TracePoint.TO_OVERLAY,
        TracePoint.TO_NETWORK,
    }
)
_RECEIVED: Final = frozenset(
    {
        TracePoint.FROM_LXC,
        TracePoint.FROM_PROXY,
        TracePoint.FROM_HOST,
        TracePoint.FROM_STACK,
        TracePoint.FROM_OVERLAY,
        TracePoint.FROM_NETWORK,
    }
)


class RecordSelection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which messages become which records.

    A packet that a policy denies causes a verdict and a drop, and one that passes several
    traces: whoever counts flows chooses one of them.

    Attributes:
        flows: The types of messages that become flow records.
        packets: The types of messages that become packet reports.
    """

    flows: Annotated[tuple[PacketSource, ...], Meta(max_length=3)] = (
        "policy-verdict",
        "drop",
        "trace",
    )
    packets: Annotated[tuple[PacketSource, ...], Meta(max_length=3)] = ("drop",)


class _Observation(Struct, frozen=True, kw_only=True, gc=False):
    """What the messages about packets have in common."""

    kind: PacketSource
    packet: PacketView
    length: int
    mark: int
    endpoint: int
    source: tuple[int, int]  # identity and endpoint
    destination: tuple[int, int]
    tags: tuple[str, ...]
    event: PacketEvent
    action: ActionType
    drop_reason: str = ""
    audited: bool = False
    is_reply: bool = False
    original_ip: str = ""
    direction: Direction | UnsetType = UNSET
    interface: str | UnsetType = UNSET


class MonitorRecords:
    """Makes the records of messages.

    Args:
        profile: The version of Cilium that the messages are from.
        ifnames: The names of interfaces by number.
        selection: Which messages become which records.
    """

    def __init__(
        self,
        *,
        profile: str | Profile = "1.16",
        ifnames: Mapping[int, str] | Mapping[str, str] | None = None,
        selection: RecordSelection | None = None,
    ) -> None:
        """Keep what every message needs."""
        chosen = RecordSelection() if selection is None else selection
        self._profile = find_profile(profile)
        self._ifnames = link_names(ifnames)
        self._flows: Collection[str] = frozenset(chosen.flows)
        self._packets: Collection[str] = frozenset(chosen.packets)

    def name_interfaces(self, ifnames: Mapping[int, str]) -> None:
        """Take the names of interfaces by number, in place of those that were known."""
        self._ifnames = dict(ifnames)

    def records(self, data: bytes) -> list[Record]:
        """Give the records of a message.

        Args:
            data: The message, its type in the first byte. Any bytes will do.

        Raises:
            MessageError: It is of an unknown type, or cannot be read.
        """
        message = decode_message(data, self._profile)
        match message:
            case PolicyVerdictNotify():
                return self._reports(self._verdict(message, data))
            case DropNotify():
                return self._reports(self._drop(message, data))
            case TraceNotify():
                return self._reports(self._trace(message, data))
            case LogRecordNotify():
                report = dns_report(message)
                return [] if report is None else [report]
            case AgentNotify():
                record = container_record(message)
                return [] if record is None else [record]
            case _:
                return []

    def _reports(self, seen: _Observation) -> list[Record]:
        reports: list[Record] = []
        if seen.kind in self._flows and seen.packet.source_ip:
            reports.append(_flow(seen))
        if seen.kind in self._packets:
            reports.append(_packet(seen))
        return reports

    def _verdict(self, notify: PolicyVerdictNotify, data: bytes) -> _Observation:
        denied = notify.verdict < 0
        ingress = notify.is_traffic_ingress()
        match_type = self._profile.match_types.get(notify.policy_match_type(), "unknown")
        tags = [f"cilium.match={match_type}"]
        if self._profile.has_authentication:
            tags.append(f"cilium.auth={auth_type_name(notify.auth_type)}")
        if notify.verdict > 0:
            tags.append(f"cilium.proxy-port={notify.verdict}")
        remote, own = (notify.remote_label, 0), (0, notify.source)
        return _Observation(
            kind="policy-verdict",
            packet=view(data[POLICY_VERDICT_NOTIFY_LEN:], notify.orig_len),
            length=notify.orig_len,
            mark=notify.hash,
            endpoint=notify.source,
            source=remote if ingress else own,
            destination=own if ingress else remote,
            tags=tuple(tags),
            event=PacketEvent.DROPPED if denied else PacketEvent.NONE,
            action=ActionType.REJECT if denied else ActionType.ACCEPT,
            drop_reason=self._profile.drop_reason(-notify.verdict) if denied else "",
            audited=notify.is_traffic_audited() and not notify.verdict,
            direction=Direction.INGRESS if ingress else Direction.EGRESS,
        )

    def _drop(self, notify: DropNotify, data: bytes) -> _Observation:
        direction: Direction | UnsetType = UNSET
        if notify.source:  # on the way out there is no destination endpoint
            direction = Direction.INGRESS if notify.dst_id else Direction.EGRESS
        tags = []
        if self._profile.has_drop_details:
            tags.append(f"cilium.file={bpf_file_name(notify.file)}:{notify.line}")
        return _Observation(
            kind="drop",
            packet=view(data[self._profile.drop_length :], notify.orig_len),
            length=notify.orig_len,
            mark=notify.hash,
            endpoint=notify.source,
            source=(notify.src_label, notify.source if direction is Direction.EGRESS else 0),
            destination=(notify.dst_label, notify.dst_id),
            tags=tuple(tags),
            event=PacketEvent.DROPPED,
            action=ActionType.REJECT,
            drop_reason=self._profile.drop_reason(notify.sub_type, notify.ext_error),
            direction=direction,
            interface=self._interface(notify.ifindex),
        )

    def _trace(self, notify: TraceNotify, data: bytes) -> _Observation:
        point, to_proxy = notify.obs_point, notify.obs_point == TracePoint.TO_PROXY
        reason = self._profile.trace_reasons.get(notify.trace_reason(), str(notify.reason))
        tags = [f"cilium.point={trace_observation_point(point)}", f"cilium.state={reason}"]
        if notify.is_encrypted():
            tags.append("cilium.encrypted=true")
        if to_proxy and notify.dst_id:
            tags.append(f"cilium.proxy-port={notify.dst_id}")
        packet = view(data[notify.data_offset() :], notify.orig_len)
        original_ip = _original_ip(notify)
        if original_ip and packet.source_ip and original_ip != packet.source_ip:
            tags.append(f"cilium.translated-source={packet.source_ip}")
        return _Observation(
            kind="trace",
            packet=packet,
            length=notify.orig_len,
            mark=notify.hash,
            endpoint=notify.source,
            source=(notify.src_label, notify.source if point in _FROM_ENDPOINT else 0),
            destination=(notify.dst_label, 0 if to_proxy else notify.dst_id),
            tags=tuple(tags),
            event=PacketEvent.RECEIVED if point in _RECEIVED else PacketEvent.TRANSMITTED,
            action=ActionType.ACCEPT,
            is_reply=notify.trace_reason_is_reply(),
            original_ip=original_ip,
            direction=_trace_direction(notify, translated=bool(original_ip)),
            interface=self._interface(notify.ifindex),
        )

    def _interface(self, number: int) -> str | UnsetType:
        return (self._ifnames.get(number) or str(number)) if number else UNSET


def _original_ip(notify: TraceNotify) -> str:
    """Give the source before it was translated; empty when it was not."""
    packed = notify.orig_ip if notify.is_ipv6() else notify.orig_ip[:4]
    if not any(packed):
        return ""
    return inet_ntop(AF_INET6 if notify.is_ipv6() else AF_INET, packed)


def _trace_direction(notify: TraceNotify, *, translated: bool) -> Direction | UnsetType:
    """Say how the flow of a traced packet goes, seen from the endpoint that the trace names."""
    if not notify.source or not notify.trace_reason_is_known():
        return UNSET
    from_endpoint = notify.obs_point in _FROM_ENDPOINT
    outwards = (
        notify.trace_reason() == TraceReason.ENCRYPT_OVERLAY
        or from_endpoint != notify.trace_reason_is_reply()
        or translated
    )
    return Direction.EGRESS if outwards else Direction.INGRESS


def _flow(seen: _Observation) -> FlowRecord:
    packet, source, destination = seen.packet, seen.source, seen.destination
    source_ip = seen.original_ip or packet.source_ip
    client = named_end(source_ip, packet.source_port, identity=source[0], endpoint=source[1])
    server = named_end(
        packet.destination_ip,
        packet.destination_port,
        identity=destination[0],
        endpoint=destination[1],
    )
    if seen.is_reply:  # a flow goes from client to server, whoever sent the packet
        client, server = server, client
    return FlowRecord(
        context_id=str(seen.endpoint) if seen.endpoint else "",
        source=client,
        destination=server,
        tags=(f"cilium.type={seen.kind}", *seen.tags),
        drop_reason=seen.drop_reason,
        observed_policy_id=AUDIT_POLICY if seen.audited else "",
        count=1,
        action=seen.action,
        observed_action=ActionType.REJECT if seen.audited else ActionType.NONE,
        l4_protocol=packet.protocol,
        packets=1,
        bytes=seen.length,
        direction=seen.direction,
        interface=seen.interface,
        tcp_flags=packet.tcp_flags,
    )


def _packet(seen: _Observation) -> PacketReport:
    packet = seen.packet
    identities = ("source", seen.source[0]), ("destination", seen.destination[0])
    return PacketReport(
        tcp_flags=packet.tcp_flags or 0,
        claims=tuple(
            f"cilium.{side}-identity={identity_name(number)}"
            for side, number in identities
            if number
        ),
        destination_ip=packet.destination_ip,
        destination_port=packet.destination_port,
        drop_reason=seen.drop_reason,
        event=seen.event,
        length=packet.length or seen.length,
        mark=seen.mark,
        packet_id=packet.identification,
        protocol=packet.protocol,
        puid=endpoint_name(seen.endpoint),
        source_ip=packet.source_ip,
        source_port=packet.source_port,
        payload=packet.payload,
        interface=seen.interface,
    )
