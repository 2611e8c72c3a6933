"""The records beside the flow record."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType

from trireme_collector.records._enums import PacketEvent, PingType, Stage
from trireme_collector.records._flow import EndPoint, RecordBase

__all__ = [
    "Checkpoint",
    "CollectorCount",
    "ConnectionExceptionReport",
    "ContainerRecord",
    "Counter",
    "CounterReport",
    "DNSRequestReport",
    "IPTablesTrace",
    "IPTablesTraceRecord",
    "PacketReport",
    "PingReport",
    "TraceReport",
    "UserRecord",
]


class ContainerRecord(RecordBase, frozen=True, kw_only=True, gc=False, tag="container"):
    """A container or other processing unit came, changed or went (seed).

    Attributes:
        context_id: The local id of the unit.
        ip_address: Address by interface or network name; ``bridge`` is the primary one.
        tags: The unit's tags, ``key=value``.
        event: What happened; see `ContainerEvent`.
    """

    context_id: str = ""
    ip_address: dict[str, str] = {}  # noqa: RUF012  msgspec copies an empty default
    tags: tuple[str, ...] = ()
    event: str = ""


class UserRecord(RecordBase, frozen=True, kw_only=True, gc=False, tag="user"):
    """A user was seen (seed).

    Attributes:
        id: The output of `stats_user_hash`.
        namespace: The management namespace.
        claims: The user's claims, ``key=value``.
    """

    id: str = ""
    namespace: str = ""
    claims: tuple[str, ...] = ()


class PacketReport(RecordBase, frozen=True, kw_only=True, gc=False, tag="packet"):
    """A single packet, traced or dropped outside any flow (seed).

    Attributes:
        tcp_flags: The TCP flags, 0 for other protocols.
        claims: The identity tags of the unit.
        destination_ip: The destination address as text.
        destination_port: The destination port, 0 when there is none.
        drop_reason: Why it was dropped, ``""`` when it passed.
        encrypt: Whether an encryption service handled the connection.
        event: What became of it.
        length: The IP total length in bytes.
        mark: The packet mark.
        namespace: The management namespace of the unit.
        packet_id: The IPv4 identification.
        protocol: The IP protocol number.
        puid: The management id of the unit.
        source_ip: The source address as text.
        source_port: The source port, 0 when there is none.
        trireme_packet: Whether the datapath judged it, rather than a kernel rule.
        payload: At most 64 bytes from the IP header on.
        timestamp_ns: When it was seen, nanoseconds since 1970 UTC (HEAD; never set upstream).
        interface: The interface on which it came or went (ours).
    """

    tcp_flags: int = 0
    claims: tuple[str, ...] = ()
    destination_ip: str = ""
    destination_port: int = 0
    drop_reason: str = ""
    encrypt: bool = False
    event: PacketEvent = PacketEvent.NONE
    length: int = 0
    mark: int = 0
    namespace: str = ""
    packet_id: int = 0
    protocol: int = 0
    puid: str = ""
    source_ip: str = ""
    source_port: int = 0
    trireme_packet: bool = False
    payload: bytes = b""
    timestamp_ns: int | UnsetType = UNSET
    interface: str | UnsetType = UNSET


class Counter(Struct, frozen=True, kw_only=True, gc=False):
    """One counter of a `CounterReport` (seed ``Counters``).

    Attributes:
        name: The name of the counter.
        value: Its value since the last report, 32 bits upstream.
    """

    name: str = ""
    value: int = 0


class CounterReport(RecordBase, frozen=True, kw_only=True, gc=False, tag="counter"):
    """The counters of one processing unit, or of packets without one (seed).

    Attributes:
        namespace: The management namespace, empty for packets without a unit.
        context_id: The id of the unit, empty for packets without one.
        counters: All counters in their fixed order, zeros included.
        timestamp_ns: When they were read, nanoseconds since 1970 UTC (HEAD).
    """

    namespace: str = ""
    context_id: str = ""
    counters: tuple[Counter, ...] = ()
    timestamp_ns: int | UnsetType = UNSET


class DNSRequestReport(RecordBase, frozen=True, kw_only=True, gc=False, tag="dns"):
    """A name was looked up by a processing unit (seed).

    Attributes:
        namespace: The management namespace of the unit.
        source: The unit that asked.
        name_lookup: The name in question, with its trailing dot.
        error: Why it failed, ``""`` when it did not.
        count: How many lookups this report stands for.
        time_ns: When the report was made, nanoseconds since 1970 UTC (seed ``Ts``).
        context_id: The local id of the unit (HEAD).
        destination: The server that was asked (HEAD).
        ips: The addresses in the answer (HEAD).
    """

    namespace: str = ""
    source: EndPoint = EndPoint()
    name_lookup: str = ""
    error: str = ""
    count: int = 0
    time_ns: int = 0
    context_id: str | UnsetType = UNSET
    destination: EndPoint | UnsetType = UNSET
    ips: tuple[str, ...] | UnsetType = UNSET


class PingReport(RecordBase, frozen=True, kw_only=True, gc=False, tag="ping"):
    """One step of a ping through the datapath (seed).

    Attributes:
        source_id: The management id of the unit that pings.
        source_namespace: Its namespace.
        destination_id: The management id of the peer, if it named itself.
        destination_namespace: The peer's namespace, if it named itself.
        flow_tuple: ``sourceIP:destinationIP:sourcePort:destinationPort``.
        latency: Elapsed time as Go prints a duration, for example ``1.234567ms``.
        agent_version: The version of the agent, or of the peer's.
        protocol: The IP protocol number.
        service_type: The layer, ``L3``.
        payload_size: Bytes of payload sent or received.
        request: The number of the request, from 1.
        ping_type: How the ping identifies itself (seed ``Type``; ``type`` is the record's kind).
        stage: Whether the ping left or the answer came.
        session_id: Random text that joins the reports of one request.
        error: What came instead of an answer, such as ``timeout``; ``refused`` is an answer, too
            (ours; absent when the connection was accepted).
    """

    source_id: str = ""
    source_namespace: str = ""
    destination_id: str = ""
    destination_namespace: str = ""
    flow_tuple: str = ""
    latency: str = ""
    agent_version: str = ""
    protocol: int = 0
    service_type: str = ""
    payload_size: int = 0
    request: int = 0
    ping_type: PingType = PingType.NONE
    stage: Stage = Stage.ORIGIN
    session_id: str = ""
    error: str | UnsetType = UNSET


class TraceReport(RecordBase, frozen=True, kw_only=True, gc=False, tag="trace"):
    """Lines of an iptables trace, or what an agent notes about itself.

    As `EventCollector.collect_trace_event` takes them. Notes begin with ``trireme-collector``.

    Attributes:
        lines: The lines, in their order.
    """

    lines: tuple[str, ...] = ()


class ConnectionExceptionReport(
    RecordBase, frozen=True, kw_only=True, gc=False, tag="connection_exception"
):
    """A connection that was tried and never answered, or reset (extension, from HEAD).

    Attributes:
        timestamp_ns: When it was given up, nanoseconds since 1970 UTC.
        puid: The management id of the unit.
        namespace: Its namespace.
        protocol: The IP protocol number.
        source_ip: The client.
        destination_ip: The server.
        destination_port: The server's port.
        state: The state in which the connection was stuck, for example ``TCPSynSend``.
        reason: ``expired`` or ``reset``.
        value: How many SYNs the connection took.
    """

    timestamp_ns: int = 0
    puid: str = ""
    namespace: str = ""
    protocol: int = 0
    source_ip: str = ""
    destination_ip: str = ""
    destination_port: int = 0
    state: str = ""
    reason: str = ""
    value: int = 0


class CollectorCount(Struct, frozen=True, kw_only=True, gc=False):
    """What became of the records of one collector.

    ``accepted == delivered + dead_lettered + dropped + queued``. Where records wait on disk, these
    count from the day that the spool was made, otherwise from the epoch of the checkpoint.

    Attributes:
        name: The name of the collector in the configuration.
        accepted: Records that were given to it.
        delivered: Records that it took.
        dead_lettered: Records that are kept as dead letters.
        dropped: Records that were lost or left out on purpose.
        queued: Records that waited.
        accepted_in_epoch: How many of the accepted are of the epoch of the checkpoint.
    """

    name: str = ""
    accepted: int = 0
    delivered: int = 0
    dead_lettered: int = 0
    dropped: int = 0
    queued: int = 0
    accepted_in_epoch: int = 0


class Checkpoint(RecordBase, frozen=True, kw_only=True, gc=False, tag="checkpoint"):
    """The counts of all collectors at one moment, for who wants to prove that nothing is missing.

    It is numbered like any record (extension, ours): the counts are of all records of its
    epoch with a smaller number, and of earlier epochs where records wait on disk.

    Attributes:
        timestamp_ns: The moment, nanoseconds since 1970 UTC.
        final: Whether the intake has ended: no record of this epoch comes after it.
        collectors: The counts of each collector.
    """

    timestamp_ns: int = 0
    final: bool = False
    collectors: tuple[CollectorCount, ...] = ()


class IPTablesTraceRecord(Struct, frozen=True, kw_only=True, gc=False):
    """One step of a packet through the rules (extension, from HEAD).

    Attributes:
        ttl: Time to live or hop limit.
        chain: The chain.
        destination_ip: The destination address.
        destination_interface: The outgoing interface.
        destination_port: The destination port.
        length: The IP total length in bytes.
        packet_id: The IPv4 identification.
        protocol: The IP protocol number.
        rule_id: The number of the rule in its chain.
        source_ip: The source address.
        source_interface: The incoming interface.
        source_port: The source port.
        table_name: The table.
    """

    ttl: int = 0
    chain: str = ""
    destination_ip: str = ""
    destination_interface: str = ""
    destination_port: int = 0
    length: int = 0
    packet_id: int = 0
    protocol: int = 0
    rule_id: int = 0
    source_ip: str = ""
    source_interface: str = ""
    source_port: int = 0
    table_name: str = ""


class IPTablesTrace(RecordBase, frozen=True, kw_only=True, gc=False, tag="iptables_trace"):
    """The parsed way of packets through the rules (extension, from HEAD).

    Attributes:
        namespace: The management namespace.
        timestamp_ns: When the trace was taken, nanoseconds since 1970 UTC.
        records: The steps in order.
    """

    namespace: str = ""
    timestamp_ns: int = 0
    records: tuple[IPTablesTraceRecord, ...] = ()
