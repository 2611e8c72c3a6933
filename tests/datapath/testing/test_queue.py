"""The queue of the kit stands wherever a kernel queue does."""

from __future__ import annotations

import select

import pytest

from tests.datapath.testing.policies import SHOP
from trireme_collector.records import FlowRecord
from trireme_collector.testing import FakeClock, MemoryCollector, like
from trireme_datapath.datapath import Datapath
from trireme_datapath.engine import Engine
from trireme_datapath.packets import QueuedPacket, Verdict
from trireme_datapath.policy import compile_policy, parse_policy
from trireme_datapath.testing import Door, FakeQueue, craft

HTTP = "tcp 192.0.2.1:1000 > 10.0.0.2:80 S"
SSH = "tcp 192.0.2.1:1001 > 10.0.0.2:22 S"


def engine(*, refuse_mark: int | None = None, accept_mark: int | None = None) -> Engine:
    policy = compile_policy(parse_policy(SHOP))
    return Engine(policy, refuse_mark=refuse_mark, accept_mark=accept_mark)


@pytest.mark.parametrize("door", Door)
def test_packets_in_verdicts_and_records_out(door: Door) -> None:
    queue = FakeQueue(HTTP, craft(SSH), b"\x45", door=door).enforce(SHOP)
    assert len(queue) == 3
    assert queue.verdicts == []
    collector = MemoryCollector()
    records = queue.judge(collector)
    assert queue.verdicts == [Verdict.ACCEPT, Verdict.DROP, Verdict.DROP]
    assert collector.records == records
    assert sorted(flow.policy_id for flow in collector.flows) == ["default", "http"]
    assert len(queue) == 0
    assert queue


def test_it_opens_itself_for_a_datapath() -> None:
    queue = FakeQueue(HTTP)
    clock = FakeClock()
    with Datapath(SHOP_POLICY, queue, clock=clock.time_ns) as datapath:
        assert datapath.queue is queue
        assert select.select([datapath], [], [], 0)[0] == [datapath]
        assert datapath.judge() == [like(FlowRecord, policy_id="http")]
        assert select.select([datapath], [], [], 0)[0] == []
        queue.feed(SSH)
        assert select.select([datapath], [], [], 0)[0] == [datapath]
        assert datapath.judge() == [like(FlowRecord, policy_id="default")]
    assert queue.is_closed
    assert queue.verdicts == [Verdict.ACCEPT, Verdict.DROP]


SHOP_POLICY = parse_policy(SHOP)


def test_a_datapath_runs_until_it_is_stopped() -> None:
    queue = FakeQueue(HTTP, SSH)

    class Stopping(MemoryCollector):
        def collect_flow_event(self, record: FlowRecord) -> None:
            super().collect_flow_event(record)
            if len(self.flows) == 2:
                datapath.stop()

    collector = Stopping()
    with Datapath(SHOP_POLICY, queue) as datapath:
        datapath.run(collector)
    assert len(collector.flows) == 2


def test_time_is_the_clocks() -> None:
    clock = FakeClock(7_000_000_000)
    queue = FakeQueue(HTTP, clock=clock).enforce(SHOP)
    (record,) = queue.judge()
    assert isinstance(record, FlowRecord)
    assert record.start_time_ns == 7_000_000_000


def test_marks_are_kept_with_the_verdicts() -> None:
    queue = FakeQueue(HTTP, SSH)(engine(refuse_mark=0x400))
    queue.judge()
    assert queue.verdicts == [Verdict.ACCEPT, Verdict.REPEAT]
    assert queue.marks == [None, 0x400]
    assert queue.verdict(2) == queue.decisions[1]
    with pytest.raises(KeyError):
        queue.verdict(3)


def test_a_policy_can_be_replaced() -> None:
    queue = FakeQueue(HTTP).enforce(SHOP)
    queue.judge()
    queue.enforce(SHOP.replace("[80, 443]", "[443]"))
    queue.feed("tcp 192.0.2.1:1000 > 10.0.0.2:80 A")
    assert queue.judge() == [like(FlowRecord, action="reject")]
    assert queue.verdicts == [Verdict.ACCEPT, Verdict.DROP]


def test_ids_are_given_out_once() -> None:
    queue = FakeQueue(craft(HTTP, packet_id=2), HTTP, SSH).enforce(SHOP)
    queue.judge()
    assert [queue.verdict(number).verdict for number in (1, 2, 3)] == [
        Verdict.ACCEPT,
        Verdict.ACCEPT,
        Verdict.DROP,
    ]
    with pytest.raises(ValueError, match="packet id 2 was used before"):
        queue.feed(QueuedPacket(data=b"", packet_id=2))


def test_without_an_engine_it_says_what_to_do() -> None:
    queue = FakeQueue(HTTP)
    with pytest.raises(ValueError, match=r"give it to a Datapath, or call enforce\(policy\)"):
        queue.judge()
    queue(engine())
    with pytest.raises(ValueError, match="has an engine already"):
        queue(engine())


def test_closing_drops_what_waits() -> None:
    queue = FakeQueue(HTTP)
    queue.close()
    assert len(queue) == 0
    queue = FakeQueue(HTTP).enforce(SHOP)
    queue.close()
    assert (len(queue), queue.verdicts) == (0, [])
