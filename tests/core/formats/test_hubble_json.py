"""Flow records as lines that Hubble reads."""

from __future__ import annotations

import json

import pytest
from hypothesis import given

from trireme_collector import (
    ActionType,
    CounterReport,
    Direction,
    EndPoint,
    EndPointType,
    FlowDropReason,
    FlowPhase,
    FlowRecord,
    Record,
)
from trireme_collector.formats import (
    MAX_HUBBLE_LINE_BYTES,
    drop_to_hubble,
    flow_to_hubble,
    render_hubble_line,
    render_hubble_lines,
    render_hubble_response,
)
from trireme_collector.testing.strategies import NASTY_TEXT, records

CLIENT = EndPoint(id="web", ip="10.0.0.1", port=40000, type=EndPointType.PU)
SERVER = EndPoint(id="default", ip="192.0.2.7", port=443)


def flow(**fields: object) -> FlowRecord:
    defaults: dict[str, object] = {
        "source": CLIENT,
        "destination": SERVER,
        "action": ActionType.ACCEPT,
        "l4_protocol": 6,
        "direction": Direction.EGRESS,
    }
    return FlowRecord(**{**defaults, **fields})  # type: ignore[arg-type]  # one test, one field


def test_golden_denied() -> None:
    record = FlowRecord(
        context_id="7",
        namespace="shop",
        source=CLIENT,
        destination=SERVER,
        tags=("app=web", "tier=1"),
        drop_reason=FlowDropReason.POLICY_DROP,
        policy_id="default",
        count=1,
        action=ActionType.REJECT,
        l4_protocol=6,
        start_time_ns=1_767_323_045_000_006_000,
        direction=Direction.EGRESS,
        interface="eth0",
        tcp_flags=0x12,
        instance="node-1",
    )
    assert render_hubble_line(record) == (
        b'{"flow":{"time":"2026-01-02T03:04:05.000006Z","verdict":"DROPPED","drop_reason":133,'
        b'"drop_reason_desc":"POLICY_DENIED","IP":{"source":"10.0.0.1",'
        b'"destination":"192.0.2.7","ipVersion":"IPv4"},"l4":{"TCP":{"source_port":40000,'
        b'"destination_port":443,"flags":{"SYN":true,"ACK":true}}},"source":{"namespace":"shop",'
        b'"labels":["trireme:app=web","trireme:tier=1"],"pod_name":"web"},'
        b'"destination":{"identity":2,"labels":["reserved:world"]},"Type":"L3_L4",'
        b'"node_name":"node-1","event_type":{"type":5},"traffic_direction":"EGRESS",'
        b'"is_reply":false,"interface":{"name":"eth0"},"Summary":"TCP Flags: SYN, ACK"},'
        b'"node_name":"node-1","time":"2026-01-02T03:04:05.000006Z"}\n'
    )


def test_golden_accepted() -> None:
    shown = flow_to_hubble(
        flow(
            source=EndPoint(id="corp", ip="2001:db8::1", port=1),
            destination=EndPoint(id="db", ip="2001:db8::2", type=EndPointType.PU),
            direction=Direction.INGRESS,
            l4_protocol=58,
            policy_id="allow-ping",
            namespace="shop",
            tags=("a=b",),
        )
    )
    assert shown == {
        "verdict": "FORWARDED",
        "IP": {"source": "2001:db8::1", "destination": "2001:db8::2", "ipVersion": "IPv6"},
        "l4": {"ICMPv6": {}},
        "source": {
            "identity": 2,
            "labels": ["reserved:world", "trireme:external-network=corp"],
        },
        "destination": {"namespace": "shop", "labels": ["trireme:a=b"], "pod_name": "db"},
        "Type": "L3_L4",
        "event_type": {"type": 5},
        "traffic_direction": "INGRESS",
        "ingress_allowed_by": [
            {"name": "allow-ping", "namespace": "shop", "kind": "TriremePolicy"}
        ],
        "is_reply": False,
        "Summary": "ICMPv6",
    }


@pytest.mark.parametrize(
    ("action", "observed", "verdict"),
    [
        (ActionType.ACCEPT, ActionType.NONE, "FORWARDED"),
        (ActionType.ACCEPT_LOG, ActionType.ACCEPT, "FORWARDED"),
        (ActionType.ACCEPT, ActionType.REJECT, "AUDIT"),
        (ActionType.REJECT, ActionType.ACCEPT, "DROPPED"),
        (ActionType.ACCEPT_REJECT, ActionType.NONE, "DROPPED"),
        (ActionType.NONE, ActionType.REJECT, None),
    ],
)
def test_the_verdict(action: ActionType, observed: ActionType, verdict: str | None) -> None:
    assert flow_to_hubble(flow(action=action, observed_action=observed)).get("verdict") == verdict


@pytest.mark.parametrize("reason", FlowDropReason)
def test_only_a_dropped_flow_has_a_reason(reason: FlowDropReason) -> None:
    dropped = flow_to_hubble(flow(action=ActionType.REJECT, drop_reason=reason))
    assert ("drop_reason" in dropped) == ("drop_reason_desc" in dropped)
    accepted = flow_to_hubble(flow(action=ActionType.ACCEPT, drop_reason=reason))
    assert "drop_reason" not in accepted


@pytest.mark.parametrize(
    ("protocol", "layer"), [(6, "TCP"), (17, "UDP"), (132, "SCTP"), (47, None)]
)
def test_the_transport(protocol: int, layer: str | None) -> None:
    shown = flow_to_hubble(flow(l4_protocol=protocol))
    ports = {"source_port": 40000, "destination_port": 443}
    assert shown.get("l4") == ({layer: ports} if layer else None)
    assert shown.get("Summary") == layer


