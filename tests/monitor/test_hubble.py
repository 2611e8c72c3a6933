"""Messages as Hubble's flows."""

from __future__ import annotations

import json
from pathlib import Path
from struct import pack
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.monitor.dissection.packets import ethernet, ipv4, ipv6, tcp
from tests.monitor.dissection.vectors import FLOW_CASES
from trireme_collector.formats import render_hubble_response
from trireme_datapath.monitor._errors import MessageError
from trireme_datapath.monitor._hubble_access_log import access_log_flow
from trireme_datapath.monitor.hubble import hubble_flow
from trireme_datapath.monitor.messages.access_log import (
    EndpointInfo,
    LogRecordDNS,
    LogRecordHTTP,
    LogRecordKafka,
    LogRecordL7,
    LogRecordNotify,
)

STREAMS = Path(__file__).parents[1] / "data" / "monitor" / "inner_streams.json"
PACKET = ethernet(ipv4(tcp()))
SHORT_SOCKET_TRACE = (
    "failed to parse sock trace event: "
    "unexpected TraceSockNotify data length, expected 38 but got 1"
)
TIME = "2024-09-26T12:00:00.5+02:00"


def trace(
    *,
    point: int = 3,
    source: int = 0,
    destination: int = 0,
    reason: int = 1,
    flags: int = 0,
    original: bytes = bytes(16),
    packet: bytes = PACKET,
) -> bytes:
    header = pack(
        "<BBHIIHHIIHBBI", 4, point, source, 0, 54, 54, 1, 1, 2, destination, reason, flags, 0
    )
    return header + original + packet


def verdict(number: int, flags: int = 1) -> bytes:
    return pack("<BBHIIHHIiHBBBBH", 5, 0, 7, 0, 0, 0, 1, 9, number, 80, 6, flags, 0, 0, 0)


@pytest.mark.parametrize("case", FLOW_CASES, ids=lambda case: case["id"])
def test_flows_are_as_recorded(case: dict[str, Any]) -> None:
    flow = hubble_flow(bytes.fromhex(case["hex"]), ifnames=case.get("ifnames"))
    assert flow == case["flow"]


def test_there_are_flows_of_every_type() -> None:
    assert {case["type"] for case in FLOW_CASES} == {"drop", "trace", "policy-verdict", "capture"}


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (b"", "empty data"),
        (b"\0", "can't decode following payload type: 0"),
        (b"\2" + bytes(19), "can't decode following payload type: 2"),
        (b"\x82", "can't decode following payload type: 130"),
        (b"\1", "failed to parse drop: unexpected DropNotify data length, expected 36 but got 1"),
        (b"\4", "failed to parse trace: Unknown trace event"),
        (
            b"\7",
            SHORT_SOCKET_TRACE,
        ),
        (trace(packet=PACKET[:13]), "Ethernet packet too small"),
        (trace(packet=PACKET[:-1]), "Invalid TCP header. Length 19 less than 20"),
    ],
)
def test_what_makes_no_flow(message: bytes, error: str) -> None:
    assert hubble_flow(message) == {"error": error}


def test_a_layer_without_a_decoder_is_no_error() -> None:
    assert hubble_flow(trace(packet=ethernet(b"x", 0x0806)))["Summary"] == "Ethernet"
    assert "Summary" not in hubble_flow(trace(packet=b""))


@pytest.mark.parametrize(
    ("reason", "shown", "is_reply"),
    [
        (0, "NEW", False),
        (2, "REPLY", True),
        (4, "REOPENED", False),
        (5, None, None),
        (6, "SRV6_ENCAP", None),
        (7, "SRV6_DECAP", None),
        (8, "ENCRYPT_OVERLAY", None),
        (9, 9, False),
        (0x82, "REPLY", True),
    ],
)
def test_the_reason_of_a_trace(reason: int, shown: str | None, is_reply: bool | None) -> None:
    flow = hubble_flow(trace(reason=reason))
    assert flow.get("trace_reason") == shown
    assert flow.get("is_reply") is is_reply
    assert ("reply" in flow) == bool(is_reply)


@pytest.mark.parametrize(
    ("source", "reason", "original", "direction"),
    [
        (0, 1, bytes(16), None),
        (7, 5, bytes(16), None),
        (7, 1, bytes(16), "INGRESS"),
        (7, 2, bytes(16), "EGRESS"),
        (7, 8, bytes(16), "EGRESS"),
        (7, 1, b"\x0a\0\0\1" + bytes(12), "EGRESS"),
    ],
)
def test_the_direction_of_a_trace(
    source: int, reason: int, original: bytes, direction: str | None
) -> None:
    flow = hubble_flow(trace(source=source, reason=reason, original=original))
    assert flow.get("traffic_direction") == direction


