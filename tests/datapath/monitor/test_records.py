"""Messages as records: what each kind becomes, and that no bytes are too much for it."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from trireme_collector.records import (
    ActionType,
    ContainerRecord,
    Direction,
    DNSRequestReport,
    EndPoint,
    EndPointType,
    FlowRecord,
    PacketEvent,
    PacketReport,
    encode_json,
)
from trireme_datapath.monitor import AgentNotify, MessageError
from trireme_datapath.monitor.gob import Basic, Field, GobSchema, GobStruct, SliceType, StructType
from trireme_datapath.monitor.publishing import Notifier
from trireme_datapath.monitor.publishing._endpoints import agent_message
from trireme_datapath.monitor.records import MonitorRecords, RecordSelection

if TYPE_CHECKING:
    from trireme_collector.records import Record

DATA = Path(__file__).parents[2] / "data" / "monitor"
SAMPLES = [
    *(bytes.fromhex(p["data"]) for p in json.loads((DATA / "session.json").read_bytes())),
    *(bytes.fromhex(c["hex"]) for c in json.loads((DATA / "inner_streams.json").read_bytes())),
]

SYN = bytes.fromhex(
    "02334567 89ab 0123456789ab 0800"
    "4500002800010000400600000102030405060708"
    "0050 01bb 00000000 00000000 5002 2000 0000 0000"
)
BOTH = RecordSelection(packets=("policy-verdict", "drop", "trace"))


def verdict(value: int, *, flags: int = 1, remote: int = 2, packet: bytes = SYN) -> bytes:
    head = struct.pack(
        "<BBHIIHHIiHBBBBH",
        5, 0, 33, 0xBEEF, len(SYN), len(packet), 1, remote, value, 443, 6, flags, 0, 0, 0,
    )  # fmt: skip
    return head + packet


def drop(
    reason: int, *, source: int = 33, dst_id: int = 33, packet: bytes = SYN, **over: int
) -> bytes:
    head = struct.pack(
        "<BBHIIIIIIHBbI",
        1, reason, source, 0xBEEF, over.get("length", len(SYN)), 54 | 1 << 16,
        over.get("src_label", 2), over.get("dst_label", 30_000), dst_id, 100, 2,
        over.get("ext_error", 0), over.get("ifindex", 5),
    )  # fmt: skip
    return head + packet


def trace(
    point: int, reason: int, *, source: int = 33, dst_id: int = 0, original: str = "", **over: int
) -> bytes:
    packed = bytes(map(int, original.split("."))) if original else bytes(4)
    head = struct.pack(
        "<BBHIIHHIIHBBI16s",
        4, point, source, 0xBEEF, len(SYN), len(SYN), 1, over.get("src_label", 30_000),
        over.get("dst_label", 2), dst_id, reason, 0, over.get("ifindex", 0), packed,
    )  # fmt: skip
    return head + SYN


def only(records: list[Record]) -> Record:
    (record,) = records
    return record


def flow(message: bytes) -> FlowRecord:
    selection = RecordSelection(packets=())
    record = only(MonitorRecords(ifnames={5: "eth0"}, selection=selection).records(message))
    assert isinstance(record, FlowRecord)
    return record


def packet(message: bytes) -> PacketReport:
    selection = RecordSelection(flows=(), packets=BOTH.packets)
    record = only(MonitorRecords(ifnames={5: "eth0"}, selection=selection).records(message))
    assert isinstance(record, PacketReport)
    return record


# Policy verdicts.


def test_an_allowed_connection_that_comes_in() -> None:
    assert flow(verdict(0, flags=1 | 2 << 3)) == FlowRecord(
        context_id="33",
        source=EndPoint(id="reserved:world", ip="1.2.3.4", port=80),
        destination=EndPoint(id="endpoint:33", ip="5.6.7.8", port=443, type=EndPointType.PU),
        tags=("cilium.type=policy-verdict", "cilium.match=L3-L4", "cilium.auth=disabled"),
        count=1,
        action=ActionType.ACCEPT,
        l4_protocol=6,
        packets=1,
        bytes=54,
        direction=Direction.INGRESS,
        tcp_flags=2,
    )


def test_a_denied_connection_that_goes_out() -> None:
    record = flow(verdict(-133, flags=2, remote=45_000))
    assert record.action is ActionType.REJECT
    assert record.drop_reason == "Policy denied"
    assert record.direction is Direction.EGRESS
    assert (record.source.id, record.destination.id) == ("endpoint:33", "identity:45000")
    assert record.destination.type is EndPointType.PU


def test_a_connection_that_is_audited_passes_and_says_what_would_have_been() -> None:
    record = flow(verdict(0, flags=0x41))
    assert record.action is ActionType.ACCEPT
    assert record.observed_action is ActionType.REJECT
    assert record.observed_policy_id == "audit"


def test_a_connection_that_is_sent_to_a_proxy_passes() -> None:
    record = flow(verdict(12_345))
    assert record.action is ActionType.ACCEPT
    assert "cilium.proxy-port=12345" in record.tags


@pytest.mark.parametrize(
    ("identity", "name", "kind"),
    [
        (1, "reserved:host", EndPointType.PU),
        (2, "reserved:world", EndPointType.EXTERNAL_IP),
        (9, "reserved:world-ipv4", EndPointType.EXTERNAL_IP),
        (4711, "identity:4711", EndPointType.PU),
        (16_777_217, "identity:16777217", EndPointType.EXTERNAL_IP),
        (0, "", EndPointType.EXTERNAL_IP),
    ],
)
def test_identities(identity: int, name: str, kind: EndPointType) -> None:
    source = flow(verdict(0, remote=identity)).source
    assert (source.id, source.type) == (name, kind)


# Drops.


def test_a_drop_is_a_flow_and_a_packet() -> None:
    first, second = MonitorRecords(ifnames={5: "eth0"}).records(drop(133))
    assert isinstance(first, FlowRecord)
    assert isinstance(second, PacketReport)
    assert first.drop_reason == second.drop_reason == "Policy denied"
    assert first.direction is Direction.INGRESS
    assert first.destination.id == "identity:30000"
    assert first.tags == ("cilium.type=drop", "cilium.file=bpf_lxc.c:100")
    assert second == PacketReport(
        tcp_flags=2,
        claims=(
            "cilium.source-identity=reserved:world",
            "cilium.destination-identity=identity:30000",
        ),
        destination_ip="5.6.7.8",
        destination_port=443,
        drop_reason="Policy denied",
        event=PacketEvent.DROPPED,
        length=40,
        mark=0xBEEF,
        packet_id=1,
        protocol=6,
        puid="endpoint:33",
        source_ip="1.2.3.4",
        source_port=80,
        payload=SYN[14:],
        interface="eth0",
    )


def test_directions_of_drops() -> None:
    assert flow(drop(133, dst_id=0)).direction is Direction.EGRESS
    assert flow(drop(133, source=0)).direction is UNSET


def test_drop_reasons_with_a_second_error_and_unknown_ones() -> None:
    assert flow(drop(169, ext_error=-2)).drop_reason == "FIB lookup failed, -2"
    assert flow(drop(250)).drop_reason == "250, 0"
    old = MonitorRecords(profile="1.9").records(drop(136)[:28] + bytes(4) + SYN)
    assert isinstance(old[0], FlowRecord)
    assert old[0].drop_reason == "CT: Missing TCP ACK flag"
    assert old[0].interface is UNSET


def test_a_packet_without_ip_is_no_flow() -> None:
    arp = bytes(12) + b"\x08\x06" + bytes(28)
    record = only(MonitorRecords().records(drop(133, packet=arp)))
    assert isinstance(record, PacketReport)
    assert (record.source_ip, record.length, record.payload) == ("", 54, b"")


@pytest.mark.parametrize("length", range(0, len(SYN), 3))
def test_a_packet_that_was_cut(length: int) -> None:
    records = MonitorRecords(selection=BOTH).records(drop(133, packet=SYN[:length]))
    assert len(records) == (2 if length >= 34 else 1)


def test_a_packet_of_a_device_without_ethernet_and_one_with_a_tag() -> None:
    tagged = SYN[:12] + b"\x81\x00\x00\x05\x08\x00" + SYN[14:]
    assert flow(drop(133, packet=tagged)).source.ip == "1.2.3.4"
    checked = bytearray(SYN[14:])
    checked[10:12] = (0xFFFF - int.from_bytes(checked[:20]) % 0xFFFF).to_bytes(2)
    assert flow(drop(133, packet=bytes(checked))).source.ip == "1.2.3.4"


# Traces.


def test_a_trace_is_an_accepted_flow() -> None:
    record = flow(trace(3, 0))
    assert record.action is ActionType.ACCEPT
    assert record.direction is Direction.EGRESS
    assert record.source.id == "identity:30000"
    assert record.tags == ("cilium.type=trace", "cilium.point=to-stack", "cilium.state=new")


def test_an_answer_is_part_of_the_flow_that_it_answers() -> None:
    record = flow(trace(3, 2))
    assert (record.source.ip, record.destination.ip) == ("5.6.7.8", "1.2.3.4")
    assert (record.source.id, record.destination.id) == ("reserved:world", "identity:30000")
    assert record.direction is Direction.INGRESS


@pytest.mark.parametrize(
    ("message", "direction"),
    [
        (trace(0, 0, dst_id=33), Direction.INGRESS),
        (trace(0, 2, dst_id=33), Direction.EGRESS),
        (trace(5, 1), Direction.EGRESS),
        (trace(5, 5), UNSET),
        (trace(9, 0, source=0), UNSET),
        (trace(4, 8), Direction.EGRESS),
        (trace(0, 0, original="10.0.0.1"), Direction.EGRESS),
    ],
)
def test_directions_of_traces(message: bytes, direction: Direction) -> None:
    assert flow(message).direction is direction


def test_the_source_before_it_was_translated() -> None:
    record = flow(trace(0, 0, original="10.0.0.1"))
    assert record.source.ip == "10.0.0.1"
    assert "cilium.translated-source=1.2.3.4" in record.tags


def test_traces_to_proxies_and_encrypted_ones() -> None:
    record = flow(trace(1, 0x80, dst_id=9080))
    assert "cilium.proxy-port=9080" in record.tags
    assert "cilium.encrypted=true" in record.tags
    assert "cilium.state=new" in record.tags


def test_packets_of_traces_if_wanted() -> None:
    assert packet(trace(3, 0)).event is PacketEvent.TRANSMITTED
    assert packet(trace(5, 0)).event is PacketEvent.RECEIVED
    assert packet(trace(3, 0, ifindex=7)).interface == "7"


# What our own agent publishes comes back as it was.


def test_our_own_decisions_come_back() -> None:
    record = FlowRecord(
        source=EndPoint(ip="192.0.2.9", port=40_000),
        destination=EndPoint(id="web", ip="10.0.0.1", port=80, type=EndPointType.PU),
        action=ActionType.REJECT,
        drop_reason="policy",
        direction=Direction.INGRESS,
        l4_protocol=6,
        tcp_flags=2,
        packets=1,
        bytes=60,
    )
    announced, said, dropped = Notifier().messages(record)
    assert isinstance(only(MonitorRecords().records(announced)), ContainerRecord)
    for message in (said, dropped):
        back = flow(message)
        assert back.action is ActionType.REJECT
        assert back.direction is Direction.INGRESS
        assert (back.source.ip, back.source.port) == ("192.0.2.9", 40_000)
        assert (back.destination.ip, back.destination.port) == ("10.0.0.1", 80)
        assert back.source.type is EndPointType.EXTERNAL_IP
        assert back.destination.type is EndPointType.PU
        assert (back.l4_protocol, back.tcp_flags, back.bytes) == (6, 2, 74)


# The agent.

LOG = GobSchema(
    {
        65: StructType(
            "LogRecord",
            (
                Field("Type", Basic.STRING),
                Field("Timestamp", Basic.STRING),
                Field("SourceEndpoint", 66),
                Field("DestinationEndpoint", 66),
                Field("Verdict", Basic.STRING),
                Field("DNS", 67),
            ),
        ),
        66: StructType(
            "EndpointInfo",
            (
                Field("ID", Basic.UINT),
                Field("IPv4", Basic.STRING),
                Field("Port", Basic.UINT),
                Field("Identity", Basic.UINT),
                Field("Labels", 68),
            ),
        ),
        67: StructType(
            "LogRecordDNS",
            (Field("Query", Basic.STRING), Field("IPs", 69), Field("RCode", Basic.INT)),
        ),
        68: SliceType("[]string", Basic.STRING),
        69: SliceType("[]net.IP", Basic.BYTES),
    },
    root=65,
)
POD: GobStruct = {
    "ID": 33,
    "IPv4": "10.0.0.1",
    "Port": 5353,
    "Identity": 30_000,
    "Labels": ["k8s:app=web", "k8s:io.kubernetes.pod.namespace=shop"],
}
SERVER: GobStruct = {"IPv4": "10.96.0.10", "Port": 53, "Identity": 3}


def log(
    kind: str, source: GobStruct, destination: GobStruct, dns: GobStruct, said: str = "Forwarded"
) -> bytes:
    value: GobStruct = {
        "Type": kind,
        "Timestamp": "2024-09-26T12:00:00.123456789Z",
        "SourceEndpoint": source,
        "DestinationEndpoint": destination,
        "Verdict": said,
        "DNS": dns,
    }
    return b"\x81" + LOG.definitions + LOG.encode(value)


def test_a_name_that_was_looked_up() -> None:
    dns: GobStruct = {"Query": "example.com.", "IPs": [b"\x01\x02\x03\x04"]}
    records = MonitorRecords().records(log("Response", SERVER, POD, dns))
    assert records == [
        DNSRequestReport(
            namespace="shop",
            source=EndPoint(id="identity:30000", ip="10.0.0.1", port=5353, type=EndPointType.PU),
            name_lookup="example.com.",
            count=1,
            time_ns=1_727_352_000_123_456_789,
            context_id="33",
            destination=EndPoint(
                id="reserved:unmanaged", ip="10.96.0.10", port=53, type=EndPointType.PU
            ),
            ips=("1.2.3.4",),
        )
    ]


def test_a_request_is_reported_only_where_nothing_answers_it() -> None:
    dns: GobStruct = {"Query": "example.com."}
    assert MonitorRecords().records(log("Request", POD, SERVER, dns)) == []
    record = only(MonitorRecords().records(log("Request", POD, SERVER, dns, "Denied")))
    assert isinstance(record, DNSRequestReport)
    assert (record.error, record.source.ip) == ("denied", "10.0.0.1")
    assert record.ips is UNSET


def test_a_name_that_does_not_exist() -> None:
    dns: GobStruct = {"Query": "nowhere.", "RCode": 3}
    record = only(MonitorRecords().records(log("Response", SERVER, POD, dns)))
    assert isinstance(record, DNSRequestReport)
    assert record.error == "NXDOMAIN"


@pytest.mark.parametrize(("number", "event"), [(7, "create"), (3, "update"), (8, "delete")])
def test_endpoints_that_come_and_go(number: int, event: str) -> None:
    text = '{"id":10,"labels":["k8s:app=foo"],"pod-name":"foo-1","namespace":"default"}'
    assert MonitorRecords().records(agent_message(AgentNotify(type=number, text=text))) == [
        ContainerRecord(
            context_id="10",
            tags=("k8s:app=foo", "namespace=default", "pod-name=foo-1"),
            event=event,
        )
    ]


def test_other_events_are_no_records() -> None:
    assert (
        MonitorRecords().records(agent_message(AgentNotify(type=5, text='{"rule_count":0}'))) == []
    )
    assert MonitorRecords().records(agent_message(AgentNotify(type=99, text=""))) == []


@pytest.mark.parametrize("text", ["", "[]", "{", '{"id":"x"}', '{"labels":3}', "[" * 100_000])
def test_an_event_that_is_not_what_it_should_be(text: str) -> None:
    with pytest.raises(MessageError, match="the text of an endpoint's event"):
        MonitorRecords().records(agent_message(AgentNotify(type=7, text=text)))


# Everything else.


@pytest.mark.parametrize("profile", ["1.16", "1.9"])
def test_every_damage_of_every_sample_is_records_or_one_error(profile: str) -> None:
    maker = MonitorRecords(profile=profile, selection=BOTH)
    for sample in SAMPLES:
        step = max(1, len(sample) // 40)
        cut = (sample[:end] for end in range(0, len(sample) + 1, step))
        flipped = (
            sample[:place] + bytes((sample[place] ^ 0xFF,)) + sample[place + 1 :]
            for place in range(0, len(sample), step)
        )
        for data in (*cut, *flipped):
            try:
                records = maker.records(data)
            except MessageError:
                continue
            for record in records:
                assert encode_json(record)


@given(st.binary(max_size=200), st.sampled_from([1, 4, 5, 129, 130]))
def test_any_bytes_are_records_or_one_error(data: bytes, kind: int) -> None:
    try:
        records = MonitorRecords(selection=BOTH).records(bytes((kind,)) + data)
    except MessageError:
        return
    for record in records:
        assert encode_json(record)