def test_what_is_told_later_was_seen_not_judged() -> None:
    assert flow_to_hubble(flow(phase=FlowPhase.ENDED))["event_type"] == {"type": 4}
    assert flow_to_hubble(flow())["event_type"] == {"type": 5}


def test_tags_belong_to_the_unit_that_judged() -> None:
    peer = EndPoint(id="api", ip="10.0.0.2", type=EndPointType.PU)
    shown = flow_to_hubble(flow(destination=peer, tags=("a=b",)))
    assert shown["source"] == {"labels": ["trireme:a=b"], "pod_name": "web"}
    assert shown["destination"] == {"pod_name": "api"}


@pytest.mark.parametrize(
    ("protocol", "kind", "code", "layer", "summary"),
    [
        (1, 8, 0, {"ICMPv4": {"type": 8}}, "ICMPv4 EchoRequest"),
        (1, 0, 0, {"ICMPv4": {}}, "ICMPv4 EchoReply"),
        (1, 3, 13, {"ICMPv4": {"type": 3, "code": 13}}, "ICMPv4 DestinationUnreachable(CommAdm"),
        (1, 3, 99, {"ICMPv4": {"type": 3, "code": 99}}, "ICMPv4 DestinationUnreachable(Code: 99)"),
        (58, 128, 0, {"ICMPv6": {"type": 128}}, "ICMPv6 EchoRequest"),
        (58, 200, 7, {"ICMPv6": {"type": 200, "code": 7}}, "ICMPv6 200(7)"),
        (58, 1, -1, {"ICMPv6": {"type": 1, "code": -1}}, "ICMPv6 DestinationUnreachable(Code: -1)"),
    ],
)
def test_icmp(protocol: int, kind: int, code: int, layer: dict[str, object], summary: str) -> None:
    shown = flow_to_hubble(flow(l4_protocol=protocol, icmp_type=kind, icmp_code=code))
    assert shown["l4"] == layer
    assert str(shown["Summary"]).startswith(summary)


def test_a_drop_is_told_beside_the_verdict() -> None:
    denied = flow(action=ActionType.REJECT, drop_reason="policy", policy_id="no-ssh")
    verdict = flow_to_hubble(denied)
    assert verdict["egress_denied_by"] == [{"name": "no-ssh", "kind": "TriremePolicy"}]
    drop = drop_to_hubble(denied)
    assert drop is not None
    changed = {name for name in verdict.keys() | drop.keys() if verdict.get(name) != drop.get(name)}
    assert changed == {"event_type", "is_reply", "egress_denied_by"}
    assert drop["event_type"] == {"type": 1, "sub_type": 133}
    lines = [json.loads(line)["flow"] for line in render_hubble_lines([denied]).splitlines()]
    assert lines == [verdict, drop]
    assert render_hubble_line(denied).count(b"\n") == 1


@pytest.mark.parametrize("reason", FlowDropReason)
def test_every_drop_has_a_reason(reason: FlowDropReason) -> None:
    drop = drop_to_hubble(flow(action=ActionType.REJECT, drop_reason=reason))
    assert drop is not None
    code = drop["drop_reason"]
    assert isinstance(code, int)
    assert code >= 130
    assert drop["event_type"] == {"type": 1, "sub_type": code}


@pytest.mark.parametrize(
    "fields",
    [{}, {"action": ActionType.REJECT, "phase": FlowPhase.ENDED}],
    ids=["accepted", "later"],
)
def test_what_was_not_dropped_is_no_drop(fields: dict[str, object]) -> None:
    assert drop_to_hubble(flow(**fields)) is None


def test_a_policy_by_default_has_no_name() -> None:
    shown = flow_to_hubble(flow(action=ActionType.REJECT, policy_id="default"))
    assert "egress_denied_by" not in shown


def test_other_records_have_no_line() -> None:
    lines = render_hubble_lines([flow(), CounterReport(), flow(l4_protocol=17)])
    assert len(lines.splitlines()) == 2
    assert render_hubble_lines([]) == b""


def test_a_line_is_not_longer_than_the_reader_takes() -> None:
    line = render_hubble_line(flow(tags=("x" * MAX_HUBBLE_LINE_BYTES,)))
    assert len(line) <= MAX_HUBBLE_LINE_BYTES
    assert "labels" not in json.loads(line)["flow"]["source"]
    assert render_hubble_line(flow(namespace="x" * MAX_HUBBLE_LINE_BYTES)) == b""


def test_half_a_surrogate_pair_is_replaced() -> None:
    line = render_hubble_line(flow(namespace='\ud800"\\\x7f\n😀é'))
    assert line.isascii()
    assert json.loads(line)["flow"]["source"]["namespace"] == '\ufffd"\\\x7f\n😀é'


def test_a_response_can_say_node_and_time() -> None:
    assert render_hubble_response({"Summary": "x"}, node_name="n", time="t") == (
        b'{"flow":{"Summary":"x"},"node_name":"n","time":"t"}\n'
    )


@given(records(text=NASTY_TEXT))
def test_every_record_is_printable_lines_or_none(record: Record) -> None:
    lines = render_hubble_lines([record])
    if not isinstance(record, FlowRecord):
        assert lines == b""
        return
    assert lines.endswith(b"\n")
    dropped = record.action.rejected and not record.phase
    assert lines.count(b"\n") == 1 + dropped
    for line in lines[:-1].split(b"\n"):
        assert line.decode("ascii").isprintable()
        response = json.loads(line)
        assert response["flow"]["Type"] == "L3_L4"
        assert "" not in response["flow"].values()
        response["flow"].get("Summary", "").encode()
