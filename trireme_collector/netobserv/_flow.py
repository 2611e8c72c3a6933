"""The flow log and the conversation record of the format, as a type."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import UNSET, Struct, UnsetType, field

__all__ = ["FLOW_FIELDS", "LABELS", "SEED_FIELDS", "Flow"]

Text: TypeAlias = str | UnsetType
Integer: TypeAlias = int | UnsetType
# Others may write fractions, or add up in floats.
Number: TypeAlias = int | float | UnsetType
Flag: TypeAlias = bool | UnsetType
Flags: TypeAlias = int | tuple[str, ...] | UnsetType
Texts: TypeAlias = tuple[str, ...] | UnsetType
Integers: TypeAlias = tuple[int, ...] | UnsetType
Events: TypeAlias = tuple[dict[str, str], ...] | UnsetType


class Flow(Struct, frozen=True, kw_only=True, gc=False):
    """One record of the format: a flow log, or what is known of a conversation.

    Absent is absent: a field without a value is UNSET and not written. The names of the format
    are those in JSON; fields are written in the order in which they stand here.

    Attributes:
        src_k8s_namespace: Namespace of the source.
        dst_k8s_namespace: Namespace of the destination.
        src_k8s_owner_name: Owner of the source, such as its Deployment or StatefulSet.
        dst_k8s_owner_name: Owner of the destination.
        flow_direction: Direction seen from the node: 0 ingress, 1 egress, 2 within the node.
        record_type: Kind of record: flowLog, newConnection, heartbeat or endConnection.
        src_addr: Source address.
        dst_addr: Destination address.
        src_mac: Source hardware address.
        dst_mac: Destination hardware address.
        src_k8s_name: Name of the source's object: a Pod, Service or Node.
        dst_k8s_name: Name of the destination's object.
        src_k8s_type: Kind of the source's object.
        dst_k8s_type: Kind of the destination's object.
        src_port: Source port.
        dst_port: Destination port.
        src_k8s_owner_type: Kind of the source's owner.
        dst_k8s_owner_type: Kind of the destination's owner.
        src_k8s_host_ip: Address of the source's node.
        dst_k8s_host_ip: Address of the destination's node.
        src_k8s_host_name: Name of the source's node.
        dst_k8s_host_name: Name of the destination's node.
        proto: IP protocol number.
        interface: Network interface.
        packets: Packets of this flow log; of a conversation, so far, packets.
        packets_ab: Packets from A to B so far, packets.
        packets_ba: Packets from B to A so far, packets.
        bytes: Bytes of this flow log; of a conversation, so far, bytes.
        bytes_ab: Bytes from A to B so far, bytes.
        bytes_ba: Bytes from B to A so far, bytes.
        time_flow_start_ms: First packet, ms since 1970.
        time_flow_end_ms: Last packet, ms since 1970.
        time_received: When the flow log was received, s since 1970.
        hash_id: Id of the conversation, in hexadecimal digits.
        is_first: Whether this is the first record of its conversation.
        num_flow_logs: Flow logs of the conversation so far, flow logs.
        agent_ip: Address of the node that reported the flow log.
        etype: EtherType.
        dscp: Differentiated services code point.
        flags: TCP flags: bits, or the names of those that are set.
        icmp_type: ICMP type.
        icmp_code: ICMP code.
        duplicate: Whether the same packets are in another flow log, too.
        if_direction: Direction seen from the interface.
        interfaces: Every interface on which the flow was seen.
        if_directions: Direction for each of them: 0, 1, or 3 for both.
        udns: User-defined network for each of them.
        sampling: One of so many packets was seen; nothing is multiplied by it, packets.
        time_flow_rtt_ns: Smoothed round-trip time of TCP, ns.
        max_time_flow_rtt_ns: The longest of a conversation, ns.
        dns_id: DNS transaction.
        dns_flags: DNS flags.
        dns_flags_response_code: DNS response code, such as NoError.
        dns_latency_ms: Time from DNS query to response, ms.
        dns_name: Name that was asked for.
        dns_errno: Why DNS tracking failed.
        pkt_drop_bytes: Dropped bytes, bytes.
        pkt_drop_bytes_ab: Dropped from A to B so far, bytes.
        pkt_drop_bytes_ba: Dropped from B to A so far, bytes.
        pkt_drop_packets: Dropped packets, packets.
        pkt_drop_packets_ab: Dropped from A to B so far, packets.
        pkt_drop_packets_ba: Dropped from B to A so far, packets.
        pkt_drop_latest_flags: TCP flags of the last dropped packet.
        pkt_drop_latest_state: TCP state at the last drop.
        pkt_drop_latest_drop_cause: Cause of the last drop.
        xlat_src_addr: Source address after translation.
        xlat_dst_addr: Destination address after translation.
        xlat_src_port: Source port after translation.
        xlat_dst_port: Destination port after translation.
        zone_id: Conntrack zone.
        network_events: Decisions of network policies.
        ipsec_status: Whether encryption worked: success or error.
        ipsec_ret_code: Return code of encryption.
        tls_version: TLS version.
        tls_types: Kinds of TLS messages.
        tls_cipher_suite: TLS cipher suite.
        tls_group: TLS key exchange group.
        quic_version: QUIC version.
        quic_seen_long_hdr: Whether long QUIC headers were seen.
        quic_seen_short_hdr: Whether short QUIC headers were seen.
        src_k8s_zone: Zone of the source's node.
        dst_k8s_zone: Zone of the destination's node.
        src_k8s_network_name: Network of the source's object.
        dst_k8s_network_name: Network of the destination's object.
        k8s_cluster_name: Cluster.
        k8s_flow_layer: Whether an application talks (app) or the cluster (infra).
        src_subnet_label: Label of the source's subnet.
        dst_subnet_label: Label of the destination's subnet.
    """

    # The labels of the format.
    src_k8s_namespace: Text = field(default=UNSET, name="SrcK8S_Namespace")
    dst_k8s_namespace: Text = field(default=UNSET, name="DstK8S_Namespace")
    src_k8s_owner_name: Text = field(default=UNSET, name="SrcK8S_OwnerName")
    dst_k8s_owner_name: Text = field(default=UNSET, name="DstK8S_OwnerName")
    flow_direction: Integer = field(default=UNSET, name="FlowDirection")
    record_type: Text = field(default=UNSET, name="_RecordType")
    # Its other fields.
    src_addr: Text = field(default=UNSET, name="SrcAddr")
    dst_addr: Text = field(default=UNSET, name="DstAddr")
    src_mac: Text = field(default=UNSET, name="SrcMac")
    dst_mac: Text = field(default=UNSET, name="DstMac")
    src_k8s_name: Text = field(default=UNSET, name="SrcK8S_Name")
    dst_k8s_name: Text = field(default=UNSET, name="DstK8S_Name")
    src_k8s_type: Text = field(default=UNSET, name="SrcK8S_Type")
    dst_k8s_type: Text = field(default=UNSET, name="DstK8S_Type")
    src_port: Integer = field(default=UNSET, name="SrcPort")
    dst_port: Integer = field(default=UNSET, name="DstPort")
    src_k8s_owner_type: Text = field(default=UNSET, name="SrcK8S_OwnerType")
    dst_k8s_owner_type: Text = field(default=UNSET, name="DstK8S_OwnerType")
    src_k8s_host_ip: Text = field(default=UNSET, name="SrcK8S_HostIP")
    dst_k8s_host_ip: Text = field(default=UNSET, name="DstK8S_HostIP")
    src_k8s_host_name: Text = field(default=UNSET, name="SrcK8S_HostName")
    dst_k8s_host_name: Text = field(default=UNSET, name="DstK8S_HostName")
    proto: Integer = field(default=UNSET, name="Proto")
    interface: Text = field(default=UNSET, name="Interface")
    packets: Number = field(default=UNSET, name="Packets")
    packets_ab: Number = field(default=UNSET, name="Packets_AB")
    packets_ba: Number = field(default=UNSET, name="Packets_BA")
    bytes: Number = field(default=UNSET, name="Bytes")
    bytes_ab: Number = field(default=UNSET, name="Bytes_AB")
    bytes_ba: Number = field(default=UNSET, name="Bytes_BA")
    time_flow_start_ms: Number = field(default=UNSET, name="TimeFlowStartMs")
    time_flow_end_ms: Number = field(default=UNSET, name="TimeFlowEndMs")
    time_received: Number = field(default=UNSET, name="TimeReceived")
    hash_id: Text = field(default=UNSET, name="_HashId")
    is_first: Flag = field(default=UNSET, name="_IsFirst")
    num_flow_logs: Number = field(default=UNSET, name="numFlowLogs")
    # Added to the format later.
    agent_ip: Text = field(default=UNSET, name="AgentIP")
    etype: Integer = field(default=UNSET, name="Etype")
    dscp: Integer = field(default=UNSET, name="Dscp")
    flags: Flags = field(default=UNSET, name="Flags")
    icmp_type: Integer = field(default=UNSET, name="IcmpType")
    icmp_code: Integer = field(default=UNSET, name="IcmpCode")
    duplicate: Flag = field(default=UNSET, name="Duplicate")
    if_direction: Integer = field(default=UNSET, name="IfDirection")
    interfaces: Texts = field(default=UNSET, name="Interfaces")
    if_directions: Integers = field(default=UNSET, name="IfDirections")
    udns: Texts = field(default=UNSET, name="Udns")
    sampling: Number = field(default=UNSET, name="Sampling")
    time_flow_rtt_ns: Number = field(default=UNSET, name="TimeFlowRttNs")
    max_time_flow_rtt_ns: Number = field(default=UNSET, name="MaxTimeFlowRttNs")
    dns_id: Integer = field(default=UNSET, name="DnsId")
    dns_flags: Integer = field(default=UNSET, name="DnsFlags")
    dns_flags_response_code: Text = field(default=UNSET, name="DnsFlagsResponseCode")
    dns_latency_ms: Number = field(default=UNSET, name="DnsLatencyMs")
    dns_name: Text = field(default=UNSET, name="DnsName")
    dns_errno: Integer = field(default=UNSET, name="DnsErrno")
    pkt_drop_bytes: Number = field(default=UNSET, name="PktDropBytes")
    pkt_drop_bytes_ab: Number = field(default=UNSET, name="PktDropBytes_AB")
    pkt_drop_bytes_ba: Number = field(default=UNSET, name="PktDropBytes_BA")
    pkt_drop_packets: Number = field(default=UNSET, name="PktDropPackets")
    pkt_drop_packets_ab: Number = field(default=UNSET, name="PktDropPackets_AB")
    pkt_drop_packets_ba: Number = field(default=UNSET, name="PktDropPackets_BA")
    pkt_drop_latest_flags: Flags = field(default=UNSET, name="PktDropLatestFlags")
    pkt_drop_latest_state: Text = field(default=UNSET, name="PktDropLatestState")
    pkt_drop_latest_drop_cause: Text = field(default=UNSET, name="PktDropLatestDropCause")
    xlat_src_addr: Text = field(default=UNSET, name="XlatSrcAddr")
    xlat_dst_addr: Text = field(default=UNSET, name="XlatDstAddr")
    xlat_src_port: Integer = field(default=UNSET, name="XlatSrcPort")
    xlat_dst_port: Integer = field(default=UNSET, name="XlatDstPort")
    zone_id: Integer = field(default=UNSET, name="ZoneId")
    network_events: Events = field(default=UNSET, name="NetworkEvents")
    ipsec_status: Text = field(default=UNSET, name="IPSecStatus")
    ipsec_ret_code: Integer = field(default=UNSET, name="IPSecRetCode")
    tls_version: Text = field(default=UNSET, name="TLSVersion")
    tls_types: Texts = field(default=UNSET, name="TLSTypes")
    tls_cipher_suite: Text = field(default=UNSET, name="TLSCipherSuite")
    tls_group: Text = field(default=UNSET, name="TLSGroup")
    quic_version: Text = field(default=UNSET, name="QuicVersion")
    quic_seen_long_hdr: Integer = field(default=UNSET, name="QuicSeenLongHdr")
    quic_seen_short_hdr: Integer = field(default=UNSET, name="QuicSeenShortHdr")
    src_k8s_zone: Text = field(default=UNSET, name="SrcK8S_Zone")
    dst_k8s_zone: Text = field(default=UNSET, name="DstK8S_Zone")
    src_k8s_network_name: Text = field(default=UNSET, name="SrcK8S_NetworkName")
    dst_k8s_network_name: Text = field(default=UNSET, name="DstK8S_NetworkName")
    k8s_cluster_name: Text = field(default=UNSET, name="K8S_ClusterName")
    k8s_flow_layer: Text = field(default=UNSET, name="K8S_FlowLayer")
    src_subnet_label: Text = field(default=UNSET, name="SrcSubnetLabel")
    dst_subnet_label: Text = field(default=UNSET, name="DstSubnetLabel")


FLOW_FIELDS: tuple[str, ...] = Flow.__struct_encode_fields__
"""Every field of the format, in the order in which they are written."""

SEED_FIELDS: tuple[str, ...] = FLOW_FIELDS[: FLOW_FIELDS.index("AgentIP")]
"""Those that the published format names."""

LABELS: tuple[str, ...] = FLOW_FIELDS[: FLOW_FIELDS.index("SrcAddr")]
"""Those that are labels where a store knows labels."""
