"""Clocks that jump: they cost neither flow logs nor the ends of conversations."""

from __future__ import annotations

import json

import pytest

from tests.core.netobserv.flows import config, flow
from trireme_collector.netobserv import LineTracker, Tracker
from trireme_collector.netobserv._flow_clock import FlowClock, steady_clock

BEGIN_MS = 1_700_000_000_000
YEAR_MS = 365 * 86_400_000


def test_a_time_of_day_that_is_set_moves_nothing() -> None:
    times, passed = [BEGIN_MS * 1_000_000], [5_000_000]
    now_ms = steady_clock(lambda: times[0], lambda: passed[0])
    assert now_ms() == BEGIN_MS
    for jump_ms in (YEAR_MS, -YEAR_MS):
        times[0] += jump_ms * 1_000_000
        passed[0] += 3_000_000
    assert now_ms() == BEGIN_MS + 6


@pytest.mark.parametrize("time_ms", ["soon", None, [], 10**18, float("nan"), float("inf"), -5])
def test_what_is_no_time_does_not_move_the_clock(time_ms: object) -> None:
    clock = FlowClock()
    clock.move(BEGIN_MS)
    assert not clock.is_over(time_ms)


@pytest.mark.parametrize("jump_ms", [YEAR_MS, -YEAR_MS])
def test_a_flow_log_with_a_wrong_time_costs_no_other(jump_ms: int) -> None:
    """One that is far ahead ends what is open; everything still counts once."""
    tracker = LineTracker(Tracker.from_config(config(outputRecordTypes=["endConnection"])))
    times = [BEGIN_MS, BEGIN_MS + jump_ms, BEGIN_MS + 1_000, BEGIN_MS + 2_000]
    lines = [
        json.dumps(flow(host, 200, Bytes=1, TimeFlowEndMs=time_ms)).encode()
        for time_ms in times
        for host in (1, 2)
    ]
    ends = [json.loads(line) for line in [*tracker.process_by_time(lines), *tracker.flush()]]
    counted = dict.fromkeys(("192.0.2.1", "192.0.2.2"), 0)
    for record in ends:
        counted[record["SrcAddr"]] += record["numFlowLogs"]
        assert record["Bytes"] == record["numFlowLogs"]
    assert counted == {"192.0.2.1": 4, "192.0.2.2": 4}
    assert len(ends) == (4 if jump_ms > 0 else 2)
