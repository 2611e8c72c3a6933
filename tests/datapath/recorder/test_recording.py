"""What a recording keeps and when it ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.datapath.recorder.sources import frames
from trireme_datapath.recorder import RecordingStatistics, StopCondition, StopReason
from trireme_datapath.recorder._recording import NEVER_NS, Recording, capture_length

SECOND = 1_000_000_000


def test_nothing_ends_a_recording_without_conditions() -> None:
    recording = Recording(StopCondition(), 0)
    assert len(recording.admit(frames(1000))) == 1000
    recording.turn(10**18)
    assert recording.ended is None
    assert recording.deadline_ns == NEVER_NS


@pytest.mark.parametrize("limit", [1, 5, 777])
def test_exactly_so_many_packets(limit: int) -> None:
    recording = Recording(StopCondition(packets_captured_count=limit), 0)
    kept = sum(len(recording.admit(frames(100))) for _ in range(10))
    assert kept == limit
    assert recording.ended is StopReason.PACKETS


@pytest.mark.parametrize(("limit", "kept"), [(10_000, 20), (10_001, 21), (1, 1), (10_500, 21)])
def test_the_packet_that_reaches_the_bytes_is_the_last(limit: int, kept: int) -> None:
    recording = Recording(StopCondition(bytes_captured_count=limit), 0)
    assert len(recording.admit(frames(100, 500))) == kept
    assert recording.ended is StopReason.BYTES
    assert recording.admit(frames(1)) == ()


def test_time_counts_from_the_beginning() -> None:
    recording = Recording(StopCondition(time_elapsed_ns=2 * SECOND), 5 * SECOND)
    reasons = []
    for now_ns in (7 * SECOND - 1, 7 * SECOND):
        recording.turn(now_ns)
        reasons.append(recording.ended)
    assert reasons == [None, StopReason.TIME]
    # What was taken before belongs to it.
    assert len(recording.admit(frames(3))) == 3


def test_a_negative_time_ends_at_once_and_empty() -> None:
    recording = Recording(StopCondition(time_elapsed_ns=-1), 5)
    recording.turn(5)
    assert recording.ended is StopReason.TIME
    assert recording.is_full()
    assert recording.admit(frames(1)) == ()


def test_an_endless_time_is_never() -> None:
    assert Recording(StopCondition(time_elapsed_ns=NEVER_NS), 10).deadline_ns == NEVER_NS


def test_the_first_reason_stays() -> None:
    recording = Recording(StopCondition(packets_captured_count=1), 0)
    recording.end(StopReason.ASKED)
    recording.admit(frames(1))
    assert recording.ended is StopReason.ASKED


@given(
    st.lists(st.integers(0, 8), max_size=12),
    st.integers(0, 20),
    st.integers(0, 2000),
    st.integers(1, 200),
)
def test_limits_hold_for_any_batches(
    batches: list[int], packets: int, size: int, each: int
) -> None:
    stop = StopCondition(packets_captured_count=packets, bytes_captured_count=size)
    recording = Recording(stop, 0)
    kept = sum(len(recording.admit(frames(count, each))) for count in batches)
    offered = sum(batches)
    limits = [offered]
    if packets:
        limits.append(packets)
    if size:
        limits.append(-(-size // each))
    assert kept == min(limits)
    assert (recording.ended is not None) == (kept in limits[1:])


def test_counts_are_kept_apart() -> None:
    recording = Recording(StopCondition(), 0)
    recording.written(3, 300)
    recording.lost(2)
    recording.lost(1, 50)
    assert recording.statistics == RecordingStatistics(
        packets_captured=3, bytes_captured=300, packets_lost=3, bytes_lost=50
    )


def test_capture_lengths_never_wrap() -> None:
    assert capture_length(0, 128) == 128
    assert capture_length(96, 128) == 96
    assert capture_length(65_537, 128) == 65_537
    assert capture_length(2**32 - 1, 0) == 262_144
    assert capture_length(0, 0) == 0
