"""The fakes behave like what they stand for."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from trireme_collector import (
    COLLECT_METHODS,
    RECORD_TYPES,
    BatchCollector,
    EventCollector,
    PacketReport,
    Record,
    RetryableDeliveryError,
    TraceReport,
)
from trireme_collector.testing import FailingCollector, FakeClock, MemoryCollector

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


def test_a_fake_clock_goes_when_it_is_told_to() -> None:
    clock = FakeClock(100)
    assert (clock.time_ns(), clock.monotonic_ns()) == (100, 0)
    assert clock.advance(1.5) == 1_500_000_000
    assert clock.time_ns() == 1_500_000_100


def test_it_needs_no_test_framework() -> None:
    code = (
        "import sys, trireme_collector.testing;"
        "print(sorted({'pytest', 'hypothesis', 'structlog'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"