@pytest.mark.parametrize(
    ("flags", "original", "source", "translated"),
    [
        (0, "0a000001", "10.0.0.1", "1.2.3.4"),
        (0, "01020304", "1.2.3.4", None),
        (0, "00000000", "1.2.3.4", None),
        (1, "00" * 16, "1.2.3.4", None),
        # An address that maps IPv4 is that address, and 0.0.0.0 none.
        (1, "00" * 10 + "ffff00000000", "1.2.3.4", None),
        (1, "00" * 10 + "ffff0a000001", "10.0.0.1", "1.2.3.4"),
    ],
)
def test_an_address_that_was_translated(
    flags: int, original: str, source: str, translated: str | None
) -> None:
    packed = bytes.fromhex(original).ljust(16, b"\0")
    ip = hubble_flow(trace(flags=flags, original=packed))["IP"]
    assert isinstance(ip, dict)
    assert ip["source"] == source
    assert ip.get("source_xlated") == translated
    assert "IP" not in hubble_flow(trace(flags=flags, original=packed, packet=b""))


@pytest.mark.parametrize(
    ("number", "flags", "shown", "reason"),
    [
        (0, 1, "FORWARDED", None),
        (0, 0x41, "AUDIT", None),
        (8080, 0x41, "REDIRECTED", None),
        (-133, 0x41, "DROPPED", (133, "POLICY_DENIED")),
        (-1, 1, "DROPPED", (1, 1)),
        # The two numbers are of different kinds.
        (-(2**31), 1, "DROPPED", (2**31, -(2**31))),
    ],
)
def test_a_policy_verdict(
    number: int, flags: int, shown: str, reason: tuple[int, str | int] | None
) -> None:
    flow = hubble_flow(verdict(number, flags))
    assert flow["verdict"] == shown
    found = (flow.get("drop_reason"), flow.get("drop_reason_desc"))
    assert found == (reason or (None, None))
    assert flow.get("is_reply") is (None if number < 0 else False)


def test_the_identity_is_that_of_the_other_side() -> None:
    assert hubble_flow(verdict(0, 1))["source"] == {"identity": 9}
    assert hubble_flow(verdict(0, 2))["destination"] == {"identity": 9}


def test_interfaces_may_be_numbered_by_texts() -> None:
    message = pack("<BBHIIIII", 3, 4, 0, 0, 0, 0, 12, 0)
    assert hubble_flow(message)["interface"] == {"index": 12}
    named = {"index": 12, "name": "eth0"}
    assert hubble_flow(message, ifnames={12: "eth0"})["interface"] == named
    assert hubble_flow(message, ifnames={"12": "eth0"})["interface"] == named


def test_a_socket_trace() -> None:
    def message(point: int, protocol: int = 1, flags: int = 0) -> bytes:
        address = bytes([10, 0, 0, 1]).ljust(16, b"\0")
        return pack("<BB16sHQQBB", 7, point, address, 443, 2**63, 5, protocol, flags)

    assert hubble_flow(message(1)) == {
        "verdict": "TRACED",
        "IP": {"destination": "10.0.0.1", "ipVersion": "IPv4"},
        "l4": {"TCP": {"destination_port": 443}},
        "source": {},
        "destination": {},
        "Type": "SOCK",
        "event_type": {"type": 7, "sub_type": 1},
        "sock_xlate_point": "SOCK_XLATE_POINT_PRE_DIRECTION_FWD",
        "socket_cookie": "9223372036854775808",
        "cgroup_id": "5",
        "Summary": "TCP",
    }
    back = hubble_flow(message(4, protocol=2, flags=1))
    assert back["verdict"] == "TRANSLATED"
    assert back["IP"] == {"source": "a00:1::", "ipVersion": "IPv6"}
    assert back["l4"] == {"UDP": {"source_port": 443}}
    unknown = hubble_flow(message(0, protocol=0))
    assert unknown["Summary"] == "Unknown"
    assert not {"verdict", "l4", "sock_xlate_point"} & unknown.keys()


