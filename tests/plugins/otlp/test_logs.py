"""Log records say what the records say, and both encodings say the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.plugins.otlp.decoding import Seen, decode
from trireme_collector import (
    ActionType,
    Direction,
    EndPoint,
    FlowRecord,
    PacketReport,
    Record,
    decode_json,
    encode_json,
)
from trireme_collector.testing.strategies import records
from trireme_collector_otlp._logs import Log, _value, log_form
from trireme_collector_otlp._requests import SCOPE, json_request, protobuf_request

if TYPE_CHECKING:
    from trireme_collector_otlp._logs import Value

NOW = 1_700_000_000_123_456_789
RECORD = FlowRecord(
    source=EndPoint(ip="192.0.2.1", port=40_000, id="office"),
    destination=EndPoint(ip="192.0.2.2", port=443),
    l4_protocol=6,
    action=ActionType.REJECT,
    drop_reason="policy",
    direction=Direction.INGRESS,
    interface="eth0",
    tags=("app=web", "env=prod"),
    end_time_ns=NOW,
    instance="host-7",
    epoch=5,
    sequence=9,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS = (
    TEXT
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES: st.SearchStrategy[Value] = SCALARS | st.lists(SCALARS, max_size=3).map(tuple)
ATTRIBUTES = st.dictionaries(TEXT, VALUES, max_size=4)
LOGS = st.builds(
    Log,
    time_ns=st.integers(0, 2**64 - 1),
    is_warning=st.booleans(),
    body=TEXT,
    attributes=ATTRIBUTES,
)


@given(st.lists(LOGS, max_size=5), ATTRIBUTES)
def test_both_encodings_can_be_read(logs: list[Log], resource: dict[str, Value]) -> None:
    expected = [
        Seen(resource, SCOPE, log.time_ns, NOW, log.severity, log.body, log.attributes)
        for log in logs
    ]
    as_json = decode({"Content-Type": "application/json"}, json_request(logs, resource, NOW))
    assert as_json == expected
    body = protobuf_request(logs, resource, NOW)
    assert decode({"Content-Type": "application/x-protobuf"}, body) == expected


@given(records())
def test_any_record_is_printable_whatever_the_network_sent(record: Record) -> None:
    (log,) = log_form("json")(record)
    assert decode_json(log.body) == decode_json(encode_json(record))
    for layout in ("json", "netobserv"):
        logs = log_form(layout)(record)
        assert all(one.body.isprintable() for one in logs)
        read = decode({"Content-Type": "application/json"}, json_request(logs, {}, NOW))
        assert [seen.attributes for seen in read] == [one.attributes for one in logs]
        protobuf_request(logs, {}, NOW)


def test_a_flow_by_the_names_of_the_conventions() -> None:
    (log,) = log_form("json")(RECORD)
    assert log.time_ns == NOW
    assert log.severity == (13, "WARN")
    expected = {
        "event.name": "trireme.flow",
        "source.address": "192.0.2.1",
        "source.port": 40_000,
        "destination.address": "192.0.2.2",
        "destination.port": 443,
        "network.transport": "tcp",
        "network.interface.name": "eth0",
        "network.io.direction": "receive",
        "trireme.source.id": "office",
        "trireme.drop_reason": "policy",
        "trireme.tags": ("app=web", "env=prod"),
        "trireme.instance": "host-7",
        "trireme.epoch": 5,
        "trireme.sequence": 9,
    }
    assert expected.items() <= log.attributes.items()


def test_a_flow_log_by_the_names_of_netobserv() -> None:
    (log,) = log_form("netobserv", agent_ip="192.0.2.9")(RECORD)
    assert log.attributes["SrcAddr"] == "192.0.2.1"
    assert log.attributes["AgentIP"] == "192.0.2.9"
    assert log.attributes["trireme.sequence"] == 9
    assert json.loads(str(log.attributes["NetworkEvents"]))[0]["Action"] == "drop"
    assert json.loads(log.body)["SrcAddr"] == "192.0.2.1"
    assert log_form("netobserv")(PacketReport(packet_id=1)) == []


@pytest.mark.parametrize(("protocol", "kind", "code"), [(1, 8, 0), (1, 0, 0), (58, 1, 4)])
def test_what_icmp_said(protocol: int, kind: int, code: int) -> None:
    flow = FlowRecord(l4_protocol=protocol, icmp_type=kind, icmp_code=code)
    (log,) = log_form("json")(flow)
    assert log.attributes["trireme.icmp_type"] == kind
    assert log.attributes["trireme.icmp_code"] == code
    (log,) = log_form("netobserv")(flow)
    assert (log.attributes["IcmpType"], log.attributes["IcmpCode"]) == (kind, code)
    for layout in ("json", "netobserv"):
        (log,) = log_form(layout)(FlowRecord(l4_protocol=protocol))
        assert not any("icmp_" in name or "Icmp" in name for name in log.attributes)


def test_a_request_to_the_byte() -> None:
    log = Log(1, False, "{}", {"n": 7})
    expected = (
        bytes.fromhex("0a4e 0a0a0a080a016e12030a0161 1240 0a130a11".replace(" ", ""))
        + SCOPE.encode()
    )
    record = (
        b"\x09\x01" + bytes(7) + b"\x10\x09\x1a\x04INFO\x2a\x04\x0a\x02{}"
        b"\x32\x07\x0a\x01n\x12\x02\x18\x07\x59\x02" + bytes(7)
    )
    whole = expected + b"\x12" + bytes([len(record)]) + record
    inner = len(whole) - 2
    scope_logs = inner - 12 - 2
    whole = b"\x0a" + bytes([inner]) + whole[2:14] + b"\x12" + bytes([scope_logs]) + whole[16:]
    assert protobuf_request([log], {"n": "a"}, 2) == whole


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1])
def test_what_no_integer_holds_is_a_text(number: int) -> None:
    assert _value(number) == str(number)
    assert _value([number, 1]) == (str(number), 1)


def test_attributes_are_printable() -> None:
    assert _value("a\x1b[31m\u202e") == "a\\u001b[31m\\u202e"
    assert _value(["a\n"]) == ("a\\u000a",)
