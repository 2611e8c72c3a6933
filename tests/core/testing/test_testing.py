"""The fakes behave like what they stand for."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from trireme_collector import (
    COLLECT_METHODS,
    RECORD_TYPES,
    AggregationConfig,
    BatchCollector,
    DeliveryConfig,
    EventCollector,
    PacketReport,
    Pipeline,
    Record,
    RetryableDeliveryError,
    TraceReport,
)
from trireme_collector.testing import FailingCollector, FakeClock, MemoryCollector, SlowCollector

if TYPE_CHECKING:
    from collections.abc import Sequence


def test_a_memory_collector_can_stand_anywhere() -> None:
    assert isinstance(MemoryCollector(), EventCollector)
    assert isinstance(MemoryCollector(), BatchCollector)


@pytest.mark.parametrize("tag", RECORD_TYPES)
def test_it_sorts_what_it_remembers(tag: str) -> None:
    memory = MemoryCollector()
    record: Record = RECORD_TYPES[tag]()
    argument = record.lines if isinstance(record, TraceReport) else record
    getattr(memory, COLLECT_METHODS[tag])(argument)
    lists: dict[str, Sequence[Record]] = {
        "flow": memory.flows,
        "checkpoint": memory.checkpoints,
        "container": memory.containers,
        "user": memory.users,
        "trace": memory.traces,
        "packet": memory.packets,
        "counter": memory.counters,
        "dns": memory.dns_requests,
        "ping": memory.pings,
        "connection_exception": memory.connection_exceptions,
        "iptables_trace": memory.iptables_traces,
    }
    assert {name: list(found) for name, found in lists.items() if found} == {tag: [record]}
    memory.clear()
    assert memory.records == []


def test_a_failing_collector_follows_its_script() -> None:
    collector = FailingCollector([RetryableDeliveryError("x", delivered=1), None])
    batch = [PacketReport(packet_id=1), PacketReport(packet_id=2)]
    with pytest.raises(RetryableDeliveryError):
        collector.deliver(batch)
    assert collector.records == batch[:1]
    collector.deliver(batch[1:])
    assert collector.records == batch
    assert collector.attempts == [tuple(batch), tuple(batch[1:])]


def test_a_failing_collector_fails_one_record_at_a_time_too() -> None:
    collector = FailingCollector([OSError("gone")], always=lambda: OSError("still away"))
    with pytest.raises(OSError, match="gone"):
        collector.collect_packet_event(PacketReport(packet_id=1))
    with pytest.raises(OSError, match="still away"):
        collector.collect_trace_event(["x"])
    assert collector.records == []
    assert collector.attempts == [(PacketReport(packet_id=1),), (TraceReport(lines=("x",)),)]


def test_an_entry_of_none_takes_the_record() -> None:
    collector = FailingCollector([None, OSError("away")])
    collector.collect_packet_event(PacketReport())
    with pytest.raises(OSError, match="away"):
        collector.collect_packet_event(PacketReport())
    assert collector.packets == [PacketReport()]


def test_a_slow_collector_takes_its_time_without_waiting() -> None:
    clock = FakeClock()
    collector = SlowCollector(clock, 2.5)
    collector.deliver([PacketReport(), PacketReport()])
    collector.collect_packet_event(PacketReport())
    assert clock.monotonic() == 5.0
    assert (len(collector.packets), len(collector.batches)) == (3, 1)


def test_a_pipeline_that_meets_a_slow_collector_keeps_its_deadline() -> None:
    clock = FakeClock()
    collector = SlowCollector(clock, 4.0)
    pipeline = Pipeline(
        [collector],
        clock=clock,
        threads=False,
        delivery=DeliveryConfig(batch_records=1),
        aggregation=AggregationConfig(window_seconds=0),
    ).start()
    for number in range(5):
        pipeline.collect_packet_event(PacketReport(packet_id=number))
    report = pipeline.close(10.0)
    assert (len(collector.packets), report.undelivered) == (3, 2)
    assert clock.monotonic() == 12.0


def test_a_memory_can_be_waited_for() -> None:
    memory = MemoryCollector()
    thread = threading.Thread(target=memory.deliver, args=([PacketReport(), PacketReport()],))
    thread.start()
    memory.wait_for(2)
    thread.join()
    with pytest.raises(AssertionError, match="2 of 3 records came within 0 s"):
        memory.wait_for(3, timeout_seconds=0)


def test_a_fake_clock_goes_when_it_is_told_to() -> None:
    clock = FakeClock(100)
    assert (clock.time_ns(), clock.monotonic_ns()) == (100, 0)
    assert clock.advance(1.5) == 1_500_000_000
    assert clock.time_ns() == 1_500_000_100
    clock.sleep(0.5)
    assert clock.sleeps == [0.5]
    assert clock.monotonic() == 2.0
    clock.set(7_000_000_000)
    assert (clock.time(), clock.monotonic()) == (7.0, 2.0)
    with pytest.raises(ValueError, match="time does not run backwards by 1 s"):
        clock.advance(-1)


def test_it_needs_no_test_framework() -> None:
    code = (
        "import sys, trireme_collector.testing;"
        "print(sorted({'pytest', 'hypothesis', 'structlog'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"
