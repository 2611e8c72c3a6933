"""The protocol of Hubble's observer, as far as a host has something to say in it.

Names, numbers and the order of fields are those of Cilium v1.16: the order is that of its JSON.
What denied, and the kind of a policy, came with v1.18.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

from trireme_datapath.grpc_server import Schema, parse_schema

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["observer_schema"]

_FLOW: Final = """\
file flow/flow.proto
package flow
import google/protobuf/any.proto
import google/protobuf/wrappers.proto
import google/protobuf/timestamp.proto
message Flow
  time 1 google.protobuf.Timestamp
  uuid 34 string
  verdict 2 Verdict
  drop_reason 3 uint32
  auth_type 35 AuthType
  ethernet 4 Ethernet
  IP 5 IP
  l4 6 Layer4
  source 8 Endpoint
  destination 9 Endpoint
  Type 10 FlowType
  node_name 11 string
  node_labels 37 string*
  source_names 13 string*
  destination_names 14 string*
  l7 15 Layer7
  reply 16 bool
  event_type 19 CiliumEventType
  source_service 20 Service
  destination_service 21 Service
  traffic_direction 22 TrafficDirection
  policy_match_type 23 uint32
  trace_observation_point 24 TraceObservationPoint
  trace_reason 36 TraceReason
  drop_reason_desc 25 DropReason
  is_reply 26 google.protobuf.BoolValue
  debug_capture_point 27 DebugCapturePoint
  interface 28 NetworkInterface
  proxy_port 29 uint32
  trace_context 30 TraceContext
  sock_xlate_point 31 SocketTranslationPoint
  socket_cookie 32 uint64
  cgroup_id 33 uint64
  Summary 100000 string
  extensions 150000 google.protobuf.Any
  egress_allowed_by 21001 Policy*
  ingress_allowed_by 21002 Policy*
  egress_denied_by 21004 Policy*
  ingress_denied_by 21005 Policy*
enum FlowType
  UNKNOWN_TYPE 0
  L3_L4 1
  L7 2
  SOCK 3
message Layer4
  TCP 1 TCP @protocol
  UDP 2 UDP @protocol
  ICMPv4 3 ICMPv4 @protocol
  ICMPv6 4 ICMPv6 @protocol
  SCTP 5 SCTP @protocol
enum L7FlowType
  UNKNOWN_L7_TYPE 0
  REQUEST 1
  RESPONSE 2
  SAMPLE 3
message Layer7
  type 1 L7FlowType
  latency_ns 2 uint64
  dns 100 DNS @record
  http 101 HTTP @record
  kafka 102 Kafka @record
message TraceContext
  parent 1 TraceParent
message TraceParent
  trace_id 1 string
message Endpoint
  ID 1 uint32
  identity 2 uint32
  cluster_name 7 string
  namespace 3 string
  labels 4 string*
  pod_name 5 string
  workloads 6 Workload*
message Workload
  name 1 string
  kind 2 string
message TCP
  source_port 1 uint32
  destination_port 2 uint32
  flags 3 TCPFlags
message IP
  source 1 string
  source_xlated 5 string
  destination 2 string
  ipVersion 3 IPVersion
  encrypted 4 bool
message Ethernet
  source 1 string
  destination 2 string
message TCPFlags
  FIN 1 bool
  SYN 2 bool
  RST 3 bool
  PSH 4 bool
  ACK 5 bool
  URG 6 bool
  ECE 7 bool
  CWR 8 bool
  NS 9 bool
message UDP
  source_port 1 uint32
  destination_port 2 uint32
message SCTP
  source_port 1 uint32
  destination_port 2 uint32
message ICMPv4
  type 1 uint32
  code 2 uint32
message ICMPv6
  type 1 uint32
  code 2 uint32
enum IPVersion
  IP_NOT_USED 0
  IPv4 1
  IPv6 2
