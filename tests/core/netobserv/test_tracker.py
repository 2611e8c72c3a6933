"""The default profile: the rules of the original without its defects."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.netobserv.flows import config, flow, kinds
from trireme_collector.netobserv import Tracker

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
SYN_ACK, FIN_ACK, RST_ACK = 0x100, 0x200, 0x400


def tracker(*types: str, **changes: object) -> Tracker:
    return Tracker.from_config(config(outputRecordTypes=list(types), **changes))


def last(records: list[dict[str, Any]]) -> dict[str, Any]:
    assert len(records) == 1
    return records[0]


def test_an_end_needs_no_traffic() -> None:
    live = tracker("endConnection")
    live.process([flow(Bytes=5)], 0)
    assert live.tick(10_000) == []
    assert last(live.tick(10_001))["Bytes"] == 5
    assert len(live) == 0


def test_a_heartbeat_needs_no_traffic() -> None:
    live = tracker("heartbeat", scheduling=[_times("60s", "5s", "2s")])
    live.process([flow(), flow(3, 4)], 0)
    assert [r["SrcAddr"] for r in live.tick(2_001)] == ["192.0.2.1", "192.0.2.3"]
    assert live.tick(4_001) == []
    assert kinds(live.tick(4_002)) == ["heartbeat", "heartbeat"]


@pytest.mark.parametrize("flags", [RST, RST_ACK, RST | ACK])
def test_a_reset_ends(flags: int) -> None:
    live = tracker("endConnection")
    live.process([flow(Flags=SYN)], 0)
    live.process([flow(2, 1, Flags=flags)], 100)
    assert live.tick(5_100) == []
    assert kinds(live.tick(5_101)) == ["endConnection"]


@pytest.mark.parametrize("flags", [FIN, FIN_ACK, ["FIN_ACK", "ACK"], "FIN"])
def test_both_sides_have_to_close(flags: object) -> None:
    live = tracker("endConnection")
    live.process([flow(Flags=flags)], 0)
    live.process([flow(Flags=flags)], 100)
    assert live.tick(5_101) == []
    live.process([flow(2, 1, Flags=flags)], 6_000)
    assert kinds(live.tick(11_001)) == ["endConnection"]
    reason = "conntrack_end_connections|group=0: DEFAULT|reason=FIN_flag"
    assert live.metrics()[reason] == 1


def test_a_side_alone_closes_a_direction_alone() -> None:
    one_way = {
        "fieldGroups": [{"name": "all", "fields": ["SrcAddr", "DstAddr", "Proto"]}],
        "hash": {"fieldGroupRefs": ["all"]},
    }
    live = tracker(
        "endConnection",
        keyDefinition=one_way,
        outputFields=[],
        tcpFlags={"fieldName": "Flags", "detectEndConnection": True},
    )
    live.process([flow(Flags=FIN_ACK)], 0)
    assert kinds(live.tick(5_001)) == ["endConnection"]


def test_names_turn_a_conversation_round() -> None:
    live = tracker("newConnection")
    record = last(live.process([flow(2, 1, Flags=["SYN_ACK"], Bytes=7)], 0))
    assert (record["SrcAddr"], record["Bytes_BA"]) == ("192.0.2.1", 7)


def test_the_one_that_ends_first_makes_room() -> None:
    live = tracker("newConnection", "endConnection", maxConnectionsTracked=2)
    live.process([flow(1, 10), flow(2, 10)], 0)
    live.process([flow(1, 10)], 1_000)
    records = live.process([flow(3, 10)], 2_000)
    assert [(r["_RecordType"], r["SrcAddr"]) for r in records] == [
        ("endConnection", "192.0.2.2"),
        ("newConnection", "192.0.2.3"),
    ]
    live.process([flow(3, 10, Flags=RST)], 2_500)
    records = live.process([flow(4, 10)], 3_000)
    assert records[0]["SrcAddr"] == "192.0.2.3", "its end was seen"
    assert live.metrics()["conntrack_end_connections|group=0: DEFAULT|reason=evicted"] == 2
    assert len(live) == 2


def test_the_table_is_bounded_without_configuration() -> None:
    live = Tracker.from_config(config(outputRecordTypes=["endConnection"]), max_conversations=3)
    records = live.process([flow(n, 200) for n in range(1, 10)], 0)
    assert len(live) == 3
    assert [r["SrcAddr"] for r in records] == [f"192.0.2.{n}" for n in range(1, 7)]


def test_a_clock_that_is_set_back_stands_still() -> None:
    live = tracker("endConnection")
    live.process([flow()], 100_000)
    live.process([flow(3, 4)], 10_000)
    assert live.tick(20_000) == []
    assert len(live.tick(110_001)) == 2
    assert live.metrics()["conntrack_clock_reversals"] == 2


def test_a_clock_that_leaps_ends_everything_once() -> None:
    live = tracker("endConnection", "heartbeat")
    live.process([flow(n, 200) for n in range(1, 6)], 0)
    assert kinds(live.tick(10**15)) == ["endConnection"] * 5
    assert live.tick(2 * 10**15) == []


def test_what_is_not_tracked_is_passed_on() -> None:
    live = tracker("flowLog", "endConnection")
    record = last(live.process([flow(Proto=1, IcmpType=8)], 0))
    assert (record["_RecordType"], record["IcmpType"]) == ("flowLog", 8)
    assert "_HashId" not in record
    assert len(live) == 0
    for odd in ({}, flow(Proto=None), flow(Proto=[6]), flow(SrcAddr=[1]), flow(DstPort={})):
        assert kinds(live.process([odd], 0)) == ["flowLog"]


def test_sums_are_exact() -> None:
    live = tracker("endConnection")
    live.process([flow(Bytes=2**53 + 1), flow(Bytes=2**54 + 1)], 0)
    assert last(live.flush())["Bytes"] == 2**53 + 2**54 + 2


def test_fractions_and_text_are_added() -> None:
    live = tracker("endConnection")
    live.process([flow(Bytes=0.25), flow(Bytes="2"), flow(Bytes=0.5)], 0)
    assert last(live.flush())["Bytes"] == 2.75


def test_counters_that_go_backwards_do_not_count() -> None:
    live = tracker("endConnection")
    wrapped = 2**64 - 10
    live.process([flow(Bytes=100, Packets=1), flow(Bytes=-50), flow(Bytes=wrapped)], 0)
    record = last(live.flush())
    assert (record["Bytes"], record["numFlowLogs"]) == (100, 3)
    error = "conntrack_aggregator_errors|error=CounterReversalError|field=Bytes"
    assert live.metrics()[error] == 4  # of Bytes and of Bytes_AB


@pytest.mark.parametrize("value", ["NaN", "Inf", "abc", True, [1], {}, float("nan"), float("inf")])
def test_what_is_no_number_does_not_count(value: object) -> None:
    live = tracker("endConnection")
    live.process([flow(Bytes=value, TimeFlowStartMs=value), flow(Bytes=1)], 0)
    record = last(live.flush())
    assert record["Bytes"] == 1
    assert "TimeFlowStartMs" not in record


def test_zeros_that_were_taken_over_are_kept() -> None:
    live = tracker("endConnection")
    live.process([flow(FlowDirection=0, IfDirection=0, Bytes=0, TimeFlowStartMs=0)], 0)
    record = last(live.flush())
    assert (record["FlowDirection"], record["IfDirection"], record["TimeFlowStartMs"]) == (0, 0, 0)
    assert "Bytes" not in record
    assert "TimeFlowEndMs" not in record


def test_a_missing_key_field_is_absent() -> None:
    live = tracker("newConnection")
    missing = flow()
    del missing["SrcPort"]
    record = last(live.process([missing], 0))
    assert "SrcPort" not in record
    assert live.process([flow(SrcPort=None)], 1) == [], "null is absent: the same conversation"


def test_flush_ends_everything_once() -> None:
    live = tracker("endConnection")
    live.process([flow(), flow(3, 4, Flags=RST)], 0)
    assert [r["SrcAddr"] for r in live.flush()] == ["192.0.2.3", "192.0.2.1"]
    assert live.flush() == []
    live.process([flow()], 1)
    assert kinds(live.flush(20_000)) == ["endConnection"]


def test_the_first_record_is_marked_once() -> None:
    live = tracker("newConnection", "endConnection")
    first = live.process([flow()], 0) + live.flush()
    assert [r["_IsFirst"] for r in first] == [True, False]
    only_ends = tracker("endConnection")
    only_ends.process([flow()], 0)
    assert last(only_ends.flush())["_IsFirst"] is True


def test_equal_but_not_the_same_keys_are_told_apart() -> None:
    live = tracker("newConnection")
    given = live.process([flow(SrcPort=1), flow(SrcPort=True), flow(SrcPort="1")], 0)
    assert len({record["_HashId"] for record in given}) == 3
    assert len(live.process([flow(SrcPort=1.0), flow(SrcPort=1)], 0)) == 0


def test_many_updates_leave_no_trace() -> None:
    live = tracker("heartbeat", "endConnection", scheduling=[_times("1h", "1h", "1h")])
    for now in range(300):
        live.process([flow(n, 200) for n in range(1, 100)], now)
    assert len(live.table.groups[0].active) < 20_000
    assert [r["SrcAddr"] for r in live.flush()] == [f"192.0.2.{n}" for n in range(1, 100)]


def test_ended_conversations_leave_the_line_of_heartbeats() -> None:
    live = tracker("heartbeat", scheduling=[_times("1ms", "1ms", "10h")])
    for now in range(0, 60_000, 2):
        live.process([flow(SrcPort=now)], now)
    assert len(live.table.groups[0].beats) < 20_000
    assert len(live) == 1


def test_input_is_not_changed() -> None:
    live = tracker("flowLog")
    given = flow(_HashId="x", _RecordType="y")
    record = last(live.process([given], 0))
    assert given == flow(_HashId="x", _RecordType="y")
    assert record["_RecordType"] == "flowLog"


def _times(end: str, terminating: str, beat: str) -> dict[str, str]:
    return {
        "endConnectionTimeout": end,
        "terminatingTimeout": terminating,
        "heartbeatInterval": beat,
    }
