"""Flows that are alike become one, different ones never do, and none is lost."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import replace

from trireme_collector import ActionType, EndPoint, FlowRecord, stats_flow_hash
from trireme_collector.aggregation import AggregationConfig, AggregationKey, FlowAggregator

SECOND = 1_000_000_000


def flow(number: int = 0, **fields: Any) -> FlowRecord:  # noqa: ANN401  any field of a flow
    record = FlowRecord(
        source=EndPoint(id="client", ip="10.0.0.1", port=40_000),
        destination=EndPoint(id=f"server-{number}", ip="10.0.0.2", port=80),
        action=ActionType.ACCEPT,
        l4_protocol=6,
        count=1,
    )
    return replace(record, **fields)


def test_the_first_record_wins_and_count_adds() -> None:
    aggregator = FlowAggregator()
    first = flow(tags=("a=1",), service_id="one", count=2)
    second = flow(tags=("b=2",), service_id="two", count=3)
    assert aggregator.add(first) == ()
    assert aggregator.add(second) == ()
    assert aggregator.take_all() == [replace(first, count=5)]
    assert aggregator.take_all() == []


def test_a_count_of_zero_counts_as_one() -> None:
    aggregator = FlowAggregator()
    aggregator.add(flow(count=0))
    assert aggregator.take_all()[0].count == 1
    aggregator.add(flow(count=0))
    aggregator.add(flow(count=0))
    assert aggregator.take_all()[0].count == 2


def test_our_own_fields_add_up_and_widen() -> None:
    aggregator = FlowAggregator()
    aggregator.add(flow(packets=1, bytes=100, start_time_ns=50, end_time_ns=60, tcp_flags=0x02))
    aggregator.add(flow(packets=2, bytes=200, start_time_ns=40, end_time_ns=55, tcp_flags=0x10))
    (merged,) = aggregator.take_all()
    assert (merged.packets, merged.bytes) == (3, 300)
    assert (merged.start_time_ns, merged.end_time_ns) == (40, 60)
    assert merged.tcp_flags == 0x12


def test_what_is_unknown_on_one_side_stays_known() -> None:
    aggregator = FlowAggregator()
    aggregator.add(flow(packets=4, end_time_ns=9))
    aggregator.add(flow(bytes=7, start_time_ns=3, tcp_flags=1))
    (merged,) = aggregator.take_all()
    assert (merged.packets, merged.bytes, merged.tcp_flags) == (4, 7, 1)
    assert (merged.start_time_ns, merged.end_time_ns) == (3, 9)
    aggregator.add(flow())
    aggregator.add(flow())
    (merged,) = aggregator.take_all()
    assert merged.packets is UNSET
    assert merged.tcp_flags is UNSET


@pytest.mark.parametrize(
    "fields",
    [
        {"context_id": "other"},
        {"namespace": "other"},
        {"l4_protocol": 17},
        {"policy_id": "other"},
        {"observed_policy_id": "other"},
        {"policy_revision": "other"},
        {"action": ActionType.ACCEPT_LOG},
        {"observed_action": ActionType.REJECT},
        {"drop_reason": "policy"},
        {"destination": EndPoint(id="server-0", ip="10.0.0.2", port=80, uri="/")},
        {"destination": EndPoint(id="server-0", ip="10.0.0.2", port=81)},
        {"destination": EndPoint(id="server-0", ip="10.0.0.3", port=80)},
        {"source": EndPoint(id="client", ip="10.0.0.9")},
        {"source": EndPoint(id="other", ip="10.0.0.1")},
    ],
    ids=str,
)
def test_flows_that_differ_stay_apart(fields: dict[str, Any]) -> None:
    aggregator = FlowAggregator()
    aggregator.add(flow())
    aggregator.add(flow(**fields))
    assert len(aggregator.take_all()) == 2


@pytest.mark.parametrize(
    "fields",
    [
        {"source": EndPoint(id="client", ip="10.0.0.1", port=9)},
        {"tags": ("t=1",)},
        {"service_id": "s"},
        {"interface": "eth0"},
    ],
    ids=str,
)
def test_other_fields_do_not_keep_flows_apart(fields: dict[str, Any]) -> None:
    aggregator = FlowAggregator()
    aggregator.add(flow())
    aggregator.add(flow(**fields))
    assert len(aggregator.take_all()) == 1


def test_the_seed_key_has_the_fields_of_the_seed_alone() -> None:
    aggregator = FlowAggregator(AggregationConfig(key=AggregationKey.SEED))
    aggregator.add(flow())
    aggregator.add(flow(context_id="other", namespace="other", l4_protocol=17, policy_id="p"))
    assert len(aggregator) == 1
    aggregator.add(flow(drop_reason="policy"))
    assert len(aggregator) == 2


def test_flows_with_one_hash_are_not_merged() -> None:
    one = flow(source=EndPoint(id="ab"), destination=EndPoint(id="c", port=80))
    other = flow(source=EndPoint(id="a"), destination=EndPoint(id="bc", port=80))
    assert stats_flow_hash(one) == stats_flow_hash(other)
    for key in AggregationKey:
        aggregator = FlowAggregator(AggregationConfig(key=key))
        aggregator.add(one)
        aggregator.add(other)
        assert len(aggregator) == 2


def test_the_window_ends_after_its_time() -> None:
    aggregator = FlowAggregator()
    assert aggregator.take_due(5 * SECOND) == ()
    aggregator.add(flow())
    assert aggregator.take_due(6 * SECOND - 1) == ()
    assert aggregator.take_due(6 * SECOND) == [flow()]
    aggregator.add(flow())
    assert aggregator.take_due(7 * SECOND - 1) == ()
    assert aggregator.take_due(9 * SECOND) == [flow()]


def test_without_a_window_nothing_waits() -> None:
    aggregator = FlowAggregator(AggregationConfig(window_seconds=0))
    assert aggregator.add(flow(count=0)) == (flow(),)
    assert aggregator.add(flow()) == (flow(),)
    assert len(aggregator) == 0


def test_a_full_table_lets_the_oldest_leave_early() -> None:
    aggregator = FlowAggregator(AggregationConfig(max_keys=3))
    for number in range(3):
        assert aggregator.add(flow(number)) == ()
    assert aggregator.add(flow(1)) == ()
    left = list(aggregator.add(flow(3)))
    assert left[0] == flow(0)
    assert len(aggregator) <= 3
    assert aggregator.evicted == len(left)
    assert left + list(aggregator.take_all()) == [flow(0), flow(1, count=2), flow(2), flow(3)]


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5), st.integers(0, 99)), max_size=60),
    st.integers(1, 8),
    st.sampled_from(AggregationKey),
)
def test_sums_are_exact_however_small_the_table(
    events: list[tuple[int, int, int]], max_keys: int, key: AggregationKey
) -> None:
    aggregator = FlowAggregator(AggregationConfig(max_keys=max_keys, key=key))
    out: list[FlowRecord] = []
    for number, count, packets in events:
        out.extend(aggregator.add(flow(number, count=count, packets=packets)))
        assert len(aggregator) <= max_keys
    out.extend(aggregator.take_all())
    assert aggregator.received == len(events) == aggregator.merged + len(out)
    for number in range(10):
        mine = [record for record in out if record.destination.id == f"server-{number}"]
        expected = [event for event in events if event[0] == number]
        assert sum(record.count for record in mine) == sum(c or 1 for _, c, _ in expected)
        assert sum(record.packets or 0 for record in mine) == sum(p for *_, p in expected)


def test_a_record_that_cannot_be_keyed_changes_nothing() -> None:
    aggregator = FlowAggregator()
    with pytest.raises(TypeError):
        aggregator.add(flow(drop_reason=["unhashable"]))
    assert aggregator.received == len(aggregator) == 0


def test_unknown_options_are_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"window": 1}, AggregationConfig)
