"""Our records as messages of the datapath: what they say, and how the formatter reads them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from msgspec import UNSET, structs

from trireme_collector.records import (
    ActionType,
    Direction,
    EndPoint,
    EndPointType,
    FlowDropReason,
    FlowPhase,
    FlowRecord,
    PacketEvent,
    PacketReport,
    UserRecord,
)
from trireme_collector.testing.strategies import structs as struct_strategy
from trireme_datapath.monitor.messages.agent import AgentNotify, decode_agent_notify
from trireme_datapath.monitor.messages.drop import decode_drop_notify
from trireme_datapath.monitor.messages.policy_verdict import decode_policy_verdict_notify
from trireme_datapath.monitor.messages.trace import decode_trace_notify
from trireme_datapath.monitor.publishing import FIRST_IDENTITY, WORLD_IDENTITY, Notifier, drop_code
from trireme_datapath.monitor.publishing._endpoints import agent_message

DATA = Path(__file__).parents[3] / "data" / "monitor"
WEB = EndPoint(id="web", ip="10.0.0.1", type=EndPointType.PU, port=80)
CLIENT = EndPoint(id="net", ip="192.0.2.9", port=40_000)


def accepted(**fields: object) -> FlowRecord:
    defaults: dict[str, object] = {
        "source": CLIENT,
        "destination": WEB,
        "namespace": "/shop",
        "tags": ("app=web",),
        "action": ActionType.ACCEPT,
        "direction": Direction.INGRESS,
        "l4_protocol": 6,
        "tcp_flags": 2,
        "packets": 1,
        "bytes": 60,
    }
    return FlowRecord(**{**defaults, **fields})  # type: ignore[arg-type]  # fields of the caller


def test_an_accepted_flow_is_a_verdict_and_a_trace() -> None:
    announced, verdict, trace = Notifier().messages(accepted())
    said = decode_policy_verdict_notify(verdict)
    assert (said.source, said.remote_label, said.verdict) == (1, WORLD_IDENTITY, 0)
    assert (said.dst_port, said.proto, said.orig_len, said.cap_len) == (80, 6, 74, 54)
    assert said.is_traffic_ingress()
    assert not said.is_traffic_ipv6()
    assert not said.is_traffic_audited()
    assert said.dump_info(verdict).endswith(
        "local EP ID 1, remote ID world, proto 6, ingress, action allow, auth: disabled,"
        " match none, 192.0.2.9:40000 -> 10.0.0.1:80 tcp SYN\n"
    )
    traced = decode_trace_notify(trace)
    assert traced.dump_info(trace).startswith("-> endpoint 1 flow ")
    assert f", identity world->{FIRST_IDENTITY + 1} state new ifindex 0" in traced.dump_info(trace)
    agent = decode_agent_notify(announced)
    assert json.loads(agent.text) == {
        "id": 1,
        "labels": ["trireme:unit=web", "trireme:app=web"],
        "namespace": "/shop",
    }
    assert agent.dump_info().startswith(">> Endpoint created: ")


def test_a_rejected_flow_is_a_verdict_and_a_drop() -> None:
    notifier = Notifier()
    record = accepted(action=ActionType.REJECT, drop_reason=FlowDropReason.POLICY_DROP.value)
    _, verdict, drop = notifier.messages(record)
    assert decode_policy_verdict_notify(verdict).verdict == -133
    dropped = decode_drop_notify(drop)
    assert (dropped.sub_type, dropped.dst_id, dropped.src_label) == (133, 1, WORLD_IDENTITY)
    assert dropped.dump_info(drop).startswith("xx drop (Policy denied) flow ")
    assert dropped.dump_info(drop).endswith(
        " to endpoint 1, ifindex 0, file unknown(0):0, ,"
        " identity world->257: 192.0.2.9:40000 -> 10.0.0.1:80 tcp SYN\n"
    )
    # What is announced once is not announced again, but to those who come later.
    assert len(notifier.messages(record)) == 2
    assert len(list(notifier.endpoints.announcements())) == 1


def test_the_way_out() -> None:
    record = accepted(source=WEB, destination=CLIENT, direction=Direction.EGRESS)
    _, verdict, trace = Notifier().messages(record)
    said = decode_policy_verdict_notify(verdict)
    assert (said.source, said.remote_label, said.dst_port) == (1, WORLD_IDENTITY, 40_000)
    assert not said.is_traffic_ingress()
    traced = decode_trace_notify(trace)
    assert (traced.src_label, traced.dst_label, traced.dst_id) == (257, WORLD_IDENTITY, 0)
    assert traced.dump_info(trace).startswith("-> stack flow ")


def test_two_units_have_a_number_each() -> None:
    other = EndPoint(id="db", ip="10.0.0.2", type=EndPointType.PU)
    *announced, verdict, _ = Notifier().messages(accepted(source=other))
    assert len(announced) == 2
    said = decode_policy_verdict_notify(verdict)
    assert (said.source, said.remote_label) == (1, FIRST_IDENTITY + 2)


def test_what_is_only_observed_is_audited() -> None:
    _, verdict, _ = Notifier().messages(accepted(observed_action=ActionType.REJECT))
    said = decode_policy_verdict_notify(verdict)
    assert said.is_traffic_audited()
    assert "action audit" in said.dump_info(verdict)


def test_ipv6_and_udp() -> None:
    source, destination = EndPoint(ip="2001:db8::1", port=9), EndPoint(ip="2001:db8::2", port=53)
    record = accepted(source=source, destination=destination, l4_protocol=17, bytes=100)
    verdict, trace = Notifier().messages(record)
    said = decode_policy_verdict_notify(verdict)
    assert said.is_traffic_ipv6()
    assert said.dump_info(verdict).endswith(" [2001:db8::1]:9 -> [2001:db8::2]:53 udp\n")
    assert str(decode_trace_notify(trace).original_ip()) == "::"


def test_a_protocol_without_ports() -> None:
    verdict, _ = Notifier().messages(accepted(source=CLIENT, destination=CLIENT, l4_protocol=47))
    shown = decode_policy_verdict_notify(verdict).dump_info(verdict)
    assert shown.endswith(" 192.0.2.9 -> 192.0.2.9\n")


def test_a_dropped_packet_is_a_drop_with_its_first_bytes() -> None:
    payload = bytes.fromhex("45000014000100004011000001020304 05060708")
    report = PacketReport(
        drop_reason="malformed:transport",
        event=PacketEvent.DROPPED,
        length=20,
        payload=payload,
        source_ip="1.2.3.4",
        interface="lo",
    )
    (drop,) = Notifier().messages(report)
    dropped = decode_drop_notify(drop)
    assert (dropped.sub_type, dropped.ifindex, dropped.orig_len) == (134, 1, 34)
    assert drop.endswith(b"\x08\x00" + payload)


def test_a_packet_that_passed_is_a_trace() -> None:
    report = PacketReport(
        event=PacketEvent.RECEIVED,
        length=60,
        protocol=6,
        source_ip="1.2.3.4",
        source_port=1,
        destination_ip="5.6.7.8",
        destination_port=2,
        tcp_flags=0x10,
    )
    (trace,) = Notifier().messages(report)
    shown = decode_trace_notify(trace).dump_info(trace)
    assert "state unknown" in shown
    assert shown.endswith(": 1.2.3.4:1 -> 5.6.7.8:2 tcp ACK\n")


def test_other_records_are_not_published() -> None:
    assert Notifier().messages(UserRecord(id="x")) == []


@pytest.mark.parametrize("phase", FlowPhase)
def test_what_a_flow_carried_later_is_no_decision(phase: FlowPhase) -> None:
    assert Notifier().messages(accepted(phase=phase)) == []


@given(struct_strategy(FlowRecord))
def test_any_flow_gives_messages_that_can_be_read(record: FlowRecord) -> None:
    *_, verdict, fate = Notifier().messages(structs.replace(record, phase=UNSET))
    decode_policy_verdict_notify(verdict)
    assert fate[0] in {1, 4}
    if fate[0] == 1:
        decode_drop_notify(fate)
    else:
        decode_trace_notify(fate)


@given(struct_strategy(PacketReport))
def test_any_packet_gives_a_message_that_can_be_read(report: PacketReport) -> None:
    (message,) = Notifier().messages(report)
    assert message[0] in {1, 4}


def test_many_units_do_not_grow_without_bound() -> None:
    notifier = Notifier()
    for number in range(5000):
        end = EndPoint(id=str(number), ip="10.0.0.1", type=EndPointType.PU)
        notifier.messages(accepted(destination=end))
    assert len(list(notifier.endpoints.announcements())) == 4096
    known, announced = notifier.endpoints.number(EndPoint(id="4999", type=EndPointType.PU))
    assert (known, announced) == (0, None)


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("policy", 133),
        ("state", 163),
        ("malformed:tcp-offset", 134),
        ("fragment", 175),
        ("anything", 133),
    ],
)
def test_drop_reasons(reason: str, code: int) -> None:
    assert drop_code(reason) == code


@pytest.mark.parametrize("case", json.loads((DATA / "inner_streams.json").read_bytes()))
def test_agent_messages_have_the_bytes_of_the_original(case: dict[str, object]) -> None:
    if case["type"] == "agent" and case["profile"] == "1.16.2":
        number = case["agent_type"]
        assert isinstance(number, int)
        notify = AgentNotify(type=number, text=str(case["agent_text"]))
        assert agent_message(notify).hex() == case["hex"]
