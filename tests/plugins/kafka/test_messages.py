"""Keys bring both ways of a conversation together; values say what the records say."""

from __future__ import annotations

import ipaddress
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireme_collector import ActionType, EndPoint, FlowRecord, PacketReport, Record, decode_json
from trireme_collector.records import encode_json
from trireme_collector.testing.strategies import records, structs
from trireme_collector_kafka import _messages
from trireme_collector_kafka._messages import conversation_key, message_form

ADDRESSES = st.ip_addresses().map(str)


def flow(source: str, destination: str, **fields: object) -> FlowRecord:
    return FlowRecord(
        source=EndPoint(ip=source, port=40_000),
        destination=EndPoint(ip=destination, port=443),
        **fields,  # type: ignore[arg-type]  # only the types of these are known
    )


def test_a_key_is_what_the_agent_of_netobserv_writes() -> None:
    expected = bytes(10) + b"\xff\xff\x0a\x00\x00\x01" + bytes(10) + b"\xff\xff\xc0\x00\x02\x07"
    assert conversation_key(flow("192.0.2.7", "10.0.0.1")) == expected


@given(ADDRESSES, ADDRESSES)
def test_both_ways_have_one_key(one: str, other: str) -> None:
    key = conversation_key(flow(one, other))
    assert key == conversation_key(flow(other, one))
    assert key is not None
    assert len(key) == 32
    halves = [ipaddress.IPv6Address(half) for half in (key[:16], key[16:])]
    assert sorted(str(half.ipv4_mapped or half) for half in halves) == sorted(
        str(getattr(a, "ipv4_mapped", None) or a) for a in map(ipaddress.ip_address, (one, other))
    )


@pytest.mark.parametrize(
    "record",
    [PacketReport(packet_id=1), FlowRecord(), flow("10.0.0.1", ""), flow("no address", "10.0.0.1")],
)
def test_what_has_no_addresses_has_no_key(record: Record) -> None:
    assert conversation_key(record) is None


def test_remembered_addresses_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_messages, "_KNOWN_ADDRESSES", 10)
    known = _messages._AddressBytes()
    for n in range(100):
        assert known[f"10.0.0.{n}"][-1] == n
        assert len(known) <= 10


@given(records())
def test_native_values_are_the_records(record: Record) -> None:
    (message,) = message_form("json", keyed=False)(record)
    assert decode_json(message.value) == decode_json(encode_json(record))
    assert message.value.decode().isprintable()
    assert (message.key, message.headers) == (None, None)


def test_flow_logs_carry_the_identity_beside_them() -> None:
    record = flow(
        "10.0.0.1",
        "192.0.2.7",
        l4_protocol=6,
        action=ActionType.ACCEPT,
        source_packets=3,
        source_bytes=180,
        destination_packets=2,
        destination_bytes=120,
        instance="host-7",
        epoch=5,
        sequence=9,
    )
    messages = message_form("netobserv", keyed=True, agent_ip="10.0.0.9")(record)
    assert [json.loads(m.value)["SrcAddr"] for m in messages] == ["10.0.0.1", "192.0.2.7"]
    assert {json.loads(m.value)["AgentIP"] for m in messages} == {"10.0.0.9"}
    assert {m.key for m in messages} == {conversation_key(record)}
    assert messages[0].headers == [
        ("trireme-instance", b"host-7"),
        ("trireme-epoch", b"5"),
        ("trireme-sequence", b"9"),
    ]


@given(structs(FlowRecord))
def test_flow_logs_are_printable_whatever_the_network_sent(record: FlowRecord) -> None:
    messages = message_form("netobserv", keyed=False)(record)
    assert messages
    for message in messages:
        assert message.value.decode().isprintable()
        assert isinstance(json.loads(message.value), dict)


def test_what_is_no_flow_has_no_flow_log() -> None:
    assert message_form("netobserv", keyed=True)(PacketReport(packet_id=1)) == ()
