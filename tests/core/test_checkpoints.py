"""Counts become records, and a receiver can prove with them that nothing is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from trireme_collector import (
    AggregationConfig,
    Checkpoint,
    CollectorCount,
    DeliveryConfig,
    PacketReport,
    PermanentDeliveryError,
    Pipeline,
    RetryableDeliveryError,
    decode_json,
    decode_msgpack,
    encode_json,
    encode_msgpack,
)
from trireme_collector.formats import Rfc5424Options, render_rfc5424
from trireme_collector.testing import FailingCollector, FakeClock, MemoryCollector

if TYPE_CHECKING:
    from collections.abc import Sequence

CHECKPOINT = Checkpoint(
    timestamp_ns=1_767_323_045_000_006_000,
    final=True,
    collectors=(
        CollectorCount(
            name="a",
            accepted=11,
            delivered=5,
            dead_lettered=3,
            dropped=2,
            queued=1,
            accepted_in_epoch=11,
        ),
    ),
)


def make(*collectors: object, seconds: float = 60) -> tuple[Pipeline, FakeClock]:
    clock = FakeClock()
    pipeline = Pipeline(
        collectors,
        clock=clock,
        threads=False,
        checkpoint_seconds=seconds,
        delivery=DeliveryConfig(batch_age_seconds=0),
    )
    return pipeline.start(), clock


def test_it_comes_every_minute_and_at_the_end() -> None:
    memory = MemoryCollector()
    pipeline, clock = make(memory)
    for _ in range(130):
        pipeline.tick(clock.advance(1))
    assert [record.final for record in memory.checkpoints] == [False, False]
    pipeline.close()
    assert [record.final for record in memory.checkpoints] == [False, False, True]
    first, second, _ = memory.checkpoints
    assert second.timestamp_ns - first.timestamp_ns == 60_000_000_000


def test_it_counts_everything_before_it() -> None:
    bad = FailingCollector([PermanentDeliveryError("no", rejected=1)])
    memory = MemoryCollector()
    pipeline, clock = make(memory, bad)
    for number in range(3):
        pipeline.collect_packet_event(PacketReport(packet_id=number))
    with capture_logs():
        pipeline.tick(clock.advance(1))
    pipeline.collect_packet_event(PacketReport(packet_id=3))
    pipeline.tick(clock.advance(59))
    (checkpoint,) = memory.checkpoints
    assert checkpoint.sequence == 5
    assert checkpoint.collectors == (
        CollectorCount(name="memory", accepted=4, delivered=3, queued=1, accepted_in_epoch=4),
        CollectorCount(
            name="failing", accepted=4, delivered=2, dropped=1, queued=1, accepted_in_epoch=4
        ),
    )
    assert bad.checkpoints == [checkpoint]


def test_without_an_interval_there_is_none() -> None:
    memory = MemoryCollector()
    pipeline, clock = make(memory, seconds=0)
    pipeline.tick(clock.advance(1000))
    pipeline.close()
    assert memory.records == []


def test_what_was_never_started_tells_nothing() -> None:
    memory = MemoryCollector()
    Pipeline([memory], threads=False, checkpoint_seconds=60).close()
    assert memory.records == []


class OnlyCheckpoints:
    def __init__(self) -> None:
        self.seen: list[Checkpoint] = []

    def collect_checkpoint(self, record: Checkpoint) -> None:
        self.seen.append(record)


def test_with_threads_it_comes_by_itself_even_without_a_window() -> None:
    simple = OnlyCheckpoints()
    aggregation = AggregationConfig(window_seconds=0)
    pipeline = Pipeline([simple], aggregation=aggregation, checkpoint_seconds=0.001)
    with pipeline:
        while not pipeline.status().collectors[0].delivered:
            assert pipeline.flush(30)
    assert simple.seen[-1].final
    assert not simple.seen[0].final


OUTCOMES = st.sampled_from(
    [
        None,
        PermanentDeliveryError("all"),
        PermanentDeliveryError("two", rejected=2),
        RetryableDeliveryError("later"),
        RetryableDeliveryError("later", delivered=1),
        KeyError("bug"),
    ]
)


@given(st.lists(st.tuples(st.integers(0, 5), OUTCOMES), max_size=20))
def test_a_receiver_can_prove_that_nothing_is_missing(
    script: Sequence[tuple[int, Exception | None]],
) -> None:
    receiver = FailingCollector()
    pipeline, clock = make(receiver)
    with capture_logs():
        for count, error in script:
            receiver._errors = [error]
            for _ in range(count):
                pipeline.collect_packet_event(PacketReport())
            pipeline.tick(clock.advance(30))
        receiver._errors = []
        pipeline.tick(clock.advance(3600))
        pipeline.close()
    last = receiver.checkpoints[-1].collectors[0]
    assert last.accepted == last.delivered + last.dead_lettered + last.dropped + last.queued
    for checkpoint in receiver.checkpoints:
        (count_,) = checkpoint.collectors
        before = checkpoint.sequence or 0
        received = {
            record.sequence for record in receiver.records if (record.sequence or 0) < before
        }
        assert count_.accepted == count_.accepted_in_epoch == before - 1
        missing = count_.accepted_in_epoch - len(received)
        assert 0 <= missing <= last.dead_lettered + last.dropped
    if not last.dropped:
        assert receiver.records[-1] == receiver.checkpoints[-1]


def test_it_travels_like_any_record() -> None:
    assert decode_json(encode_json(CHECKPOINT)) == CHECKPOINT
    assert decode_msgpack(encode_msgpack(CHECKPOINT)) == CHECKPOINT
    assert encode_json(CHECKPOINT) == (
        b'{"type":"checkpoint","timestamp_ns":1767323045000006000,"final":true,"collectors":'
        b'[{"name":"a","accepted":11,"delivered":5,"dead_lettered":3,"dropped":2,"queued":1,'
        b'"accepted_in_epoch":11}]}'
    )


def test_it_is_a_syslog_message() -> None:
    assert render_rfc5424(CHECKPOINT, Rfc5424Options()) == (
        b"<30>1 2026-01-02T03:04:05.000006Z - trireme - CHECKPOINT [checkpoint@32473"
        b' timestamp_ns="1767323045000006000" final="true"'
        b' collector.1="{\\"name\\":\\"a\\",\\"accepted\\":11,\\"delivered\\":5,'
        b'\\"dead_lettered\\":3,\\"dropped\\":2,\\"queued\\":1,\\"accepted_in_epoch\\":11}"]'
        b" counts final collectors=a:5+3+2+1=11"
    )
