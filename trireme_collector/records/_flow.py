"""The record base, the endpoint and the flow record."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType

from trireme_collector.records._enums import (
    ActionType,
    Direction,
    EndPointType,
    FlowPhase,
    ServiceType,
)

__all__ = ["EndPoint", "FlowRecord", "RecordBase"]


class RecordBase(Struct, frozen=True, kw_only=True, gc=False):
    """What every record may carry about its own identity (ours, not upstream's).

    A receiver proves completeness and removes duplicates with the three together.

    Attributes:
        instance: The name of the agent that made the record.
        epoch: The start of that agent, nanoseconds since 1970 UTC.
        sequence: The number of the record within the epoch, from 1.
    """

    instance: str | UnsetType = UNSET
    epoch: int | UnsetType = UNSET
    sequence: int | UnsetType = UNSET


class EndPoint(Struct, frozen=True, kw_only=True, gc=False):
    """One end of a flow.

    Attributes:
        id: The management id of a PU, the id of an external network, or ``default``.
        ip: The address as text, IPv4 or IPv6.
        uri: Method, one space and request URI; HTTP only.
        http_method: The request method; HTTP only.
        user_id: The id of the user record; HTTP only.
        type: Whether this is an external address, a PU or claims.
        port: The transport port, 0 when there is none.
    """

    id: str = ""
    ip: str = ""
    uri: str = ""
    http_method: str = ""
    user_id: str = ""
    type: EndPointType = EndPointType.EXTERNAL_IP
    port: int = 0


class FlowRecord(RecordBase, frozen=True, kw_only=True, gc=False, tag="flow"):
    """A flow that was judged, oriented from client to server whoever sent the packet.

    Source: seed ``FlowRecord``. The fields from ``packets`` on are ours, and are absent
    from the encoded forms when they are not known.

    Attributes:
        context_id: The local id of the processing unit that judged the flow.
        namespace: The management namespace of that unit.
        source: The client.
        destination: The server.
        tags: The tags of the processing unit, ``key=value``.
        drop_reason: Why the flow was not let through, or ``""``; see `FlowDropReason`.
        policy_id: The policy that was applied; ``default`` when none matched.
        observed_policy_id: The observed policy that matched, or ``""``.
        service_type: The layer of the judgement; `ServiceType.L3` for packets.
        service_id: The service, set by proxies only.
        count: How many flows this record stands for.
        action: What was done with the packet.
        observed_action: What the observed policy would have done.
        l4_protocol: The IP protocol number (6, 17, 1, ...).
        packets: Packets of the flow, both directions, as far as they were seen.
        bytes: IP bytes of those packets.
        start_time_ns: When the first packet was judged, nanoseconds since 1970 UTC.
        end_time_ns: When the last packet was seen, nanoseconds since 1970 UTC.
        direction: The way of the flow as seen from the judging unit.
        interface: The interface on which the first packet came or went.
        tcp_flags: The union of the TCP flags that were seen.
        policy_revision: The revision of the policy that decided.
        phase: What the record says about a flow that was opened before; absent on the record of
            the judgement.
        source_packets: Packets that the client sent.
        source_bytes: IP bytes of those packets.
        destination_packets: Packets that the server sent.
        destination_bytes: IP bytes of those packets.
        icmp_type: The type of the ICMP or ICMPv6 message that opened the flow.
        icmp_code: Its code.
    """

    context_id: str = ""
    namespace: str = ""
    source: EndPoint = EndPoint()
    destination: EndPoint = EndPoint()
    tags: tuple[str, ...] = ()
    drop_reason: str = ""
    policy_id: str = ""
    observed_policy_id: str = ""
    service_type: ServiceType = ServiceType.L3
    service_id: str = ""
    count: int = 0
    action: ActionType = ActionType.NONE
    observed_action: ActionType = ActionType.NONE
    l4_protocol: int = 0
    packets: int | UnsetType = UNSET
    bytes: int | UnsetType = UNSET
    start_time_ns: int | UnsetType = UNSET
    end_time_ns: int | UnsetType = UNSET
    direction: Direction | UnsetType = UNSET
    interface: str | UnsetType = UNSET
    tcp_flags: int | UnsetType = UNSET
    policy_revision: str | UnsetType = UNSET
    phase: FlowPhase | UnsetType = UNSET
    source_packets: int | UnsetType = UNSET
    source_bytes: int | UnsetType = UNSET
    destination_packets: int | UnsetType = UNSET
    destination_bytes: int | UnsetType = UNSET
    icmp_type: int | UnsetType = UNSET
    icmp_code: int | UnsetType = UNSET

    def __str__(self) -> str:
        """Print the upstream line, letter for letter, quirks included."""
        return (
            f"<flowrecord contextID:{self.context_id} namespace:{self.namespace}"
            f" count:{self.count} sourceID:{self.source.id} destinationID:{self.destination.id}"
            f" sourceIP: {self.source.ip} destinationIP:{self.destination.ip}"
            f" destinationPort:{self.destination.port} action:{self.action.text}"
            f" mode:{self.drop_reason}>"
        )