enum Verdict
  VERDICT_UNKNOWN 0
  FORWARDED 1
  DROPPED 2
  ERROR 3
  AUDIT 4
  REDIRECTED 5
  TRACED 6
  TRANSLATED 7
enum TrafficDirection
  TRAFFIC_DIRECTION_UNKNOWN 0
  INGRESS 1
  EGRESS 2
message Policy
  name 1 string
  namespace 2 string
  labels 3 string*
  revision 4 uint64
  kind 5 string
message EventTypeFilter
  type 1 int32
  match_sub_type 2 bool
  sub_type 3 int32
message CiliumEventType
  type 1 int32
  sub_type 2 int32
message FlowFilter
  uuid 29 string*
  source_ip 1 string*
  source_ip_xlated 34 string*
  source_pod 2 string*
  source_fqdn 7 string*
  source_label 10 string*
  source_service 16 string*
  source_workload 26 Workload*
  source_cluster_name 37 string*
  destination_ip 3 string*
  destination_pod 4 string*
  destination_fqdn 8 string*
  destination_label 11 string*
  destination_service 17 string*
  destination_workload 27 Workload*
  destination_cluster_name 38 string*
  traffic_direction 30 TrafficDirection*
  verdict 5 Verdict*
  drop_reason_desc 33 DropReason*
  interface 35 NetworkInterface*
  event_type 6 EventTypeFilter*
  http_status_code 9 string*
  protocol 12 string*
  source_port 13 string*
  destination_port 14 string*
  reply 15 bool*
  dns_query 18 string*
  source_identity 19 uint32*
  destination_identity 20 uint32*
  http_method 21 string*
  http_path 22 string*
  http_url 31 string*
  http_header 32 HTTPHeader*
  tcp_flags 23 TCPFlags*
  node_name 24 string*
  node_labels 36 string*
  ip_version 25 IPVersion*
  trace_id 28 string*
  experimental 999 FlowFilter.Experimental
message FlowFilter.Experimental
  cel_expression 1 string*
message DNS
  query 1 string
  ips 2 string*
  ttl 3 uint32
  cnames 4 string*
  observation_source 5 string
  rcode 6 uint32
  qtypes 7 string*
  rrtypes 8 string*
message HTTPHeader
  key 1 string
  value 2 string
message HTTP
  code 1 uint32
  method 2 string
  url 3 string
  protocol 4 string
  headers 5 HTTPHeader*
message Kafka
  error_code 1 int32
  api_version 2 int32
  api_key 3 string
  correlation_id 4 int32
  topic 5 string
message Service
  name 1 string
  namespace 2 string
enum LostEventSource
  UNKNOWN_LOST_EVENT_SOURCE 0
  PERF_EVENT_RING_BUFFER 1
  OBSERVER_EVENTS_QUEUE 2
  HUBBLE_RING_BUFFER 3
message LostEvent
  source 1 LostEventSource
  num_events_lost 2 uint64
  cpu 3 google.protobuf.Int32Value
message NetworkInterface
  index 1 uint32
  name 2 string
"""
_RELAY: Final = """\
file relay/relay.proto
package relay
message NodeStatusEvent
  state_change 1 NodeState
  node_names 2 string*
  message 3 string
enum NodeState
  UNKNOWN_NODE_STATE 0
  NODE_CONNECTED 1
  NODE_UNAVAILABLE 2
  NODE_GONE 3
  NODE_ERROR 4
"""
_OBSERVER: Final = """\
file observer/observer.proto
package observer
import google/protobuf/any.proto
import google/protobuf/wrappers.proto
import google/protobuf/timestamp.proto
import google/protobuf/field_mask.proto
import flow/flow.proto
import relay/relay.proto
message ServerStatusRequest
message ServerStatusResponse
  num_flows 1 uint64
  max_flows 2 uint64
  seen_flows 3 uint64
  uptime_ns 4 uint64
  num_connected_nodes 5 google.protobuf.UInt32Value
  num_unavailable_nodes 6 google.protobuf.UInt32Value
  unavailable_nodes 7 string*
  version 8 string
  flows_rate 9 double