def test_a_response_of_http() -> None:
    record = LogRecordNotify(
        type="Response",
        timestamp=TIME,
        observation_point="Ingress",
        verdict="Forwarded",
        transport_protocol=6,
        source_endpoint=EndpointInfo(
            id=7, ipv4="10.0.0.1", port=40000, identity=9, labels=("k8s:b", "k8s:a")
        ),
        destination_endpoint=EndpointInfo(ipv4="10.0.0.2", port=80),
        http=LogRecordHTTP(
            code=200, method="GET", protocol="HTTP/1.1", headers={"B": ("2", "3"), "A": None}
        ),
    )
    assert access_log_flow(record) == {
        "time": "2024-09-26T10:00:00.500Z",
        "verdict": "FORWARDED",
        "IP": {"source": "10.0.0.1", "destination": "10.0.0.2", "ipVersion": "IPv4"},
        "l4": {"TCP": {"source_port": 40000, "destination_port": 80}},
        "source": {"ID": 7, "identity": 9, "labels": ["k8s:a", "k8s:b"]},
        "destination": {},
        "Type": "L7",
        "l7": {
            "type": "RESPONSE",
            "http": {
                "code": 200,
                "method": "GET",
                "protocol": "HTTP/1.1",
                "headers": [{"key": "B", "value": "2"}, {"key": "B", "value": "3"}],
            },
        },
        "is_reply": True,
        "event_type": {"type": 129},
        "reply": True,
        "traffic_direction": "INGRESS",
        "Summary": "HTTP/1.1 200 0ms (GET )",
    }


@pytest.mark.parametrize(
    ("record", "layer", "summary"),
    [
        (
            LogRecordNotify(type="Request", dns=LogRecordDNS(query="a.b.", qtypes=(1, 28))),
            {"type": "REQUEST", "dns": {"query": "a.b.", "qtypes": ["A", "AAAA"]}},
            "DNS Query a.b. A,AAAA",
        ),
        (
            LogRecordNotify(
                type="Response",
                dns=LogRecordDNS(
                    query="a.b.",
                    ips=("10.0.0.1",),
                    ttl=3,
                    cnames=("c.",),
                    observation_source="proxy",
                    qtypes=(1,),
                    answer_types=(5, 99),
                ),
            ),
            {
                "type": "RESPONSE",
                "dns": {
                    "query": "a.b.",
                    "observation_source": "proxy",
                    "qtypes": ["A"],
                    "ips": ["10.0.0.1"],
                    "ttl": 3,
                    "cnames": ["c."],
                    "rrtypes": ["CNAME", "Unknown"],
                },
            },
            'DNS Answer "10.0.0.1" CNAMEs: "c." TTL: 3 (Proxy a.b. A)',
        ),
        (
            LogRecordNotify(type="Response", dns=LogRecordDNS(query="a.", rcode=3)),
            {"type": "RESPONSE", "dns": {"query": "a.", "rcode": 3}},
            "DNS Answer RCode: Non-Existent Domain TTL: 0 (Query a. )",
        ),
        (
            LogRecordNotify(
                type="Request",
                kafka=LogRecordKafka(error_code=5, api_key="fetch", correlation_id=1, topic="t"),
            ),
            {"type": "REQUEST", "kafka": {"api_key": "fetch", "correlation_id": 1, "topic": "t"}},
            "Kafka request fetch correlation id 1 topic 't'",
        ),
        (
            LogRecordNotify(
                type="Sample", kafka=LogRecordKafka(error_code=5, api_key="fetch", topic="t")
            ),
            {"type": "SAMPLE", "kafka": {"error_code": 5, "api_key": "fetch", "topic": "t"}},
            "Kafka response fetch correlation id 0 topic 't' return code 5",
        ),
        (
            LogRecordNotify(type="Request", l7=LogRecordL7(proto="r2d2", fields={"b": "1"})),
            {"type": "REQUEST"},
            "r2d2 Fields: map[b:1]",
        ),
        (LogRecordNotify(type="?"), {}, None),
        # Numbers are kept in 32 bits without a sign, and the text of a code looks at 8 of them.
        (
            LogRecordNotify(type="Response", dns=LogRecordDNS(query="a.", ttl=1, rcode=-256)),
            {"type": "RESPONSE", "dns": {"query": "a.", "ttl": 1, "rcode": 0xFFFFFF00}},
            "DNS Answer  TTL: 1 (Query a. )",
        ),
        (
            LogRecordNotify(type="Response", http=LogRecordHTTP(code=-1, method="GET")),
            {"type": "RESPONSE", "http": {"code": 0xFFFFFFFF, "method": "GET"}},
            " -1 0ms (GET )",
        ),
        # Of two parts the flow has one, which is not always that of the summary.
        (
            LogRecordNotify(
                type="Request", kafka=LogRecordKafka(topic="t"), dns=LogRecordDNS(query="a.")
            ),
            {"type": "REQUEST", "dns": {"query": "a."}},
            None,
        ),
    ],
)
def test_layer_7(record: LogRecordNotify, layer: dict[str, object], summary: str | None) -> None:
    flow = access_log_flow(msgspec.structs.replace(record, timestamp=TIME))
    assert flow["l7"] == layer
    assert flow.get("Summary") == summary


