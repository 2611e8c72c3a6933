"""The flow table: what leaves it leaves nothing behind, and no call takes long."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from trireme_datapath.engine import Engine, EngineLimits
from trireme_datapath.flows import Flow, FlowState, FlowTable
from trireme_datapath.policy import compile_policy, parse_policy
from trireme_datapath.testing import SECOND_NS, START_NS, craft

if TYPE_CHECKING:
    from trireme_datapath.rulings import Ruling

POLICY = """
version = 1
[[unit]]
id = "web"
select.address = "10.0.0.2"
[[unit.ingress]]
id = "any"
action = "accept"
from = "any"
protocol = "udp"
ports = 53
"""
AT_ONCE = 8_192


def _ruling() -> Ruling:
    engine = Engine(compile_policy(parse_policy(POLICY, "test.toml")), EngineLimits())
    engine.receive(craft("udp 192.0.2.1:1000 > 10.0.0.2:53"), START_NS)
    (flow,) = engine.flows
    return flow.ruling


def _fill(table: FlowTable, count: int) -> None:
    ruling, place = _ruling(), table.zone(()).table(17)
    for number in range(count):
        key = number.to_bytes(12, "big")
        table.insert(
            place, Flow(key, 17, 0, 0, ruling, denied=False, state=0, revision=0, last_seen_ns=0)
        )


def test_a_flow_that_is_removed_keeps_neither_its_ruling_nor_its_key() -> None:
    table = FlowTable(16)
    _fill(table, 4)
    flow = next(iter(table))
    ruling, key = flow.ruling, flow.key
    held, named = sys.getrefcount(ruling), sys.getrefcount(key)
    table.remove(flow)
    assert (sys.getrefcount(ruling), sys.getrefcount(key)) == (held - 1, named - 2)
    assert len(table) == len(list(table)) == 3
    table.shift_clock(SECOND_NS)
    table.sweep(SECOND_NS)
    table.sweep(200 * SECOND_NS)
    assert (len(table), table.expired) == (0, 3)


def test_removed_flows_make_room_first() -> None:
    table = FlowTable(16)
    _fill(table, 16)
    flows = list(table)
    for flow in flows[:8]:
        table.remove(flow)
    for flow in flows[8:]:
        flow.state = FlowState.OPEN
    ruling, place = flows[-1].ruling, table.zone(()).table(17)
    for number in range(100, 108):
        key = number.to_bytes(12, "big")
        table.insert(
            place, Flow(key, 17, 0, 0, ruling, denied=False, state=0, revision=0, last_seen_ns=0)
        )
    assert (len(table), table.evicted) == (16, 0)


@pytest.mark.parametrize("count", [1_000, 20_000, 200_000])
def test_a_sweep_after_a_long_time_is_made_in_parts(count: int) -> None:
    table = FlowTable(1 << 20)
    _fill(table, count)
    table.sweep(1)  # from here on it is known when the last one was
    now, before = 1 + 100 * SECOND_NS, count
    table.sweep(now)
    assert before - len(table) == min(count, max(AT_ONCE, count // 15))
    for _ in range(300):
        before = len(table)
        now += SECOND_NS
        table.sweep(now)
        assert before - len(table) <= max(AT_ONCE, before // 15)
    assert (len(table), table.expired) == (0, count)
