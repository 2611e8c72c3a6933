"""Instances that come, go and are killed: nothing is lost, and what comes twice is the same."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.netobserv.flows import config
from tests.core.netobserv.shared_fakes import Killed, MemorySink, MemorySource, Topic, instance
from trireme_collector import ConfigError
from trireme_collector.netobserv import (
    ConversationStream,
    FlowReader,
    Following,
    SharedConversations,
    Tracker,
)
from trireme_collector.netobserv.sharing import Partition, PartitionCheckpoint

FIRST, SECOND = Partition("flows", 0), Partition("flows", 1)
BEGIN_MS = 1_700_000_000_000


def counted(sink: MemorySink, kind: str) -> Counter[str]:
    """Count flow logs by conversation, as the records of a type tell."""
    found: Counter[str] = Counter()
    for line in sink.records.values():
        record = json.loads(line)
        if record["_RecordType"] == kind:
            found[record["_HashId"]] += record["numFlowLogs"] if kind == "endConnection" else 1
    return found


def check(sink: MemorySink, sent: int) -> None:
    """Check that every flow log was given out once, and counted in one conversation once."""
    numbers: dict[str, list[int]] = {}
    for place in sink.records:
        partition, _, number = place.rpartition("/")
        numbers.setdefault(partition, []).append(int(number))
    for found in numbers.values():
        assert sorted(found) == list(range(len(found)))
    assert counted(sink, "flowLog").total() == sent
    assert counted(sink, "endConnection") == counted(sink, "flowLog")


LIVES = st.one_of(st.none(), st.integers(0, 12))
FLOWS = st.lists(st.tuples(st.integers(0, 15_000), st.integers(1, 9)), max_size=12)
STEPS = st.lists(
    st.tuples(
        FLOWS,
        st.lists(st.floats(0, 20), min_size=1, max_size=4),
        LIVES,
        st.integers(0, 2),
        st.booleans(),
    ),
    max_size=6,
)


@settings(max_examples=150, deadline=None)
@given(STEPS, st.integers(1, 5))
def test_kills_and_rebalances(
    steps: list[tuple[list[tuple[int, int]], list[float], int | None, int, bool]], size: int
) -> None:
    topic, sink, now = Topic(2), MemorySink(), [0.0]
    time_ms = BEGIN_MS
    source = MemorySource(topic)
    shared = instance(source, sink, now, checkpoint_seconds=7.0)
    source.assign(FIRST, SECOND)
    for flows, waits, lives, fails, moves_on in steps:
        for later, host in flows:
            time_ms += later
            topic.send(time_ms, host)
        source.size, source.lives, source.fails = size, lives, fails
        try:
            for wait in waits:
                now[0] += wait
                shared.step(0)
            if moves_on:
                source.revoke(SECOND)
                source.lives = None
                source.assign(SECOND)
        except Killed:
            source = MemorySource(topic)
            shared = instance(source, sink, now, checkpoint_seconds=7.0)
            source.assign(FIRST, SECOND)
    source.lives, source.size = None, 100
    for _ in range(60):
        now[0] += 11.0
        shared.step(0)
    check(sink, topic.sent)


def test_what_is_repeated_was_given_out_since_the_last_checkpoint() -> None:
    topic, sink, now = Topic(1), MemorySink(), [0.0]
    source = MemorySource(topic)
    shared = instance(source, sink, now, checkpoint_seconds=10.0)
    source.assign(FIRST)
    for _ in range(3):
        topic.send(BEGIN_MS, 1)
    now[0] = 10.0
    shared.step(0)
    assert topic.committed[FIRST].offset == 3
    topic.send(BEGIN_MS, 1)
    shared.step(0)
    assert topic.committed[FIRST].offset == 3
    source = MemorySource(topic)
    again = instance(source, sink, now)
    source.assign(FIRST)
    again.step(0)
    assert sink.repeated == 1
    assert len(sink.records) == 5  # four flow logs and a new connection


@pytest.mark.parametrize("is_told", [True, False])
def test_what_others_may_repeat_is_counted(is_told: bool) -> None:
    """A lost session shows in `lost`, or not before a checkpoint is refused."""
    topic, sink, now = Topic(2), MemorySink(), [0.0]
    source = MemorySource(topic)
    shared = instance(source, sink, now, checkpoint_seconds=10.0)
    source.assign(FIRST, SECOND)
    topic.send(BEGIN_MS, 1)
    topic.send(BEGIN_MS, 2)
    now[0] = 10.0
    shared.step(0)
    topic.send(BEGIN_MS, 2)
    shared.step(0)
    if is_told:
        shared.lost([FIRST])
    else:
        source.is_fenced = True
        source.revoke(FIRST)
    assert (shared.lost_partitions, shared.unkept_records) == (1, 1)
    heir = MemorySource(topic)
    again = instance(heir, sink, now)
    heir.assign(FIRST)
    again.step(0)
    assert sink.repeated == shared.unkept_records
    heir.revoke(FIRST)
    assert (again.lost_partitions, again.unkept_records) == (0, 0)


def test_no_checkpoint_before_the_output_is_acknowledged() -> None:
    topic, sink, now = Topic(1), MemorySink(), [0.0]
    sink.settles = False
    source = MemorySource(topic)
    shared = instance(source, sink, now, checkpoint_seconds=1.0)
    source.assign(FIRST)
    topic.send(BEGIN_MS, 1)
    now[0] = 1.0
    shared.step(0)
    assert not topic.committed
    source.revoke(FIRST)
    assert not topic.committed
    assert not shared.partitions
    assert (shared.lost_partitions, shared.unkept_records) == (0, len(sink.records))


def test_a_full_sink_stops_the_intake() -> None:
    topic, sink, now = Topic(1), MemorySink(), [0.0]
    source = MemorySource(topic)
    shared = instance(source, sink, now)
    source.assign(FIRST)
    topic.send(BEGIN_MS, 1)
    sink.backlog = 100_000
    shared.step(0)
    assert source.is_paused
    assert not sink.records
    sink.backlog = 0
    shared.step(0)
    assert sink.records


def test_conversations_end_without_traffic() -> None:
    topic, sink, now = Topic(1), MemorySink(), [0.0]
    source = MemorySource(topic)
    shared = instance(source, sink, now)
    source.assign(FIRST)
    topic.send(BEGIN_MS, 1)
    shared.step(0)
    now[0] = 9.0
    shared.step(0)
    assert not counted(sink, "endConnection")
    now[0] = 11.0
    shared.step(0)
    assert counted(sink, "endConnection").total() == 1


def test_states_that_do_not_fit() -> None:
    topic, sink, now = Topic(1), MemorySink(), [0.0]
    source = MemorySource(topic)
    shared = instance(source, sink, now)
    source.assign(FIRST)
    topic.send(BEGIN_MS, 1)
    shared.step(0)
    source.revoke(FIRST)
    kept = topic.committed[FIRST]
    for broken, said in (
        (
            PartitionCheckpoint(offset=1, note=kept.note.replace("test", "rest")),
            "another configuration",
        ),
        (PartitionCheckpoint(offset=1, note=kept.note, states=None), "not where they were kept"),
        (PartitionCheckpoint(offset=1, note=kept.note, states=(b"\xc1",)), "cannot be taken up"),
        (PartitionCheckpoint(offset=1, note="x"), "cannot be read"),
    ):
        topic.committed[FIRST] = broken
        with pytest.raises(ConfigError, match=said):
            source.assign(FIRST)
    topic.committed[FIRST] = PartitionCheckpoint(offset=1, note=kept.note, states=None)
    source = MemorySource(topic)
    anew = instance(source, sink, now, discard_states=True)
    source.assign(FIRST)
    assert anew.discarded == 1
    topic.send(BEGIN_MS, 1)
    anew.step(0)
    source.revoke(FIRST)
    assert topic.committed[FIRST].offset == 2
    assert topic.committed[FIRST].states


def test_totals_of_partitions_that_went_elsewhere() -> None:
    topic, sink, now = Topic(2), MemorySink(), [0.0]
    source = MemorySource(topic)
    shared = instance(source, sink, now)
    source.assign(FIRST, SECOND)
    topic.send(BEGIN_MS, 2)
    topic.send(BEGIN_MS, 3)
    topic.logs[SECOND].append((BEGIN_MS, b"{"))
    shared.step(0)
    assert shared.flows == 2
    source.revoke(SECOND)
    assert (shared.totals.flows, shared.totals.broken, shared.flows) == (1, 1, 2)
    shared.close()
    assert shared.totals.records == len(sink.records) == 4
    assert shared.totals.metrics["conntrack_output_records|type=flowLog"] == 2


def test_what_is_unknown_is_counted_over_all_partitions() -> None:
    topic, sink = Topic(2), MemorySink()
    source = MemorySource(topic)

    def make() -> Following:
        tracker = Tracker.from_config(config())
        reader = FlowReader(unknown_fields="drop")
        stream = ConversationStream(tracker, by_time=False, reader=reader)
        return Following(tracker, stream, stream.take_lines, by_time=False)

    shared = SharedConversations(source, sink, make, fit="test", warn=str)
    shared.start()
    source.assign(FIRST, SECOND)
    for host in (1, 2, 4):
        topic.send(BEGIN_MS, host, Mood="good", Dscp=[])
    shared.step(0)
    shared.close()
    assert shared.totals.unknown == {"Mood": 3}
    assert shared.totals.wrong == {"Dscp": 3}
    assert shared.totals.broken == 0
    assert not any(b"Mood" in line or b"Dscp" in line for line in sink.records.values())


def test_lines_in_lines() -> None:
    """A value may be laid out; a record is one line."""
    topic, sink, now = Topic(1), MemorySink(), [0.0]
    source = MemorySource(topic)
    shared = instance(source, sink, now)
    source.assign(FIRST)
    topic.send(BEGIN_MS, 1)
    time_ms, value = topic.logs[FIRST][0]
    topic.logs[FIRST][0] = time_ms, json.dumps(json.loads(value), indent=1).encode()
    shared.step(0)
    assert len(sink.records) == 2
    assert not any(b"\n" in line for line in sink.records.values())