@pytest.mark.parametrize(
    ("protocol", "name"), [(6, "TCP"), (17, "UDP"), (132, "SCTP"), (0x106, "TCP"), (1, None)]
)
def test_the_transport_of_layer_7(protocol: int, name: str | None) -> None:
    side = EndpointInfo(port=80)
    record = LogRecordNotify(
        timestamp=TIME, transport_protocol=protocol, source_endpoint=side, destination_endpoint=side
    )
    ports = {"source_port": 80, "destination_port": 80}
    assert access_log_flow(record).get("l4") == (None if name is None else {name: ports})


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("header", "is_known"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-03", False),
        (f"00-{TRACE}-{SPAN}-01-more", False),
        (f"cc-{TRACE}-{SPAN}-ff-more-", True),
        (f"ff-{TRACE}-{SPAN}-01", False),
        (f"00-{TRACE.upper()}-{SPAN}-01", False),
        (f"00-{'0' * 32}-{SPAN}-01", False),
        (f"00-{TRACE}-{'0' * 16}-01", False),
        (f"00-{TRACE}-{SPAN}", False),
        ("", False),
    ],
)
def test_the_trace_of_a_request(header: str, is_known: bool) -> None:
    for kind, headers in (
        ("Request", {"Traceparent": (header, "other")}),
        ("Response", {"Traceparent": (header,)}),
        ("Request", {"traceparent": (header,)}),
        ("Request", {"Traceparent": None}),
    ):
        record = LogRecordNotify(
            timestamp=TIME, type=kind, http=LogRecordHTTP(method="GET", headers=headers)
        )
        is_shown = is_known and (kind, len(headers.get("Traceparent") or ())) == ("Request", 2)
        shown = access_log_flow(record).get("trace_context")
        assert shown == ({"parent": {"trace_id": TRACE}} if is_shown else None)


def test_recorded_access_logs_make_flows() -> None:
    made = 0
    for case in json.loads(STREAMS.read_text(encoding="utf-8")):
        message = bytes.fromhex(case["hex"])
        flow = hubble_flow(message)
        if message[0] == 129:
            assert flow["Type"] == "L7"
            made += 1
        else:
            assert flow.keys() == {"error"}
    assert made > 40


def test_what_is_no_utf_8_is_replaced() -> None:
    case = next(
        case
        for case in json.loads(STREAMS.read_text(encoding="utf-8"))
        if case["type"] == "l7" and b"Forwarded" in bytes.fromhex(case["hex"])
    )
    message = bytes.fromhex(case["hex"]).replace(b"2024-09-26", b"2024-09-2\xff")
    error = hubble_flow(message)["error"]
    assert isinstance(error, str)
    assert "2024-09-2\ufffd" in error


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z"),
        ("2024-02-29T00:00:00.120000Z", "2024-02-29T00:00:00.120Z"),
        ("2024-02-29T00:00:00.1234Z", "2024-02-29T00:00:00.123400Z"),
        ("2024-02-29T00:00:00.123456789-01:30", "2024-02-29T01:30:00.123456789Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
    ],
)
def test_times(text: str, shown: str) -> None:
    assert access_log_flow(LogRecordNotify(timestamp=text))["time"] == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2024-02-30T00:00:00Z",
        "2024-02-29 00:00:00Z",
        "2024-2-29T00:00:000Z",
        "2024-02-29T00:00:00",
        "2024-02-29T00:00:00.Z",
        "2024-02-29T00:00:00.1x",
        "2024-02-29T00:00:00+1:00",
        "2024-02-29T00:00:00+99:00",
        "2024-02-29T00:00:00+\u0661\u0661:00",
        "0001-01-01T00:00:00+01:00",
    ],
)
def test_what_is_no_time_makes_no_flow(text: str) -> None:
    with pytest.raises(MessageError, match="parsing time"):
        access_log_flow(LogRecordNotify(timestamp=text))


@given(
    st.one_of(
        st.binary(max_size=120),
        st.sampled_from(FLOW_CASES).map(lambda case: bytes.fromhex(case["hex"])),
    ),
    st.integers(0, 120),
    st.binary(max_size=2),
)
def test_any_bytes_make_a_flow_or_one_error(message: bytes, at: int, other: bytes) -> None:
    changed = message[:at] + other + message[at + len(other) :]
    for data in (changed, message[:at]):
        flow = hubble_flow(data)
        assert ("error" in flow) == (len(flow) == 1)
        assert json.loads(render_hubble_response(flow))["flow"] == flow


def test_a_packet_of_ipv6() -> None:
    flow = hubble_flow(trace(packet=ethernet(ipv6(b"\x80\0\0\0", 58), 0x86DD)))
    assert flow["l4"] == {"ICMPv6": {"type": 128}}
    assert flow["Summary"] == "ICMPv6 EchoRequest"
