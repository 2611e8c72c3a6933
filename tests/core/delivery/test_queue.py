"""Queues keep order and bounds, and count what they give up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trireme_collector import PacketReport
from trireme_collector.delivery import DROPPED_BYTES, DROPPED_RECORDS, MemoryQueue, WhenFull

MANY_BYTES = 1 << 30


def put(queue: MemoryQueue, records: list[PacketReport], sizes: list[int]) -> dict[str, int]:
    """Put records; give what was dropped for them."""
    before = queue.balance().dropped
    assert queue.put(records, sizes, {})
    after = queue.balance().dropped
    changed = {reason: after[reason] - before.get(reason, 0) for reason in after}
    return {reason: count for reason, count in changed.items() if count}


def reports(*numbers: int) -> list[PacketReport]:
    return [PacketReport(packet_id=number) for number in numbers]


def test_what_was_taken_is_given_again_until_it_is_acknowledged() -> None:
    queue = MemoryQueue(10, 1000)
    put(queue, reports(1, 2, 3), [10, 20, 30])
    assert list(queue.take(2, MANY_BYTES)) == reports(1, 2)
    assert list(queue.take(10, MANY_BYTES)) == reports(1, 2)
    queue.acknowledge(1, 0, {})
    assert list(queue.take(10, MANY_BYTES)) == reports(2)
    assert (queue.records, queue.size_bytes) == (2, 50)
    queue.acknowledge(1, 0, {})
    assert list(queue.take(10, MANY_BYTES)) == reports(3)


def test_the_newest_are_given_up() -> None:
    queue = MemoryQueue(2, 1000)
    assert put(queue, reports(1, 2, 3), [1, 1, 1]) == {DROPPED_RECORDS: 1}
    assert list(queue.take(9, MANY_BYTES)) == reports(1, 2)


def test_the_oldest_are_given_up_but_never_those_being_sent() -> None:
    queue = MemoryQueue(3, 1000, WhenFull.DROP_OLDEST)
    put(queue, reports(1, 2, 3), [1, 1, 1])
    queue.take(2, MANY_BYTES)
    assert put(queue, reports(4), [1]) == {DROPPED_RECORDS: 1}
    assert list(queue.take(9, MANY_BYTES)) == reports(1, 2)
    queue.acknowledge(2, 0, {})
    assert list(queue.take(9, MANY_BYTES)) == reports(4)
    assert put(queue, reports(5, 6, 7), [1, 1, 1]) == {DROPPED_RECORDS: 1}
    queue.acknowledge(1, 0, {})
    assert list(queue.take(9, MANY_BYTES)) == reports(6, 7)


def test_bytes_are_bounded_too() -> None:
    queue = MemoryQueue(10, 100, WhenFull.DROP_OLDEST)
    put(queue, reports(1, 2), [50, 50])
    assert put(queue, reports(3), [101]) == {DROPPED_BYTES: 1}
    assert queue.records == 2
    assert put(queue, reports(4), [60]) == {DROPPED_BYTES: 2}
    assert list(queue.take(9, MANY_BYTES)) == reports(4)


@given(
    st.lists(
        st.one_of(
            st.lists(st.integers(1, 40), min_size=1, max_size=6),
            st.integers(0, 5),
        ),
        max_size=40,
    ),
    st.sampled_from(WhenFull),
)
def test_nothing_appears_or_disappears(steps: list[list[int] | int], when_full: WhenFull) -> None:
    queue = MemoryQueue(7, 120, when_full)
    accepted = dropped = done = 0
    seen: list[int] = []
    for step in steps:
        if isinstance(step, list):
            numbers = range(accepted, accepted + len(step))
            accepted += len(step)
            dropped += sum(put(queue, reports(*numbers), step).values())
        else:
            taken = queue.take(3, MANY_BYTES)
            count = min(step, len(taken))
            seen.extend(r.packet_id for r in taken[:count] if isinstance(r, PacketReport))
            queue.acknowledge(count, 0, {})
            done += count
        assert accepted == dropped + done + queue.records
        assert queue.records <= 7
        assert 0 <= queue.size_bytes <= 120
    assert seen == sorted(set(seen))
