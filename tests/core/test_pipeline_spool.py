"""A pipeline whose records wait on disk: nothing that it accepted is lost, whatever ends it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from trireme_collector import (
    ConfigError,
    DeliveryConfig,
    PacketReport,
    PermanentDeliveryError,
    Pipeline,
    RetryableDeliveryError,
)
from trireme_collector.delivery import SpoolConfig
from trireme_collector.delivery._spool_queue import SpoolQueue
from trireme_collector.filters import FilterConfig, RecordFilter
from trireme_collector.testing import FailingCollector, FakeClock, MemoryCollector

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from trireme_collector.delivery import CollectorStatus
    from trireme_collector.records import Record

AWAY = RetryableDeliveryError("the receiver is away")


class Away:
    """A collector whose receiver never comes."""

    def deliver(self, batch: Sequence[Record]) -> None:
        assert batch
        raise AWAY


def make(
    path: Path,
    collectors: dict[str, object],
    *,
    threads: bool = False,
    checkpoints: float = 0,
    filters: dict[str, RecordFilter] | None = None,
) -> Pipeline:
    delivery = DeliveryConfig(
        state_directory=str(path),
        batch_age_seconds=0,
        spool=SpoolConfig(max_bytes=1 << 20, segment_bytes=1 << 16),
    )
    return Pipeline(
        collectors,
        delivery=delivery,
        filters=filters,
        clock=None if threads else FakeClock(),
        threads=threads,
        checkpoint_seconds=checkpoints,
    )


def report(pipeline: Pipeline, *which: int) -> None:
    for number in which:
        pipeline.collect_packet_event(PacketReport(packet_id=number))


def numbers(records: Sequence[Record]) -> list[int]:
    return [record.packet_id for record in records if isinstance(record, PacketReport)]


def account(pipeline: Pipeline, name: str = "x") -> CollectorStatus:
    (found,) = (one for one in pipeline.status().collectors if one.name == name)
    gone = found.delivered + found.dead_lettered + found.dropped
    assert found.accepted == gone + found.queued
    return found


def test_what_a_dead_receiver_did_not_get_comes_after_the_next_start(tmp_path: Path) -> None:
    first = make(tmp_path, {"x": Away()}).start()
    report(first, 1, 2, 3)
    first.tick()
    assert account(first).queued == 3
    left = first.close()
    assert (left.complete, left.undelivered, left.spooled) == (False, 3, 3)
    memory = MemoryCollector()
    second = make(tmp_path, {"x": memory}).start()
    report(second, 4)
    second.tick()
    assert numbers(memory.records) == [1, 2, 3, 4]
    assert [record.epoch for record in memory.records] == [first.epoch] * 3 + [second.epoch]
    assert [record.sequence for record in memory.records] == [1, 2, 3, 1]
    found = account(second)
    assert (found.accepted, found.delivered) == (4, 4)
    assert second.close().complete


def test_records_wait_before_the_start(tmp_path: Path) -> None:
    memory = MemoryCollector()
    pipeline = make(tmp_path, {"x": memory})
    report(pipeline, 1)
    assert not pipeline.flush()
    pipeline.start()
    assert pipeline.flush()
    assert numbers(memory.records) == [1]
    pipeline.close()


def test_each_collector_has_its_own_spool_with_what_its_filter_lets_through(
    tmp_path: Path,
) -> None:
    chosen = RecordFilter(FilterConfig(deny=["packet_id == 2"]))
    pipeline = make(tmp_path, {"x": Away(), "y": MemoryCollector()}, filters={"x": chosen}).start()
    report(pipeline, 1, 2, 3)
    pipeline.tick()
    x, y = account(pipeline, "x"), account(pipeline, "y")
    assert (x.accepted, x.dropped, x.queued) == (3, 1, 2)
    assert (y.accepted, y.delivered, y.queued) == (3, 3, 0)
    pipeline.close()
    memory = MemoryCollector()
    with make(tmp_path, {"x": memory, "y": memory}) as pipeline:
        pipeline.tick()
        assert account(pipeline, "x").accepted == 3
    assert numbers(memory.records) == [1, 3]


def test_refused_records_become_dead_letters_and_the_account_remembers(tmp_path: Path) -> None:
    bad = FailingCollector([PermanentDeliveryError("no", rejected=1)])
    with make(tmp_path, {"x": bad}) as pipeline:
        report(pipeline, 1, 2)
        pipeline.tick()
        assert (account(pipeline).delivered, account(pipeline).dead_lettered) == (1, 1)
    with make(tmp_path, {"x": MemoryCollector()}) as pipeline:
        assert (account(pipeline).delivered, account(pipeline).dead_lettered) == (1, 1)


def test_checkpoints_tell_an_epoch_from_those_before(tmp_path: Path) -> None:
    with make(tmp_path, {"x": Away()}) as pipeline:
        report(pipeline, -1, -2)
    memory = MemoryCollector()
    chosen = RecordFilter(FilterConfig(deny=["packet_id == 3"]))
    pipeline = make(tmp_path, {"x": memory}, checkpoints=60, filters={"x": chosen}).start()
    report(pipeline, *range(10))
    pipeline.close()
    first, last = memory.checkpoints
    assert [record.sequence for record in memory.checkpoints] == [1, 12]
    (before,), (count,) = first.collectors, last.collectors
    assert (before.accepted, before.accepted_in_epoch, before.queued) == (2, 0, 2)
    # Two of the last epoch, the checkpoint at the start and ten of this one, which all wait.
    assert (count.accepted, count.accepted_in_epoch, count.queued) == (13, 11, 13)
    received = {
        record.sequence
        for record in memory.records
        if record.epoch == pipeline.epoch and (record.sequence or 0) < (last.sequence or 0)
    }
    assert count.accepted_in_epoch - len(received) == 1
    assert account(pipeline).dropped - before.dropped == 1


def test_a_second_instance_is_kept_out(tmp_path: Path) -> None:
    with make(tmp_path, {"x": MemoryCollector()}):
        memory = MemoryCollector()
        with pytest.raises(ConfigError, match="another instance"):
            make(tmp_path, {"x": memory}).start()
        assert "open" not in memory.calls
    make(tmp_path, {"x": MemoryCollector()}).start().close()


def test_a_start_that_fails_lets_go_of_the_directories(tmp_path: Path) -> None:
    class Unopenable(MemoryCollector):
        def open(self) -> None:
            raise ConfigError("no such thing")

    with pytest.raises(ConfigError, match="no such thing"):
        make(tmp_path, {"x": MemoryCollector(), "y": Unopenable()}).start()
    make(tmp_path, {"x": MemoryCollector(), "y": MemoryCollector()}).start().close()


def test_a_spool_without_a_collector_is_told(tmp_path: Path) -> None:
    with make(tmp_path, {"old": Away()}) as pipeline:
        report(pipeline, 1)
    with capture_logs() as logs:
        make(tmp_path, {"new": MemoryCollector()}).start().close()
    (entry,) = logs
    assert (entry["event"], entry["collector"]) == ("spool_abandoned", "old")
    assert "remove" in entry["error"]


def test_threads_write_and_deliver(tmp_path: Path) -> None:
    memory = MemoryCollector()
    pipeline = make(tmp_path, {"x": memory, "away": Away()}, threads=True).start()
    reporters = [
        threading.Thread(target=report, args=(pipeline, *range(start, start + 500)))
        for start in (0, 500)
    ]
    for reporter in reporters:
        reporter.start()
    for reporter in reporters:
        reporter.join()
    assert not pipeline.flush(0.5)  # one receiver is away
    left = pipeline.close()
    assert sorted(numbers(memory.records)) == list(range(1000))
    assert [record.sequence for record in memory.records] == list(range(1, 1001))
    assert (left.undelivered, left.spooled, left.stuck) == (1000, 1000, ())
    assert account(pipeline).delivered == 1000


def test_a_collector_that_does_not_come_back_keeps_nothing_else_up(tmp_path: Path) -> None:
    go_on = threading.Event()

    class Stuck:
        def deliver(self, batch: Sequence[Record]) -> None:
            assert batch
            assert go_on.wait(60)

    memory = MemoryCollector()
    pipeline = make(tmp_path, {"x": Stuck(), "y": memory}, threads=True).start()
    report(pipeline, 1, 2)
    left = pipeline.close(deadline_seconds=0.2)
    assert (left.stuck, left.spooled) == (("x",), 2)
    assert numbers(memory.records) == [1, 2]
    again = MemoryCollector()
    with make(tmp_path, {"x": again, "y": memory}, threads=True) as pipeline:
        assert pipeline.flush(30)
    go_on.set()
    assert numbers(again.records) == [1, 2]


def test_a_writer_that_fails_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = SpoolQueue.write
    failures = iter([MemoryError("once")])

    def fail_once(queue: SpoolQueue, now_ns: int) -> int:
        for failure in failures:
            raise failure
        return write(queue, now_ns)

    monkeypatch.setattr(SpoolQueue, "write", fail_once)
    memory = MemoryCollector()
    with capture_logs() as logs:
        pipeline = make(tmp_path, {"x": memory}, threads=True).start()
        report(pipeline, 1, 2)
        assert pipeline.flush(30)
        pipeline.close()
    assert numbers(memory.records) == [1, 2]
    assert [entry["event"] for entry in logs] == ["spool_writer_failed"]
