"""A clock that is set neither cuts connections nor keeps anything from being said."""

from __future__ import annotations

import pytest

from tests.datapath.test_datapath import HTTP, POLICY
from trireme_collector.records import CounterReport, FlowRecord, Record
from trireme_collector.testing import MemoryCollector
from trireme_datapath.backends.fake import FakeBackend
from trireme_datapath.engine import Engine
from trireme_datapath.loop import ClockWatch, DatapathLoop
from trireme_datapath.packets import QueuedPacket, Verdict
from trireme_datapath.policy import compile_policy, parse_policy
from trireme_datapath.testing import craft
from trireme_datapath.tracing import TraceDirection, TraceRequest

SECOND = 1_000_000_000
HOUR, YEAR = 3_600 * SECOND, 365 * 86_400 * SECOND
NOW = 1_700_000_000 * SECOND
DATA = craft("tcp 192.0.2.10:40000 > 198.51.100.20:80 PA").data


class Bench:
    """An engine in a loop whose clocks the test turns."""

    def __init__(self) -> None:
        self.engine = Engine(compile_policy(parse_policy(POLICY)))
        self.queue = FakeBackend(self.engine)
        self.wall_ns, self.steady_ns = NOW, SECOND
        self.collector = MemoryCollector()
        self.loop = DatapathLoop(
            self.queue,
            self.engine,
            self.collector,
            lambda: self.wall_ns,
            clock_set=self.engine.shift_clock,
            steady=lambda: self.steady_ns,
        )

    def turn(self, *packets: bytes, seconds: int = 1) -> None:
        """Let time pass, and packets come."""
        self.wall_ns += seconds * SECOND
        self.steady_ns += seconds * SECOND
        self.queue.feed(*packets)
        if not packets:
            self.loop.wake()
        self.loop.run(until=lambda: True)

    @property
    def last(self) -> Verdict:
        return list(self.queue.verdicts.values())[-1].verdict

    def records(self, kind: type[Record]) -> int:
        return sum(isinstance(one, kind) for one in self.collector.records)


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize("jump", [HOUR, YEAR, -HOUR, -YEAR])
def test_open_connections_stay_open(bench: Bench, jump: int) -> None:
    bench.turn(HTTP)
    bench.turn(DATA)
    bench.wall_ns += jump
    for _ in range(40):
        bench.turn()
    bench.turn(DATA)
    assert bench.last is Verdict.ACCEPT
    assert bench.records(FlowRecord) == 1


def test_idle_connections_are_forgotten_in_spite_of_it(bench: Bench) -> None:
    bench.turn(HTTP)
    bench.wall_ns -= YEAR
    bench.turn()
    assert len(bench.engine.flows) == 1
    for _ in range(200):
        bench.turn(seconds=3_600)
    assert len(bench.engine.flows) == 0


def test_without_being_told_an_engine_would_forget(bench: Bench) -> None:
    """The other tests could not fail otherwise."""
    bench.engine.receive(QueuedPacket(data=HTTP), NOW)
    for hours in (24, 48):
        bench.engine.take_records(NOW + hours * HOUR)
    assert len(bench.engine.flows) == 0


@pytest.mark.parametrize("jump", [YEAR, -YEAR])
def test_counters_are_reported_as_ever(bench: Bench, jump: int) -> None:
    bench.engine.report_counters(interval_seconds=30)
    bench.turn(HTTP)
    bench.wall_ns += jump
    for _ in range(70):
        bench.turn()
    assert bench.records(CounterReport) >= 2


def test_a_trace_lasts_as_long_as_was_asked_for(bench: Bench) -> None:
    bench.turn()
    request = TraceRequest(
        direction=TraceDirection.BOTH, until_ns=bench.wall_ns + 60 * SECOND, payload_bytes=0
    )
    bench.engine.trace("web", request)
    bench.wall_ns -= YEAR
    bench.turn(seconds=30)
    before = len(bench.collector.records)
    bench.turn(HTTP)
    assert len(bench.collector.records) == before + 2  # the flow, and the packet
    bench.turn(seconds=31)
    before = len(bench.collector.records)
    bench.turn(DATA)
    assert len(bench.collector.records) == before


def test_small_corrections_are_no_jumps() -> None:
    steady = [0]
    watch = ClockWatch(lambda: steady[0])
    assert watch.turn(NOW) == 0
    steady[0] += 5 * SECOND
    assert watch.turn(NOW + 5 * SECOND + SECOND // 2) == 0
    assert watch.turn(NOW + 5 * SECOND + SECOND // 2 + HOUR) == HOUR
    assert watch.turn(NOW + 5 * SECOND) == -HOUR - SECOND // 2
