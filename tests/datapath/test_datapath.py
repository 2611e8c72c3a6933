"""A datapath judges in the thread of its caller, alone or in somebody's loop."""

from __future__ import annotations

import select
import threading
from typing import TYPE_CHECKING

import pytest

from trireme_collector import FlowRecord, Pipeline
from trireme_collector.errors import ConfigError, DatapathError
from trireme_collector.testing import MemoryCollector
from trireme_datapath.backends.fake import FakeBackend
from trireme_datapath.datapath import Datapath
from trireme_datapath.policy import compile_policy, parse_policy
from trireme_datapath.testing import craft

if TYPE_CHECKING:
    from pathlib import Path

    from trireme_datapath.engine import Engine

POLICY = """
version = 1
[[unit]]
id = "web"
select.address = "198.51.100.20"
[[unit.ingress]]
id = "http"
action = "accept"
from = "any"
protocol = "tcp"
ports = 80
"""
HTTP = craft("tcp 192.0.2.10:40000 > 198.51.100.20:80 S").data
SSH = craft("tcp 192.0.2.10:40001 > 198.51.100.20:22 S").data


class Bench:
    """A datapath with a queue that can be fed."""

    def __init__(self) -> None:
        self.queues: list[FakeBackend] = []
        self.now_ns = 1_000
        self.datapath = Datapath(parse_policy(POLICY), self.open_queue, clock=lambda: self.now_ns)

    def open_queue(self, engine: Engine) -> FakeBackend:
        self.queues.append(FakeBackend(engine))
        return self.queues[-1]

    @property
    def verdicts(self) -> list[str]:
        return [one.verdict.name for one in self.queues[-1].verdicts.values()]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def flows(records: list[object]) -> list[tuple[str, int]]:
    return [(one.policy_id, one.destination.port) for one in records if isinstance(one, FlowRecord)]


def test_it_judges_when_it_is_asked_to(bench: Bench) -> None:
    with bench.datapath as datapath:
        assert select.select([datapath], [], [], 0)[0] == []
        bench.queues[0].feed(HTTP, SSH)
        assert select.select([datapath], [], [], 0)[0] == [datapath]
        assert flows([*datapath.judge()]) == [("http", 80), ("default", 22)]
        assert select.select([datapath], [], [], 0)[0] == []
        assert datapath.judge() == []
    assert bench.verdicts == ["ACCEPT", "DROP"]


def test_it_runs_in_one_thread_until_it_is_stopped(bench: Bench) -> None:
    collector = MemoryCollector()

    class Stopping(MemoryCollector):
        def collect_flow_event(self, record: FlowRecord) -> None:
            collector.records.append(record)
            assert threading.current_thread() is threading.main_thread()
            bench.datapath.stop()

    with bench.datapath as datapath:
        bench.queues[0].feed(HTTP)
        datapath.run(Stopping())
        assert flows([*collector.records]) == [("http", 80)]


def test_a_stop_before_the_run_counts_and_what_waits_is_judged(bench: Bench) -> None:
    collector = MemoryCollector()
    with bench.datapath as datapath, Pipeline([collector]) as pipeline:
        bench.queues[0].feed(HTTP, SSH)
        datapath.stop()
        datapath.run(pipeline)
    assert flows([*collector.records]) == [("http", 80), ("default", 22)]


def test_a_collector_that_fails_stops_nothing(bench: Bench) -> None:
    class Failing(MemoryCollector):
        def collect_flow_event(self, record: FlowRecord) -> None:
            raise RuntimeError(record.policy_id)

    with bench.datapath as datapath:
        bench.queues[0].feed(HTTP, SSH)
        datapath.stop()
        datapath.run(Failing())
    assert bench.verdicts == ["ACCEPT", "DROP"]


def test_a_policy_is_replaced_between_two_batches(bench: Bench) -> None:
    other = compile_policy(parse_policy(POLICY.replace("80", "22")))
    with bench.datapath as datapath:
        future = datapath.replace_policy(other)
        assert not future.done()
        bench.queues[0].feed(HTTP, SSH)
        datapath.judge()
        assert future.result(0) == other.revision
    assert bench.verdicts == ["DROP", "ACCEPT"]


def test_a_policy_is_replaced_while_it_runs(bench: Bench) -> None:
    with bench.datapath as datapath:
        thread = threading.Thread(target=datapath.run, args=(MemoryCollector(),))
        thread.start()
        revision = datapath.replace_policy(parse_policy(POLICY.replace("80", "22"))).result(10)
        datapath.stop()
        thread.join(10)
    assert not thread.is_alive()
    assert datapath.engine.policy.revision == revision


def test_a_broken_policy_changes_nothing(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text("version = 2")
    before = bench.datapath.engine.policy
    with bench.datapath as datapath:
        with pytest.raises(ConfigError, match=r"policy\.toml:1:11"):
            datapath.replace_policy(file)
        datapath.judge()
    assert datapath.engine.policy is before


def test_what_is_not_open_says_so(bench: Bench) -> None:
    with pytest.raises(DatapathError, match="call open"):
        bench.datapath.judge()
    with bench.datapath:
        assert bench.datapath.open() is bench.datapath
    assert len(bench.queues) == 1
    bench.datapath.close()
    with bench.datapath:
        assert len(bench.queues) == 2
