"""A disk that fails is told of, and forgotten once it serves again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trireme_collector.delivery import CollectorStatus, SpoolHealth
from trireme_collector.metrics import HealthCheck, SpoolWatch
from trireme_collector.pipeline import PipelineStatus

if TYPE_CHECKING:
    from collections.abc import Mapping


class FakePipeline:
    def __init__(self) -> None:
        self.spool: SpoolHealth | None = SpoolHealth()
        self.dropped: Mapping[str, int] = {}

    def status(self) -> PipelineStatus:
        account = CollectorStatus(
            name="file",
            accepted=0,
            given=0,
            delivered=0,
            dead_lettered=0,
            dropped=0,
            dropped_by_reason=dict(self.dropped),
            queued=0,
            queued_bytes=0,
            failed_attempts=0,
            retrying=False,
            credentials_refused=False,
            last_error="",
            spool=self.spool,
        )
        return PipelineStatus(
            instance="here",
            epoch=1,
            sequence=0,
            flows_received=0,
            flows_merged=0,
            flows_pending=0,
            flows_evicted=0,
            malformed=0,
            collectors=(account,),
        )


class Clock:
    now_ns = 1_000_000_000_000

    def __call__(self) -> int:
        return self.now_ns


def check(watch: SpoolWatch) -> HealthCheck:
    (found,) = watch.health()
    return found


def test_a_failure_is_told_for_a_minute() -> None:
    pipeline, clock = FakePipeline(), Clock()
    watch = SpoolWatch(pipeline, clock)
    well = HealthCheck("spool", ok=True, detail="the disk serves all spools", essential=False)
    assert check(watch) == well
    pipeline.spool = SpoolHealth(write_failures=1, last_error="No space left on device")
    found = check(watch)
    assert not found.ok
    assert found.detail == "the disk failed for file (No space left on device)"
    clock.now_ns += 59_000_000_000
    assert not check(watch).ok
    clock.now_ns += 1_000_000_000
    assert check(watch) == well


def test_records_that_were_lost_count_and_others_do_not() -> None:
    pipeline, clock = FakePipeline(), Clock()
    watch = SpoolWatch(pipeline, clock)
    pipeline.dropped = {"filtered": 7}
    assert check(watch).ok
    pipeline.dropped = {"filtered": 7, "no_space": 1}
    assert not check(watch).ok


def test_it_looks_by_itself_now_and_then() -> None:
    """So a failure long before somebody asks is none of now."""
    pipeline, clock = FakePipeline(), Clock()
    watch = SpoolWatch(pipeline, clock)
    watch.turn()
    pipeline.spool = SpoolHealth(sync_failures=3)
    watch.turn()
    clock.now_ns += 5_000_000_000
    watch.turn()
    clock.now_ns += 60_000_000_000
    assert check(watch).ok


def test_where_records_wait_in_memory_there_is_no_disk() -> None:
    pipeline = FakePipeline()
    pipeline.spool = None
    assert list(SpoolWatch(pipeline).health()) == []
