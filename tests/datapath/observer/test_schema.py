"""The protocol: names and numbers that clients of Hubble 1.16 rely on."""

from __future__ import annotations

import pytest

from trireme_datapath.observer._schemas import observer_schema

NUMBERS = {
    "observer.GetFlowsRequest": (
        "number=1 follow=3 blacklist=5 whitelist=6 since=7 until=8 first=9 field_mask=10"
        " experimental=999 extensions=150000"
    ),
    "observer.GetFlowsRequest.Experimental": "field_mask=1",
    "observer.GetFlowsResponse": "flow=1 node_status=2 lost_events=3 node_name=1000 time=1001",
    "observer.ServerStatusResponse": (
        "num_flows=1 max_flows=2 seen_flows=3 uptime_ns=4 num_connected_nodes=5"
        " num_unavailable_nodes=6 unavailable_nodes=7 version=8 flows_rate=9"
    ),
    "observer.GetNodesResponse": "nodes=1",
    "observer.Node": (
        "name=1 version=2 address=3 state=4 tls=5 uptime_ns=6 num_flows=7 max_flows=8 seen_flows=9"
    ),
    "observer.TLS": "enabled=1 server_name=2",
    "observer.GetNamespacesResponse": "namespaces=1",
    "observer.Namespace": "cluster=1 namespace=2",
    "relay.NodeStatusEvent": "state_change=1 node_names=2 message=3",
    "peer.ChangeNotification": "name=1 address=2 type=3 tls=4",
    "peer.TLS": "server_name=1",
    "flow.Flow": (
        "time=1 verdict=2 drop_reason=3 ethernet=4 IP=5 l4=6 source=8 destination=9 Type=10"
        " node_name=11 source_names=13 destination_names=14 l7=15 reply=16 event_type=19"
        " source_service=20 destination_service=21 traffic_direction=22 policy_match_type=23"
        " trace_observation_point=24 drop_reason_desc=25 is_reply=26 debug_capture_point=27"
        " interface=28 proxy_port=29 trace_context=30 sock_xlate_point=31 socket_cookie=32"
        " cgroup_id=33 uuid=34 auth_type=35 trace_reason=36 node_labels=37"
        " egress_allowed_by=21001 ingress_allowed_by=21002 egress_denied_by=21004"
        " ingress_denied_by=21005 Summary=100000 extensions=150000"
    ),
    "flow.IP": "source=1 destination=2 ipVersion=3 encrypted=4 source_xlated=5",
    "flow.Ethernet": "source=1 destination=2",
    "flow.Layer4": "TCP=1 UDP=2 ICMPv4=3 ICMPv6=4 SCTP=5",
    "flow.Endpoint": ("ID=1 identity=2 namespace=3 labels=4 pod_name=5 workloads=6 cluster_name=7"),
    "flow.CiliumEventType": "type=1 sub_type=2",
    "flow.Service": "name=1 namespace=2",
    "flow.NetworkInterface": "index=1 name=2",
    "flow.TCP": "source_port=1 destination_port=2 flags=3",
    "flow.UDP": "source_port=1 destination_port=2",
    "flow.SCTP": "source_port=1 destination_port=2",
    "flow.ICMPv4": "type=1 code=2",
    "flow.ICMPv6": "type=1 code=2",
    "flow.TCPFlags": "FIN=1 SYN=2 RST=3 PSH=4 ACK=5 URG=6 ECE=7 CWR=8 NS=9",
    "flow.LostEvent": "source=1 num_events_lost=2 cpu=3",
    "flow.Layer7": "type=1 latency_ns=2 dns=100 http=101 kafka=102",
    "flow.EventTypeFilter": "type=1 match_sub_type=2 sub_type=3",
    "flow.FlowFilter": (
        "source_ip=1 source_pod=2 destination_ip=3 destination_pod=4 verdict=5 event_type=6"
        " source_fqdn=7 destination_fqdn=8 http_status_code=9 source_label=10 destination_label=11"
        " protocol=12 source_port=13 destination_port=14 reply=15 source_service=16"
        " destination_service=17 dns_query=18 source_identity=19 destination_identity=20"
        " http_method=21 http_path=22 tcp_flags=23 node_name=24 ip_version=25 source_workload=26"
        " destination_workload=27 trace_id=28 uuid=29 traffic_direction=30 http_url=31"
        " http_header=32 drop_reason_desc=33 source_ip_xlated=34 interface=35 node_labels=36"
        " source_cluster_name=37 destination_cluster_name=38 experimental=999"
    ),
}
VALUES = {
    "flow.Verdict": (
        "VERDICT_UNKNOWN=0 FORWARDED=1 DROPPED=2 ERROR=3 AUDIT=4 REDIRECTED=5 TRACED=6 TRANSLATED=7"
    ),
    "flow.TrafficDirection": "TRAFFIC_DIRECTION_UNKNOWN=0 INGRESS=1 EGRESS=2",
    "flow.FlowType": "UNKNOWN_TYPE=0 L3_L4=1 L7=2 SOCK=3",
    "flow.IPVersion": "IP_NOT_USED=0 IPv4=1 IPv6=2",
    "flow.LostEventSource": (
        "UNKNOWN_LOST_EVENT_SOURCE=0 PERF_EVENT_RING_BUFFER=1 OBSERVER_EVENTS_QUEUE=2"
        " HUBBLE_RING_BUFFER=3"
    ),
    "flow.TraceObservationPoint": (
        "UNKNOWN_POINT=0 TO_PROXY=1 TO_HOST=2 TO_STACK=3 TO_OVERLAY=4 FROM_ENDPOINT=5"
        " FROM_PROXY=6 FROM_HOST=7 FROM_STACK=8 FROM_OVERLAY=9 FROM_NETWORK=10 TO_NETWORK=11"
        " TO_ENDPOINT=101"
    ),
    "relay.NodeState": (
        "UNKNOWN_NODE_STATE=0 NODE_CONNECTED=1 NODE_UNAVAILABLE=2 NODE_GONE=3 NODE_ERROR=4"
    ),
    "peer.ChangeNotificationType": "UNKNOWN=0 PEER_ADDED=1 PEER_DELETED=2 PEER_UPDATED=3",
}


def read(text: str) -> dict[str, int]:
    return {name: int(number) for name, _, number in (w.partition("=") for w in text.split())}


@pytest.mark.parametrize("name", NUMBERS)
def test_fields_have_their_numbers(name: str) -> None:
    fields = observer_schema().messages[name].fields
    assert {field.name: field.number for field in fields.values()} == read(NUMBERS[name])


@pytest.mark.parametrize("name", VALUES)
def test_values_have_their_numbers(name: str) -> None:
    assert observer_schema().enums[name].numbers == read(VALUES[name])


def test_services_have_their_methods() -> None:
    methods = {
        f"/{service.name}/{method.name}": (method.request_stream, method.response_stream)
        for file in observer_schema().files
        for service in file.services
        for method in service.methods
    }
    assert methods == {
        "/observer.Observer/GetFlows": (False, True),
        "/observer.Observer/GetNodes": (False, False),
        "/observer.Observer/GetNamespaces": (False, False),
        "/observer.Observer/ServerStatus": (False, False),
        "/peer.Peer/Notify": (False, True),
    }


def test_files_are_named_as_the_originals() -> None:
    assert [file.name for file in observer_schema().files] == [
        "flow/flow.proto",
        "relay/relay.proto",
        "observer/observer.proto",
        "peer/peer.proto",
    ]
