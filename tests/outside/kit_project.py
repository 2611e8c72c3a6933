"""A small project of somebody else that uses the testing kit."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

COLLECTOR = '''"""Counts rejected flows; a collector as somebody would write it."""

from __future__ import annotations

from trireme_collector import FlowRecord

LIMIT = 3


class RejectCounter:
    """Counts rejected flows by the server's port."""

    def __init__(self) -> None:
        self.ports: dict[int, int] = {}

    def collect_flow_event(self, record: FlowRecord) -> None:
        if record.action.rejected:
            port = record.destination.port
            self.ports[port] = self.ports.get(port, 0) + record.count
'''

POLICY = """
version = 1
[[unit]]
id = "web"
select.address = "10.0.0.2"
[[unit.ingress]]
id = "http"
action = "accept"
from = "any"
protocol = "tcp"
ports = 80
"""

TESTS = '''"""Tests as somebody would write them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unittest.mock import ANY

import pytest
from hypothesis import given, settings

from reject_counter import LIMIT, RejectCounter
from trireme_collector import EventCollector, FlowRecord, PacketReport
from trireme_collector.testing import (
    FakeQueue,
    MemoryCollector,
    assert_allows,
    assert_denies,
    like,
    strategies,
)
from trireme_datapath.datapath import Datapath
from trireme_datapath.packets import Verdict

if TYPE_CHECKING:
    from pytest_mock import MockerFixture

    from trireme_collector.testing import FakeClock, MockCollector, PlayScript

POLICY = "policy.toml"
SSH = "tcp 192.0.2.1:1000 > 10.0.0.2:22 S"


def test_the_memory(memory_collector: MemoryCollector, fake_queue: FakeQueue) -> None:
    fake_queue.enforce(POLICY).feed(SSH)
    fake_queue.judge(memory_collector)
    assert memory_collector.flows == [like(FlowRecord, action="reject", destination={"port": 22})]
    assert fake_queue.verdicts == [Verdict.DROP]


def test_the_mock(mock_collector: MockCollector, fake_queue: FakeQueue) -> None:
    mock_collector.expect.collect_flow_event(action="reject", drop_reason="policy").times(2)
    fake_queue.enforce(POLICY).feed(SSH, "tcp 192.0.2.1:1001 > 10.0.0.2:22 S")
    fake_queue.judge(mock_collector)


def test_the_clock(fake_clock: FakeClock, fake_queue: FakeQueue) -> None:
    fake_clock.advance(5)
    fake_queue.enforce(POLICY).feed(SSH)
    (record,) = fake_queue.judge()
    assert record == like(FlowRecord, start_time_ns=fake_clock.time_ns())


def test_the_script(packet_script: PlayScript) -> None:
    packet_script(POLICY, "tcp 192.0.2.1:1 > 10.0.0.2:80 S -> accept | accept http")


def test_the_policy() -> None:
    assert_allows(POLICY, "192.0.2.1 -> web:80/tcp", by="http")
    assert_denies(POLICY, "192.0.2.1 -> web:22/tcp", reason="policy")


def test_with_pytest_mock(mocker: MockerFixture) -> None:
    collector = mocker.create_autospec(EventCollector, instance=True)
    queue = FakeQueue(SSH)
    with Datapath(POLICY, queue) as datapath:
        for record in datapath.judge():
            assert isinstance(record, FlowRecord)
            collector.collect_flow_event(record)
    collector.collect_flow_event.assert_called_once_with(like(FlowRecord, drop_reason="policy"))
    collector.collect_packet_event.assert_not_called()
    assert like(FlowRecord, source=ANY) == FlowRecord()


def test_a_spy_on_a_collector_of_ones_own(mocker: MockerFixture) -> None:
    counter = RejectCounter()
    spy = mocker.spy(counter, "collect_flow_event")
    counter.collect_flow_event(FlowRecord())
    spy.assert_called_once_with(like(FlowRecord, count=0))


@settings(max_examples=25)
@given(strategies.structs(FlowRecord))
def test_any_flow(record: FlowRecord) -> None:
    counter = RejectCounter()
    counter.collect_flow_event(record)
    assert len(counter.ports) == int(record.action.rejected)
    assert LIMIT == 3


@settings(max_examples=10)
@given(strategies.records(PacketReport), strategies.packets())
def test_any_packet(record: object, data: bytes) -> None:
    assert isinstance(record, PacketReport)
    assert data


@pytest.mark.parametrize("count", [1, 2])
def test_the_counter(count: int) -> None:
    counter = RejectCounter()
    queue = FakeQueue(*[SSH.replace("1000", str(n + 1)) for n in range(count)]).enforce(POLICY)
    for record in queue.judge():
        assert isinstance(record, FlowRecord)
        counter.collect_flow_event(record)
    assert counter.ports == {22: count}
'''

FAILING = """
import pytest

from trireme_collector import EndPoint, FlowRecord
from trireme_collector.testing import like, play


def test_not_called(mock_collector):
    mock_collector.expect.collect_flow_event(destination={"port": 443}).times(2)


def test_called_too_often(mock_collector):
    try:
        mock_collector.collect_flow_event(FlowRecord())
    except AssertionError:
        pass  # as a pipeline would


def test_fails_by_itself(mock_collector):
    mock_collector.expect.collect_flow_event()
    assert 1 == 2


def test_skips_itself(mock_collector):
    mock_collector.expect.collect_flow_event()
    pytest.skip("not here")


def test_a_comparison():
    flow = FlowRecord(destination=EndPoint(port=80), count=2)
    assert flow == like(FlowRecord, destination={"port": 443}, count=2)


def test_a_list(memory_collector):
    memory_collector.collect_flow_event(FlowRecord(count=1))
    assert memory_collector.flows == [like(FlowRecord, count=5)]


def test_a_script(packet_script):
    packet_script("policy.toml", "tcp 192.0.2.1:1 > 10.0.0.2:22 S -> accept | accept http")
"""


def write_project(where: Path) -> None:
    """Write its files."""
    (where / "reject_counter.py").write_text(COLLECTOR, "utf-8")
    (where / "policy.toml").write_text(POLICY, "utf-8")
    (where / "test_reject_counter.py").write_text(TESTS, "utf-8")
    (where / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider\n", "utf-8")
