"""Files that are always whole: buffers, rotation, full disks."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from tests.datapath.recorder.sources import frames
from trireme_datapath.backends.pcap import CaptureReader
from trireme_datapath.recorder import CaptureFormat, RecordingStore, StoreLimits
from trireme_datapath.recorder._output import FileOutput, Rotation, StreamOutput
from trireme_datapath.recorder.capture_formats import (
    CaptureInterface,
    CaptureStatistics,
    encoder_of,
)

if TYPE_CHECKING:
    from pathlib import Path

ENCODER = encoder_of(CaptureFormat.PCAP, [CaptureInterface("test0")])
NOTHING = CaptureStatistics(0, 0)
RECORD = 16 + 60


@pytest.fixture
def store(tmp_path: Path) -> RecordingStore:
    return RecordingStore(tmp_path / "r", node_name="n", limits=StoreLimits(min_free_bytes=0))


def sizes(store: RecordingStore) -> list[int]:
    return [one.size_bytes for one in store.files()]


def count(path: str) -> int:
    with CaptureReader(path) as reader:
        assert list(reader) == []  # no IP in them
        return reader.frames


def test_nothing_is_written_before_there_is_enough_or_it_is_time(store: RecordingStore) -> None:
    output = FileOutput(store, "", ENCODER, 0)
    output.add(frames(3), 0, None, 0)
    assert output.flush(100).packets == 0
    assert sizes(store) == [24]
    early = output.flush(250_000_000)
    assert early.packets + output.flush(250_000_000, force=True).packets == 3
    assert sizes(store) == [24 + 3 * RECORD]
    output.add(frames(5000), 0, None, 250_000_000)
    some, rest = output.flush(250_000_001), output.flush(250_000_001, force=True)
    assert (some.packets + rest.packets, some.size + rest.size) == (5000, 300_000)
    assert output.bytes_written == 24 + 5003 * RECORD


def test_closing_writes_what_waits(store: RecordingStore) -> None:
    output = FileOutput(store, "", ENCODER, 0)
    output.add(frames(2), 0, None, 0)
    assert output.close(NOTHING, 1, 1).packets == 2
    assert count(output.path) == 2
    assert store.make_room() == []


def test_the_end_of_a_pcapng_file_tells_losses(store: RecordingStore) -> None:
    encoder = encoder_of(CaptureFormat.PCAPNG, [CaptureInterface("test0")])
    output = FileOutput(store, "", encoder, 0)
    output.add(frames(2), 0, None, 0)
    output.close(CaptureStatistics(7, 7), 1, 1)
    data = (store.path / output.names[0]).read_bytes()
    assert data.endswith(encoder.end(CaptureStatistics(9, 7), 1))


def test_files_rotate_by_size_and_a_ring_keeps_the_last(store: RecordingStore) -> None:
    output = FileOutput(store, "", ENCODER, 0, Rotation(max_bytes=24 + 2 * RECORD, keep=2))
    made = []
    for _ in range(4):
        output.add(frames(2), 0, None, 0)
        output.flush(0, force=True)
        made.append(output.names[-1])
    output.close(NOTHING, 0, 0)
    assert len(set(made)) == 4
    assert output.names == made[-2:]
    assert sorted(one.name for one in store.files()) == sorted(made[-2:])
    assert all(count(store.path_of(name)) == 2 for name in output.names)


def test_files_rotate_by_time(store: RecordingStore) -> None:
    output = FileOutput(store, "", ENCODER, 0, Rotation(every_ns=10))
    for now_ns in (1, 9, 10, 11, 20):
        output.add(frames(1), 0, None, now_ns)
        output.flush(now_ns, force=True)
    output.close(NOTHING, 21, 0)
    assert [count(store.path_of(name)) for name in output.names] == [2, 2, 1]


def test_a_full_disk_leaves_whole_packets_and_counts_the_others(
    store: RecordingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = FileOutput(store, "", ENCODER, 0)
    output.add(frames(2), 0, None, 0)
    output.flush(0, force=True)
    write = os.write

    def half(descriptor: int, parts: list[bytes]) -> int:
        return write(descriptor, parts[0][:100])

    def full(_descriptor: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.writev", half)
    monkeypatch.setattr("os.write", full)
    output.add(frames(3), 0, None, 0)
    written = output.flush(0, force=True)
    assert (written.packets, written.lost_packets, written.lost_bytes) == (0, 3, 180)
    assert written.error is not None
    assert written.error.errno == errno.ENOSPC
    output.add(frames(1), 0, None, 0)
    assert output.flush(0, force=True).lost_packets == 1
    monkeypatch.undo()
    output.close(NOTHING, 0, 0)
    assert count(output.path) == 2


def test_a_file_that_cannot_begin_is_removed(
    store: RecordingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int, _parts: list[bytes]) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.writev", full)
    with pytest.raises(OSError, match="No space"):
        FileOutput(store, "", ENCODER, 0)
    assert store.files() == []


def test_what_was_never_recorded_is_discarded(store: RecordingStore) -> None:
    FileOutput(store, "", ENCODER, 0).discard()
    assert store.files() == []


def test_a_pipe_that_nobody_reads_any_more_is_an_error() -> None:
    reading, writing = os.pipe()
    output = StreamOutput(writing, ENCODER, 0)
    assert os.read(reading, 100) == ENCODER.begin()
    output.add(frames(1), 0, None, 0)
    assert output.flush(0, force=True).packets == 1
    os.close(reading)
    output.add(frames(1), 0, None, 0)
    written = output.flush(0, force=True)
    assert isinstance(written.error, BrokenPipeError)
    assert written.lost_packets == 1
    os.close(writing)


def test_many_small_parts_are_written_in_order(store: RecordingStore) -> None:
    output = FileOutput(store, "", ENCODER, 0)
    for _ in range(2500):  # more than one call takes
        output.add(frames(1), 0, None, 0)
    assert output.flush(0, force=True).packets == 2500
    output.close(NOTHING, 0, 0)
    assert count(output.path) == 2500


def test_a_write_that_takes_a_part_goes_on(
    store: RecordingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr("os.writev", lambda fd, parts: write(fd, parts[0][:7]))
    monkeypatch.setattr("os.write", lambda fd, data: write(fd, data[:5]))
    output = FileOutput(store, "", ENCODER, 0)
    output.add(frames(3), 0, None, 0)
    assert output.close(NOTHING, 0, 0).packets == 3
    monkeypatch.undo()
    assert count(output.path) == 3
