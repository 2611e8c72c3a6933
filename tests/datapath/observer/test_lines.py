"""Flows out of files: Hubble's lines, our own records, and what is neither."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireme_collector.formats import render_hubble_line, render_json_line
from trireme_collector.records import (
    ActionType,
    ContainerRecord,
    EndPoint,
    FlowRecord,
    PacketEvent,
    PacketReport,
)
from trireme_datapath.observer import FlowFilter, FlowsRequest, RequestError
from trireme_datapath.observer.flow_filter import EventTypeFilter
from trireme_datapath.observer.lines import LineReader, read_responses

SECOND = 1_000_000_000
START = 1_800_000_000 * SECOND


def record(port: int) -> FlowRecord:
    return FlowRecord(
        instance="host",
        source=EndPoint(ip="192.0.2.1", port=port),
        destination=EndPoint(ip="192.0.2.2", port=443),
        l4_protocol=17,
        action=ActionType.ACCEPT,
        end_time_ns=START + port * SECOND,
        start_time_ns=START,
    )


NATIVE = [render_json_line(record(port)) for port in range(1, 7)]
HUBBLE = [render_hubble_line(record(port)) for port in range(1, 7)]


def ports(lines: list[bytes], request: FlowsRequest | None = None) -> list[int]:
    found = []
    for response in LineReader(request or FlowsRequest()).responses(lines):
        flow: Any = response["flow"]
        found.append(flow["l4"]["UDP"]["source_port"])
    return found


@pytest.mark.parametrize("lines", [NATIVE, HUBBLE], ids=["native", "hubble"])
def test_both_forms_are_read_alike(lines: list[bytes]) -> None:
    assert ports(lines) == [1, 2, 3, 4, 5, 6]
    assert ports(lines, FlowsRequest(number=2)) == [5, 6]
    assert ports(lines, FlowsRequest(number=2, first=True)) == [1, 2]
    assert ports(lines, FlowsRequest(number=(1 << 64) - 1)) == [1, 2, 3, 4, 5, 6]
    assert ports(lines, FlowsRequest(since_ns=START + 5 * SECOND)) == [5, 6]
    assert ports(lines, FlowsRequest(until_ns=START + 2 * SECOND)) == [1, 2]
    assert ports(lines, FlowsRequest(allow=(FlowFilter(source_port=("3", "4")),))) == [3, 4]
    assert ports(lines, FlowsRequest(deny=(FlowFilter(source_port=("3", "4")),))) == [1, 2, 5, 6]


def test_a_record_is_a_response() -> None:
    (response,) = read_responses(NATIVE[0])
    assert (response["node_name"], response["time"]) == ("host", "2027-01-15T08:00:01Z")
    assert read_responses(HUBBLE[0]) == [response]


def test_a_dropped_packet_is_a_flow() -> None:
    report = PacketReport(
        event=PacketEvent.DROPPED,
        drop_reason="policy",
        protocol=6,
        source_ip="2001:db8::1",
        destination_ip="2001:db8::2",
        destination_port=80,
        tcp_flags=0x12,
    )
    (response,) = read_responses(render_json_line(report))
    flow: Any = response["flow"]
    assert flow["drop_reason_desc"] == "POLICY_DENIED"
    assert flow["event_type"] == {"type": 1, "sub_type": 133}
    assert flow["IP"]["ipVersion"] == "IPv6"
    assert flow["Summary"] == "TCP Flags: SYN, ACK"


@pytest.mark.parametrize(
    ("payload", "length", "shown"),
    [
        ("0800000000010001", 28, ({"type": 8}, "ICMPv4 EchoRequest")),
        ("0303000000000000", 28, ({"type": 3, "code": 3}, "ICMPv4 DestinationUnreachable(Port)")),
        ("0800000000010001", 1428, ({"type": 8}, "ICMPv4 EchoRequest")),
        ("", 28, ({}, "ICMPv4")),
    ],
)
def test_a_dropped_packet_says_which_icmp(
    payload: str, length: int, shown: tuple[dict[str, int], str]
) -> None:
    head = bytes.fromhex("4500") + length.to_bytes(2, "big") + bytes.fromhex("0000000040010000")
    report = PacketReport(
        event=PacketEvent.DROPPED,
        protocol=1,
        source_ip="192.0.2.1",
        destination_ip="192.0.2.2",
        length=length,
        payload=head + bytes.fromhex("c0000201c0000202" + payload),
    )
    (response,) = read_responses(render_json_line(report))
    flow: Any = response["flow"]
    assert (flow["l4"]["ICMPv4"], flow["Summary"]) == shown


def test_a_denied_flow_is_two_responses() -> None:
    denied = msgspec.structs.replace(record(1), action=ActionType.REJECT)
    flows: list[Any] = [one["flow"] for one in read_responses(render_json_line(denied))]
    assert [one["event_type"]["type"] for one in flows] == [5, 1]
    wanted = FlowsRequest(allow=(FlowFilter(event_type=(EventTypeFilter(type=1),)),))
    assert len(list(LineReader(wanted).responses([render_json_line(denied)]))) == 1
    assert list(LineReader(wanted).responses([render_hubble_line(denied)])) == []


def test_other_records_are_no_flows_and_no_mistakes() -> None:
    reader = LineReader(FlowsRequest())
    lines = [render_json_line(ContainerRecord()), b"", b"  ", NATIVE[0]]
    assert len(list(reader.responses(lines))) == 1
    assert reader.broken == 0


def test_broken_lines_are_counted() -> None:
    reader = LineReader(FlowsRequest())
    lines = [b"x", b"{}", b'{"flow":{"verdict":"NO"}}', b'{"flow":5}', b"[" * 100_000, b"\xff"]
    assert list(reader.responses([*lines, HUBBLE[0]])) == read_responses(HUBBLE[0])
    assert reader.broken == len(lines)


def test_what_is_no_flow_is_shown_to_who_wants_everything() -> None:
    lost = json.dumps({"lost_events": {"num_events_lost": 3}}).encode()
    assert list(LineReader(FlowsRequest()).responses([lost])) == [
        {"lost_events": {"num_events_lost": "3"}}
    ]
    wanted = FlowsRequest(allow=(FlowFilter(protocol=("udp",)),))
    assert list(LineReader(wanted).responses([lost])) == []


def test_what_has_no_time_is_in_no_range() -> None:
    line = b'{"flow":{"Summary":"x"}}'
    assert len(list(LineReader(FlowsRequest()).responses([line]))) == 1
    assert list(LineReader(FlowsRequest(since_ns=0)).responses([line])) == []


def test_requests_that_are_refused() -> None:
    with pytest.raises(RequestError, match="--last must be at most 1000000"):
        LineReader(FlowsRequest(number=1_000_001))
    with pytest.raises(RequestError, match="invalid port"):
        LineReader(FlowsRequest(allow=(FlowFilter(source_port=("x",)),)))


@given(
    st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace"))
)
def test_any_line_is_read_or_refused(line: bytes) -> None:
    try:
        read_responses(line)
    except ValueError:
        return
