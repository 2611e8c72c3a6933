"""What holds for any flow logs, in any order, in any batches."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.netobserv.flows import ALL_TYPES, config
from tests.core.netobserv.oracle import Oracle
from trireme_collector.netobserv import LineTracker, Numbers, Tracker

if TYPE_CHECKING:
    import random

HOSTS = st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::3"])
PORTS = st.sampled_from([80, 443, 40000])
COUNTERS = st.one_of(st.integers(0, 2**40), st.sampled_from([0, 2.5, "7", "x", True]))
OPTIONAL: dict[str, st.SearchStrategy[Any]] = {
    "Bytes": COUNTERS,
    "Packets": COUNTERS,
    "TimeFlowStartMs": st.integers(0, 2**41),
    "TimeFlowEndMs": st.integers(0, 2**41),
    "FlowDirection": st.integers(0, 2),
    "Flags": st.one_of(st.sampled_from([0, 1, 2, 16, 0x100, 0x101, 0x200, "256", "SYN"])),
    "Duplicate": st.sampled_from([True, False, 1, "true", "no"]),
    "Tag": st.sampled_from(["a", "b", 0, False]),
}
FLOWS = st.fixed_dictionaries(
    {
        "SrcAddr": HOSTS,
        "SrcPort": PORTS,
        "DstAddr": HOSTS,
        "DstPort": PORTS,
        "Proto": st.sampled_from([6, 6, 6, 17, 132, 1]),
    },
    optional=OPTIONAL,
)
STEPS = st.lists(st.tuples(st.integers(0, 4000), st.lists(FLOWS, max_size=6)), max_size=12)
FIELDS: list[dict[str, object]] = [
    {"name": "Bytes", "operation": "sum"},
    {"name": "Bytes", "operation": "sum", "splitAB": True},
    {"name": "Packets", "operation": "sum", "splitAB": True},
    {"name": "numFlowLogs", "operation": "count"},
    {"name": "n", "operation": "count", "splitAB": True},
    {"name": "TimeFlowStartMs", "operation": "min", "reportMissing": True},
    {"name": "TimeFlowEndMs", "operation": "max"},
    {"name": "Least", "operation": "min", "input": "Bytes", "splitAB": True},
    {"name": "FlowDirection", "operation": "first"},
    {"name": "Tag", "operation": "last"},
    {"name": "LastBytes", "operation": "last", "input": "Bytes"},
]


def seconds(low: int, high: int) -> st.SearchStrategy[str]:
    return st.integers(low, high).map(lambda n: f"{n}ms")


GROUPS = st.fixed_dictionaries(
    {
        "endConnectionTimeout": seconds(0, 5000),
        "terminatingTimeout": seconds(0, 3000),
        "heartbeatInterval": seconds(1, 4000),
    }
)
CONFIGS = st.builds(
    lambda types, limit, udp, rest: config(
        outputRecordTypes=types,
        outputFields=FIELDS,
        maxConnectionsTracked=limit,
        scheduling=[{**udp, "selector": {"Proto": 17}}, rest],
    ),
    st.lists(st.sampled_from(ALL_TYPES), unique=True),
    st.sampled_from([0, 0, 2]),
    GROUPS,
    GROUPS,
)


@settings(max_examples=150)
@given(CONFIGS, STEPS, st.sampled_from(["json", "agent"]))
def test_the_strict_profile_is_the_plain_one(
    config: dict[str, Any], steps: list[Any], numbers: Numbers
) -> None:
    plain = Oracle(config, numbers)
    tracker = Tracker.from_config(config, profile="strict", numbers=numbers)
    lines = LineTracker(Tracker.from_config(config, profile="strict", numbers=numbers))
    now = 0
    for later, flows in steps:
        now += later
        expected = plain.process(flows, now)
        assert tracker.process(flows, now) == expected
        given_lines = lines.process([json.dumps(flow).encode() for flow in flows], now)
        assert [json.loads(line) for line in given_lines] == expected
    assert len(tracker) == len(plain.active) + len(plain.terminating)


SOUND = st.fixed_dictionaries(
    {
        "SrcAddr": HOSTS,
        "SrcPort": PORTS,
        "DstAddr": HOSTS,
        "DstPort": PORTS,
        "Proto": st.sampled_from([6, 17, 132]),
        "Bytes": st.integers(0, 2**70),
        "Packets": st.integers(1, 100),
    }
)
ENDS_ONLY = config(outputRecordTypes=["endConnection"])


def totals(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Sum up what does not depend on which side was seen first."""
    return {
        record["_HashId"]: (record.get("Bytes", 0), record["Packets"], record["numFlowLogs"])
        for record in records
    }


@given(st.lists(SOUND, max_size=12), st.randoms(use_true_random=False))
def test_order_does_not_matter_to_totals(flows: list[Any], chance: random.Random) -> None:
    shuffled = list(flows)
    chance.shuffle(shuffled)
    one, other = Tracker.from_config(ENDS_ONLY), Tracker.from_config(ENDS_ONLY)
    one.process(flows, 0)
    other.process(shuffled, 0)
    assert totals(one.flush()) == totals(other.flush())


@given(st.lists(SOUND, max_size=12), st.integers(1, 5))
def test_batches_do_not_matter(flows: list[Any], size: int) -> None:
    whole, parts = Tracker.from_config(config()), Tracker.from_config(config())
    expected = whole.process(flows, 5)
    given_records: list[dict[str, Any]] = []
    for start in range(0, len(flows), size):
        given_records += parts.process(flows[start : start + size], 5)
    assert given_records == expected
    assert parts.flush() == whole.flush()


@given(st.lists(SOUND, max_size=20))
def test_nothing_is_lost_and_nothing_counted_twice(flows: list[Any]) -> None:
    tracker = Tracker.from_config(ENDS_ONLY)
    records: list[dict[str, Any]] = []
    for now, flow in enumerate(flows):
        records += tracker.process([flow], now * 4_000)
    records += tracker.flush()
    assert sum(r["Packets"] for r in records) == sum(f["Packets"] for f in flows)
    assert sum(r["numFlowLogs"] for r in records) == len(flows)
    assert all(r["Packets"] == r.get("Packets_AB", 0) + r.get("Packets_BA", 0) for r in records)
    assert all(r["_IsFirst"] for r in records)


@given(STEPS)
def test_every_conversation_begins_before_it_ends(steps: list[Any]) -> None:
    tracker = Tracker.from_config(config())
    clock = itertools.accumulate(later for later, _ in steps)
    records = [
        record
        for (_, flows), now in zip(steps, clock, strict=False)
        for record in tracker.process(flows, now)
    ]
    records += tracker.flush()
    open_ones: Counter[str] = Counter()
    for record in records:
        match record["_RecordType"]:
            case "newConnection":
                open_ones[str(record["_HashId"])] += 1
            case "endConnection":
                open_ones[str(record["_HashId"])] -= 1
        assert set(open_ones.values()) <= {0, 1}
    assert not any(open_ones.values())
