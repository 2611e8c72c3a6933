"""Our flow records become flow logs, and conversations add up to them again."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from tests.core.netobserv.flows import config
from trireme_collector import ActionType, Direction, EndPoint, FlowRecord
from trireme_collector.netobserv import (
    Flow,
    Tracker,
    flow_fields,
    flows_from_record,
    record_from_flow,
)

RECORD = FlowRecord(
    namespace="/shop",
    source=EndPoint(ip="192.0.2.1", port=40000),
    destination=EndPoint(ip="192.0.2.2", port=443),
    policy_id="web",
    action=ActionType.ACCEPT,
    l4_protocol=6,
    count=1,
    start_time_ns=1_700_000_000_123_456_789,
    end_time_ns=1_700_000_001_000_000_000,
    direction=Direction.INGRESS,
    interface="eth0",
    tcp_flags=0x12,
    source_packets=3,
    source_bytes=300,
    destination_packets=2,
    destination_bytes=2000,
)


def test_each_direction_is_a_flow_log() -> None:
    there, back = flows_from_record(RECORD, agent_ip="198.51.100.1", time_received=1_700_000_002)
    assert flow_fields(there) == {
        "FlowDirection": 0,
        "SrcAddr": "192.0.2.1",
        "DstAddr": "192.0.2.2",
        "SrcPort": 40000,
        "DstPort": 443,
        "Proto": 6,
        "Interface": "eth0",
        "Packets": 3,
        "Bytes": 300,
        "TimeFlowStartMs": 1_700_000_000_123,
        "TimeFlowEndMs": 1_700_000_001_000,
        "TimeReceived": 1_700_000_002,
        "AgentIP": "198.51.100.1",
        "Etype": 0x0800,
        "Flags": 0x12,
        "NetworkEvents": [
            {
                "Feature": "acl",
                "Type": "NetworkPolicy",
                "Namespace": "/shop",
                "Name": "web",
                "Action": "allow",
                "Direction": "Ingress",
            }
        ],
    }
    assert (back.src_addr, back.src_port, back.flow_direction) == ("192.0.2.2", 443, 1)
    assert (back.packets, back.bytes) == (2, 2000)


def test_a_silent_server_has_no_flow_log() -> None:
    silent = msgspec.structs.replace(RECORD, destination_packets=0, destination_bytes=0)
    assert len(flows_from_record(silent)) == 1


def test_icmp_has_its_type_and_code_there_and_not_back() -> None:
    ping = msgspec.structs.replace(RECORD, l4_protocol=1, tcp_flags=UNSET, icmp_type=8, icmp_code=0)
    there, back = flows_from_record(ping)
    assert (there.icmp_type, there.icmp_code) == (8, 0)
    assert (back.icmp_type, back.icmp_code) == (UNSET, UNSET)
    again = record_from_flow(there)
    assert (again.icmp_type, again.icmp_code) == (8, 0)
    # Readers of the format write zeros where there is no ICMP.
    other = record_from_flow(msgspec.structs.replace(there, proto=6))
    assert (other.icmp_type, other.icmp_code) == (UNSET, UNSET)


def test_without_counters_of_each_direction() -> None:
    record = FlowRecord(packets=5, bytes=50, l4_protocol=17)
    (flow,) = flows_from_record(record)
    assert (flow.packets, flow.bytes, flow.src_addr) == (5, 50, UNSET)


def test_ports_are_those_of_protocols_that_have_them() -> None:
    (flow,) = flows_from_record(FlowRecord(l4_protocol=1, source=EndPoint(ip="::1", port=8)))
    assert (flow.src_port, flow.dst_port, flow.etype) == (UNSET, UNSET, 0x86DD)


def test_what_was_rejected_was_dropped() -> None:
    rejected = FlowRecord(
        action=ActionType.REJECT, drop_reason="policy", packets=1, bytes=60, l4_protocol=6
    )
    (flow,) = flows_from_record(rejected)
    assert (flow.pkt_drop_packets, flow.pkt_drop_bytes) == (1, 60)
    assert flow.pkt_drop_latest_drop_cause == "policy"
    back = record_from_flow(flow)
    assert back.action.rejected
    assert back.drop_reason == "policy"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("::ffff:192.0.2.1", "192.0.2.1"), ("::ffff:zz", "::ffff:zz"), ("2001:db8::1", "2001:db8::1")],
)
def test_a_mapped_address_is_an_ipv4_address(text: str, expected: str) -> None:
    (flow,) = flows_from_record(FlowRecord(source=EndPoint(ip=text)))
    assert flow.src_addr == expected


def test_a_flow_log_becomes_a_record() -> None:
    flow = Flow(
        src_addr="192.0.2.1",
        src_port=1,
        dst_addr="192.0.2.2",
        dst_port=2,
        proto=6,
        flow_direction=1,
        bytes=10.0,
        packets=2,
        flags=("SYN", "SYN_ACK"),
        interfaces=("eth1", "eth2"),
        src_k8s_name="web",
        num_flow_logs=3,
        time_flow_end_ms=5,
    )
    record = record_from_flow(flow)
    assert (record.bytes, record.packets, record.count, record.tcp_flags) == (10, 2, 3, 0x12)
    assert (record.interface, record.direction) == ("eth1", Direction.EGRESS)
    assert record.tags == ("SrcK8S_Name=web",)
    assert (record.end_time_ns, record.start_time_ns) == (5_000_000, UNSET)
    assert record_from_flow(Flow()) == FlowRecord(count=1)
    assert record_from_flow(Flow(flow_direction=2)).direction is UNSET


@given(
    st.integers(0, 65535),
    st.integers(1, 2**40),
    st.sampled_from(list(Direction)),
    st.sampled_from([ActionType.ACCEPT, ActionType.REJECT]),
)
def test_there_and_back(port: int, count: int, direction: Direction, action: ActionType) -> None:
    record = FlowRecord(
        namespace="/n",
        source=EndPoint(ip="192.0.2.1", port=port),
        destination=EndPoint(ip="2001:db8::1", port=80),
        policy_id="p",
        count=1,
        action=action,
        l4_protocol=17,
        packets=count,
        bytes=count * 100,
        start_time_ns=count * 1_000_000,
        end_time_ns=count * 2_000_000,
        direction=direction,
        interface="eth0",
    )
    (flow,) = flows_from_record(record)
    assert record_from_flow(flow) == record


def test_a_record_makes_one_conversation() -> None:
    tracker = Tracker.from_config(config(outputRecordTypes=["endConnection"]))
    tracker.process([flow_fields(flow) for flow in flows_from_record(RECORD)], 0)
    (end,) = tracker.flush()
    assert (end["Bytes_AB"], end["Bytes_BA"], end["Packets"]) == (300, 2000, 5)
