"""The loop: drains, hands over, goes on when a collector fails, and stops when told."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, cast

import pytest
from structlog.testing import capture_logs

from trireme_collector.records import FlowRecord, PacketReport, Record, TraceReport
from trireme_collector.testing import FailingCollector, MemoryCollector
from trireme_datapath.loop import DatapathLoop, dispatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trireme_collector.collector import EventCollector


class PipeBackend:
    """A descriptor that is readable while something is to be drained."""

    def __init__(self) -> None:
        self.read, self.write = os.pipe()
        self.drained: list[int] = []

    def put(self) -> None:
        os.write(self.write, b"x")

    def fileno(self) -> int:
        return self.read

    def drain(self, now_ns: int) -> list[Record]:
        os.read(self.read, 1)
        self.drained.append(now_ns)
        return [FlowRecord(policy_id=f"single-{len(self.drained)}")]

    def close(self) -> None:
        os.close(self.read)
        os.close(self.write)


class Source:
    """Gives one record each time."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def take_records(self, now_ns: int) -> list[Record]:
        self.asked.append(now_ns)
        return [FlowRecord(policy_id=f"batch-{len(self.asked)}")]


@pytest.fixture
def backend() -> Iterator[PipeBackend]:
    made = PipeBackend()
    yield made
    made.close()


def test_records_of_both_doors_are_handed_over_in_order(backend: PipeBackend) -> None:
    collector, source = MemoryCollector(), Source()
    loop = DatapathLoop(backend, source, collector, clock=lambda: 5)
    backend.put()
    backend.put()
    loop.run(until=lambda: len(backend.drained) == 2)
    loop.close()
    assert [one.policy_id for one in collector.flows] == [
        "single-1", "batch-1", "single-2", "batch-2", "batch-3",
    ]  # fmt: skip
    assert backend.drained == [5, 5]
    assert loop.counters == {"drains": 2, "records": 5, "collector_errors": 0}


def test_a_collector_that_fails_is_counted_and_logged_once_per_interval(
    backend: PipeBackend,
) -> None:
    class Broken:
        def collect_flow_event(self, record: FlowRecord) -> None:
            raise ZeroDivisionError(record.policy_id)

    times = iter(range(0, 10**12, 20 * 10**9))
    loop = DatapathLoop(
        backend, Source(), cast("EventCollector", Broken()), clock=lambda: next(times)
    )
    for _ in range(5):
        backend.put()
    with capture_logs() as logs:
        loop.run(until=lambda: len(backend.drained) == 5)
    loop.close()
    assert loop.counters["collector_errors"] == 11
    assert [(one["event"], one["failures"]) for one in logs] == [
        ("collector_failed", 1),
        ("collector_failed", 6),
    ]


def test_it_stops_from_another_thread_and_as_often_as_one_likes(backend: PipeBackend) -> None:
    loop = DatapathLoop(backend, Source(), MemoryCollector())
    thread = threading.Thread(target=loop.run)
    thread.start()
    for _ in range(3):
        loop.stop()
    thread.join(5)
    assert not thread.is_alive()
    loop.close()
    loop.stop()
    loop.close()


def test_stopping_before_the_start_is_stopping(backend: PipeBackend) -> None:
    loop = DatapathLoop(backend, Source(), MemoryCollector())
    loop.stop()
    loop.run()
    loop.close()
    assert backend.drained == []


def test_records_go_to_the_method_of_their_type() -> None:
    collector = MemoryCollector()
    for record in (FlowRecord(), PacketReport(), TraceReport(lines=("a", "b"))):
        dispatch(collector, record)
    assert (len(collector.flows), len(collector.packets), len(collector.traces)) == (1, 1, 1)
    assert collector.traces[0].lines == ("a", "b")


def test_a_record_without_a_method_is_left_out() -> None:
    class OnlyFlows:
        def collect_flow_event(self, _record: FlowRecord) -> None:
            raise AssertionError

    dispatch(cast("EventCollector", OnlyFlows()), PacketReport())


def test_the_failing_collector_of_the_tests_does_not_stop_it(backend: PipeBackend) -> None:
    loop = DatapathLoop(backend, Source(), FailingCollector(), clock=lambda: 1)
    backend.put()
    loop.run(until=lambda: True)
    loop.close()
    assert loop.counters["records"] == 3


def test_waking_makes_it_turn_once_more_and_then_sleep_again(backend: PipeBackend) -> None:
    source = Source()
    loop = DatapathLoop(backend, source, MemoryCollector(), clock=lambda: 5)
    turns: list[int] = []
    asked = threading.Event()

    def until() -> bool:
        turns.append(len(turns))
        if len(turns) == 1:
            for _ in range(3):
                loop.wake()
        if len(turns) == 2:
            threading.Timer(0.05, backend.put).start()
        if backend.drained:
            asked.set()
        return bool(backend.drained)

    loop.wake()
    loop.run(until=until)
    loop.close()
    # One turn for each time it was woken, one for the packet; it did not spin in between.
    assert asked.is_set()
    assert len(turns) == 3
    loop.wake()  # and it harms nobody after the end