message GetFlowsRequest
  number 1 uint64
  first 9 bool
  follow 3 bool
  blacklist 5 flow.FlowFilter*
  whitelist 6 flow.FlowFilter*
  since 7 google.protobuf.Timestamp
  until 8 google.protobuf.Timestamp
  field_mask 10 google.protobuf.FieldMask
  experimental 999 GetFlowsRequest.Experimental
  extensions 150000 google.protobuf.Any
message GetFlowsRequest.Experimental
  field_mask 1 google.protobuf.FieldMask
message GetFlowsResponse
  flow 1 flow.Flow @response_types
  node_status 2 relay.NodeStatusEvent @response_types
  lost_events 3 flow.LostEvent @response_types
  node_name 1000 string
  time 1001 google.protobuf.Timestamp
message GetNodesRequest
message GetNodesResponse
  nodes 1 Node*
message Node
  name 1 string
  version 2 string
  address 3 string
  state 4 relay.NodeState
  tls 5 TLS
  uptime_ns 6 uint64
  num_flows 7 uint64
  max_flows 8 uint64
  seen_flows 9 uint64
message TLS
  enabled 1 bool
  server_name 2 string
message GetNamespacesRequest
message GetNamespacesResponse
  namespaces 1 Namespace*
message Namespace
  cluster 1 string
  namespace 2 string
service Observer
  GetFlows GetFlowsRequest -> stream GetFlowsResponse
  GetNodes GetNodesRequest -> GetNodesResponse
  GetNamespaces GetNamespacesRequest -> GetNamespacesResponse
  ServerStatus ServerStatusRequest -> ServerStatusResponse
"""
_PEER: Final = """\
file peer/peer.proto
package peer
message NotifyRequest
message ChangeNotification
  name 1 string
  address 2 string
  type 3 ChangeNotificationType
  tls 4 TLS
enum ChangeNotificationType
  UNKNOWN 0
  PEER_ADDED 1
  PEER_DELETED 2
  PEER_UPDATED 3
message TLS
  server_name 1 string
service Peer
  Notify NotifyRequest -> stream ChangeNotification
"""


@functools.cache
def observer_schema() -> Schema:
    """Give the schema of the packages ``flow``, ``relay``, ``observer`` and ``peer``."""
    from trireme_datapath.monitor.tables.hubble import (  # noqa: PLC0415  costs a tenth of a second
        HUBBLE_AUTH_TYPES,
        HUBBLE_CAPTURE_POINTS,
        HUBBLE_DROP_REASONS,
        HUBBLE_SOCKET_POINTS,
        HUBBLE_TRACE_POINTS,
        HUBBLE_TRACE_REASONS,
    )

    enums: tuple[tuple[str, str, Mapping[int, str]], ...] = (
        ("AuthType", "DISABLED", HUBBLE_AUTH_TYPES),
        ("DebugCapturePoint", "DBG_CAPTURE_POINT_UNKNOWN", HUBBLE_CAPTURE_POINTS),
        ("DropReason", "DROP_REASON_UNKNOWN", HUBBLE_DROP_REASONS),
        ("SocketTranslationPoint", "SOCK_XLATE_POINT_UNKNOWN", HUBBLE_SOCKET_POINTS),
        ("TraceObservationPoint", "UNKNOWN_POINT", HUBBLE_TRACE_POINTS),
        ("TraceReason", "TRACE_REASON_UNKNOWN", HUBBLE_TRACE_REASONS),
    )
    tables = "".join(
        f"enum {name}\n"
        + "".join(f"  {value} {int(number)}\n" for number, value in {0: zero, **names}.items())
        for name, zero, names in enums
    )
    return parse_schema([_FLOW + tables, _RELAY, _OBSERVER, _PEER])
