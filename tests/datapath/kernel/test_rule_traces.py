"""What the kernel tells of traced packets: golden bytes, and any bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireme_datapath.backends._netlink_codec import MessageError
from trireme_datapath.kernel.rule_traces import (
    RuleTraces,
    TraceKind,
    TraceStep,
    parse_steps,
    step_line,
)
from trireme_datapath.kernel.trace_session import FlowSelection, trace_rules

# As a kernel 6.1 sent them about a datagram to port 99 that two rules met.
FIRST = bytes.fromhex(
    "b0000000110a0000000000000000000002000000"
    "08000f000000000208000400000000030800060063da2979"
    "0f000200505245524f5554494e47000008000100726177000c0003000000000000000002"
    "0c00050008000100ffffffff08000a000000000206000b0000010000"
    "1800080045000030f58a40004011c12ec0000201c0000202"
    "1800090084e30063001c8431787878787878787878787878"
    "120007008a603e1329c2dee0163083de08000000"
)
POLICY = bytes.fromhex(
    "4c000000110a0000000000000000000002000000"
    "08000f000000000208000400000000010800060063da2979"
    "0f000200505245524f5554494e470000"
    "0800010072617700"
    "0800100000000001"
)
START_NS = 1_700_000_000_000_000_000


def test_the_first_step_has_the_headers() -> None:
    (step,) = parse_steps(FIRST)
    assert (step.table, step.chain, step.kind) == ("raw", "PREROUTING", TraceKind.RULE)
    assert (step.number, step.handle, step.verdict) == (0x63DA2979, 2, "CONTINUE")
    assert (step.indev, step.outdev, step.mark) == (2, 0, 0)
    assert step.head[:4] == bytes.fromhex("45000030")


def test_a_policy_has_a_verdict_and_no_rule() -> None:
    (step,) = parse_steps(POLICY)
    assert (step.kind, step.handle, step.verdict, step.head) == (TraceKind.POLICY, 0, "ACCEPT", b"")


def test_steps_become_lines_and_the_way_of_a_packet() -> None:
    traces = RuleTraces("/n", {0: "", 2: "eth0"}.__getitem__)
    lines = [traces.add(step, START_NS) for step in parse_steps(FIRST + POLICY)]
    about = "IN=eth0 OUT= SRC=192.0.2.1 DST=192.0.2.2 LEN=48 TTL=64 ID=62858 PROTO=UDP"
    assert lines == [
        f"TRACE: raw:PREROUTING:rule:2 {about} SPT=34019 DPT=99 VERDICT=CONTINUE",
        f"TRACE: raw:PREROUTING:policy:0 {about} SPT=34019 DPT=99 VERDICT=ACCEPT",
    ]
    assert traces.take(START_NS) == []
    (trace,) = traces.take(START_NS + 1_000_000_000)
    assert (trace.namespace, trace.timestamp_ns, len(trace.records)) == ("/n", START_NS, 2)
    first, second = trace.records
    assert (first.table_name, first.chain, first.rule_id, second.rule_id) == (
        "raw",
        "PREROUTING",
        2,
        0,
    )
    assert (first.source_ip, first.source_port, first.source_interface) == (
        "192.0.2.1",
        34019,
        "eth0",
    )
    assert (first.destination_ip, first.destination_port, first.destination_interface) == (
        "192.0.2.2",
        99,
        "",
    )
    assert (first.protocol, first.ttl, first.length, first.packet_id) == (17, 64, 48, 62858)
    assert traces.take(START_NS, everything=True) == []


def test_a_step_without_headers_is_a_line_all_the_same() -> None:
    step = TraceStep(number=1, table="filter", chain="INPUT", verdict="JUMP OURS", mark=7)
    assert step_line(step, None, "", "") == (
        "TRACE: filter:INPUT:rule:0 IN= OUT= MARK=0x7 VERDICT=JUMP OURS"
    )


def test_a_flood_of_packets_fills_no_memory() -> None:
    traces = RuleTraces("", str)
    for number in range(5_000):
        traces.add(TraceStep(number=number), START_NS)
    assert traces.forgotten == 5_000 - 4_096
    for _ in range(300):
        traces.add(TraceStep(number=1), START_NS)
    assert max(len(one.records) for one in traces.take(START_NS, everything=True)) == 256


@given(st.binary(max_size=300), st.integers(0, 175), st.integers(0, 255))
def test_any_bytes_are_steps_or_say_why_not(tail: bytes, place: int, value: int) -> None:
    changed = bytearray(FIRST)
    changed[place] = value
    for data in (bytes(changed) + tail, tail):
        traces = RuleTraces("", str)
        try:
            for step in parse_steps(data):
                traces.add(step, START_NS)
        except MessageError:
            continue
        traces.take(START_NS, everything=True)


def test_a_cut_message_is_refused() -> None:
    with pytest.raises(MessageError):
        list(parse_steps(FIRST[:100]))


def test_rules_are_for_both_directions_and_end_by_themselves() -> None:
    flow = FlowSelection(protocol="tcp", source="192.0.2.1/32", destination="192.0.2.2/32", port=80)
    rules = [" ".join(words) for words in trace_rules(flow, 1_700_000_000_000_000_001)]
    limits = (
        "-m time --datestop 2023-11-14T22:13:21 -m limit --limit 100/second --limit-burst 100"
        " -m comment --comment trireme-trace -j TRACE"
    )
    there = f"-p tcp -s 192.0.2.1/32 -d 192.0.2.2/32 --dport 80 {limits}"
    back = f"-p tcp -s 192.0.2.2/32 -d 192.0.2.1/32 --sport 80 {limits}"
    assert rules == [
        f"PREROUTING {there}",
        f"PREROUTING {back}",
        f"OUTPUT {there}",
        f"OUTPUT {back}",
    ]


@pytest.mark.parametrize(
    ("flow", "versions"),
    [
        (FlowSelection(protocol="tcp", port=80), (4, 6)),
        (FlowSelection(protocol="tcp", source="2001:db8::/32"), (6,)),
        (FlowSelection(protocol="udp", destination="192.0.2.1"), (4,)),
        (FlowSelection(protocol="icmp"), (4,)),
        (FlowSelection(protocol="icmpv6"), (6,)),
    ],
)
def test_the_versions_of_a_flow(flow: FlowSelection, versions: tuple[int, ...]) -> None:
    assert flow.versions == versions
