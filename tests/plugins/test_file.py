"""The file holds whole lines, each record once, whatever the disk does."""

from __future__ import annotations

import errno
import fcntl
import os
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireme_collector import (
    ConfigError,
    FlowRecord,
    PacketReport,
    Pipeline,
    Registry,
    RetryableDeliveryError,
    decode_json,
)
from trireme_collector.formats import render_hubble_line, render_json_line
from trireme_collector.testing import FakeClock
from trireme_collector_file import FileCollector, FileOptions, Fsync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pytest_mock import MockerFixture

LINE = len(render_json_line(PacketReport(packet_id=1)))


def reports(*numbers: int) -> list[PacketReport]:
    return [PacketReport(packet_id=number) for number in numbers]


def numbers(path: Path) -> list[int]:
    lines = path.read_bytes().splitlines(keepends=True)
    assert all(line.endswith(b"\n") for line in lines)
    return [r.packet_id for r in map(decode_json, lines) if isinstance(r, PacketReport)]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "flows.jsonl"


@pytest.fixture
def make(path: Path, clock: FakeClock) -> Iterator[Callable[..., FileCollector]]:
    made: list[FileCollector] = []

    def build(**options: object) -> FileCollector:
        config = msgspec.convert({"path": str(path), "fsync": "never", **options}, FileOptions)
        collector = FileCollector(config, name="f", time_ns=clock.time_ns)
        made.append(collector)
        return collector

    yield build
    for collector in made:
        collector.close()


def rotated(path: Path) -> list[Path]:
    return sorted(other for other in path.parent.iterdir() if other != path)


def test_it_enters_by_the_plugin_door() -> None:
    spec = Registry().collector_spec("file")
    assert spec.config_type is FileOptions


def test_records_become_lines(make: Callable[..., FileCollector], path: Path) -> None:
    collector = make()
    collector.open()
    collector.deliver(reports(1, 2))
    collector.deliver(reports(3))
    assert numbers(path) == [1, 2, 3]


@pytest.mark.parametrize("mode", ["0600", "0640"])
def test_the_mode_holds_whatever_the_umask(
    make: Callable[..., FileCollector], path: Path, mode: str
) -> None:
    before = os.umask(0o077)
    try:
        make(mode=mode).open()
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == int(mode, 8)


def test_an_existing_file_is_continued_and_keeps_its_mode(
    make: Callable[..., FileCollector], path: Path
) -> None:
    path.write_bytes(render_json_line(PacketReport(packet_id=1)))
    path.chmod(0o644)
    collector = make()
    collector.open()
    collector.deliver(reports(2))
    assert numbers(path) == [1, 2]
    assert path.stat().st_mode & 0o777 == 0o644


def test_flows_can_be_written_for_hubble(make: Callable[..., FileCollector], path: Path) -> None:
    collector = make(format="hubble", rotate_bytes=1)
    flows = [FlowRecord(l4_protocol=6), FlowRecord(l4_protocol=17)]
    collector.deliver([flows[0], *reports(1), flows[1]])
    collector.close()
    files = sorted(path.parent.iterdir())
    written = b"".join(file.read_bytes() for file in files if file.is_file())
    assert sorted(written.splitlines(keepends=True)) == sorted(map(render_hubble_line, flows))


@pytest.mark.parametrize("size", [1, 8, 40])
def test_a_torn_line_for_hubble_is_cut_off(
    make: Callable[..., FileCollector], path: Path, size: int
) -> None:
    line = render_hubble_line(FlowRecord())
    path.write_bytes(line + line[:size])
    collector = make(format="hubble")
    collector.deliver([FlowRecord()])
    collector.close()
    assert path.read_bytes() == line * 2


@pytest.mark.parametrize(
    "tail",
    [b'{"type":"pack', b"{", b'{"ty', b"\0" * 5000, b'{"type":"packet"\0\0', b'{"type":' * 9999],
)
def test_a_torn_last_line_is_cut_off(
    make: Callable[..., FileCollector], path: Path, tail: bytes
) -> None:
    path.write_bytes(render_json_line(PacketReport(packet_id=1)) + tail)
    collector = make()
    collector.open()
    assert numbers(path) == [1]
    collector.deliver(reports(2))
    assert numbers(path) == [1, 2]


def test_a_file_of_a_torn_line_alone_becomes_empty(
    make: Callable[..., FileCollector], path: Path
) -> None:
    path.write_bytes(b'{"type":"flow","context_id":')
    make().open()
    assert path.read_bytes() == b""


def test_a_whole_last_line_gets_its_end(make: Callable[..., FileCollector], path: Path) -> None:
    path.write_bytes(render_json_line(PacketReport(packet_id=1))[:-1])
    collector = make()
    collector.open()
    collector.deliver(reports(2))
    assert numbers(path) == [1, 2]


def test_what_others_wrote_is_never_cut(make: Callable[..., FileCollector], path: Path) -> None:
    path.write_bytes(b"notes of somebody")
    collector = make()
    collector.open()
    collector.deliver(reports(2))
    lines = path.read_bytes().splitlines()
    assert lines[0] == b"notes of somebody"
    assert decode_json(lines[1]) == reports(2)[0]


@pytest.mark.parametrize("place", ["missing/flows.jsonl", "file/flows.jsonl", "."])
def test_a_path_that_can_never_work_is_a_mistake_of_the_configuration(
    make: Callable[..., FileCollector], tmp_path: Path, place: str
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="collector 'f' cannot write to") as caught:
        make(path=str(tmp_path / place)).open()
    assert {
        "missing/flows.jsonl": "missing' does not exist; create it or set path",
        "file/flows.jsonl": "a part of the path is not a directory; set another path",
        ".": "name a file, not a directory",
    }[place] in str(caught.value)


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EACCES, "give the agent's user the right to write there"),
        (errno.EROFS, "the file system is read-only; set another path"),
    ],
)
def test_missing_rights_are_told(
    make: Callable[..., FileCollector], mocker: MockerFixture, number: int, remedy: str
) -> None:
    mocker.patch("os.open", side_effect=OSError(number, os.strerror(number)))
    with pytest.raises(ConfigError, match=remedy):
        make().open()


def test_a_pipe_is_no_file(make: Callable[..., FileCollector], path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(ConfigError, match="neither a file nor a terminal; name a file"):
        make().open()


def test_two_agents_do_not_share_a_file(make: Callable[..., FileCollector], path: Path) -> None:
    with path.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="another agent or collector writes to it"):
            make().open()


def test_a_full_disk_at_the_start_passes(
    make: Callable[..., FileCollector], mocker: MockerFixture, path: Path
) -> None:
    collector = make()
    full = OSError(errno.ENOSPC, "No space left on device")
    mocker.patch("os.open", side_effect=full)
    with pytest.raises(RetryableDeliveryError, match="the disk is full; free some space"):
        collector.open()
    mocker.stopall()
    collector.deliver(reports(1))
    assert numbers(path) == [1]


class Disk:
    """Stands for ``os.write`` on a disk that takes so many bytes, then fails once."""

    def __init__(self, room: int, error: int, *, at_once: int = 10**9) -> None:
        self.real = os.write
        self.room = room
        self.error = error
        self.at_once = at_once

    def __call__(self, descriptor: int, data: bytes) -> int:
        if self.room <= 0:
            self.room = 10**9
            raise OSError(self.error, os.strerror(self.error))
        written = self.real(descriptor, data[: min(self.room, self.at_once)])
        self.room -= written
        return written


@given(
    room=st.integers(0, 5 * LINE),
    error=st.sampled_from([errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EFBIG]),
    at_once=st.integers(1, 3 * LINE),
)
def test_whatever_the_disk_takes_no_line_is_torn_or_doubled(
    tmp_path_factory: pytest.TempPathFactory, room: int, error: int, at_once: int
) -> None:
    path = tmp_path_factory.mktemp("disk") / "flows.jsonl"
    collector = FileCollector(FileOptions(path=str(path), fsync=Fsync.NEVER), name="f")
    collector.open()
    batch = reports(1, 2, 3, 4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", Disk(room, error, at_once=at_once))
        if room < 4 * LINE:
            with pytest.raises(RetryableDeliveryError) as caught:
                collector.deliver(batch)
            assert caught.value.delivered == room // LINE
            assert numbers(path) == list(range(1, room // LINE + 1))
            collector.deliver(batch[room // LINE :])
        else:
            collector.deliver(batch)
    collector.close()
    assert numbers(path) == [1, 2, 3, 4]


def test_what_cannot_be_cut_off_at_once_is_cut_off_later(
    make: Callable[..., FileCollector], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector = make()
    collector.open()

    def refuse(_descriptor: int, _size: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", Disk(LINE + 5, errno.EIO))
        patch.setattr(os, "ftruncate", refuse)
        with pytest.raises(RetryableDeliveryError) as caught:
            collector.deliver(reports(1, 2))
        assert caught.value.delivered == 1
        with pytest.raises(RetryableDeliveryError) as caught:
            collector.deliver(reports(2))
        assert caught.value.delivered == 0
    collector.deliver(reports(2))
    assert numbers(path) == [1, 2]


def test_in_a_file_that_may_only_grow_a_torn_line_stands_alone(
    make: Callable[..., FileCollector], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_bytes(render_json_line(PacketReport(packet_id=1)) + b'{"type":"pack')

    def refuse(_descriptor: int, _size: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "ftruncate", refuse)
    collector = make()
    collector.open()
    collector.deliver(reports(2))
    lines = path.read_bytes().splitlines()
    assert [decode_json(line) for line in (lines[0], lines[2])] == reports(1, 2)
    assert lines[1] == b'{"type":"pack'


def test_a_file_that_another_program_emptied_gets_no_hole(
    make: Callable[..., FileCollector], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector = make()
    collector.open()
    collector.deliver(reports(1, 2, 3))
    os.truncate(path, 0)  # as the copytruncate of logrotate does
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", Disk(LINE + 5, errno.ENOSPC))
        with pytest.raises(RetryableDeliveryError):
            collector.deliver(reports(4, 5))
    collector.deliver(reports(5))
    assert numbers(path) == [4, 5]


def test_a_file_that_was_moved_or_removed_is_made_anew(
    make: Callable[..., FileCollector], path: Path
) -> None:
    collector = make()
    collector.open()
    collector.deliver(reports(1))
    old = path.rename(path.with_name("old"))
    collector.deliver(reports(2))
    path.unlink()
    collector.deliver(reports(3))
    assert numbers(old) == [1]
    assert numbers(path) == [3]


def test_reopen_follows_a_rotation_by_others(
    make: Callable[..., FileCollector], path: Path
) -> None:
    collector = make()
    collector.open()
    collector.deliver(reports(1))
    path.rename(path.with_name("old"))
    collector.reopen()
    assert path.exists()
    collector.deliver(reports(2))
    assert numbers(path) == [2]


def test_a_directory_that_went_away_is_told_and_may_come_back(
    make: Callable[..., FileCollector], tmp_path: Path
) -> None:
    directory = tmp_path / "logs"
    directory.mkdir()
    collector = make(path=str(directory / "flows.jsonl"))
    collector.open()
    directory.rename(tmp_path / "away")
    with pytest.raises(RetryableDeliveryError, match="does not exist; create it or set path"):
        collector.deliver(reports(1))
    with pytest.raises(RetryableDeliveryError, match="does not exist"):
        collector.reopen()
    directory.mkdir()
    collector.deliver(reports(1))
    assert numbers(directory / "flows.jsonl") == [1]


def test_rotation_by_size_never_tears_or_loses(
    make: Callable[..., FileCollector], path: Path, clock: FakeClock
) -> None:
    collector = make(rotate_bytes=3 * LINE, keep=0)
    collector.open()
    collector.deliver(reports(1, 2))
    clock.advance(1)
    collector.deliver(reports(3, 4, 5, 6, 7, 8, 9))
    files = [*rotated(path), path]
    assert [numbers(file) for file in files] == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    assert [file.name for file in files] == [
        "flows.jsonl.20260102T030406Z",
        "flows.jsonl.20260102T030406Z.1",
        "flows.jsonl",
    ]


def test_a_line_longer_than_the_limit_gets_a_file_of_its_own(
    make: Callable[..., FileCollector], path: Path
) -> None:
    collector = make(rotate_bytes=10)
    collector.open()
    collector.deliver(reports(1, 2))
    assert [numbers(file) for file in [*rotated(path), path]] == [[1], [2]]


def test_rotation_by_count_holds_across_batches_and_restarts(
    make: Callable[..., FileCollector], path: Path, clock: FakeClock
) -> None:
    for start in (1, 5, 9):
        collector = make(rotate_records=3, keep=0)
        collector.open()
        collector.deliver(reports(start, start + 1))
        collector.deliver(reports(start + 2, start + 3))
        collector.close()
        clock.advance(1)
    files = [numbers(file) for file in (*rotated(path), path)]
    assert files == [[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12]]


def test_the_first_limit_that_is_reached_rotates(
    make: Callable[..., FileCollector], path: Path, clock: FakeClock
) -> None:
    collector = make(rotate_records=4, rotate_bytes=3 * LINE, rotate_seconds=3600, keep=0)
    collector.open()
    collector.deliver(reports(1, 2, 3, 4))
    clock.advance(3600)
    collector.deliver(reports(5))
    clock.advance(1)
    collector.close()
    assert [numbers(file) for file in (*rotated(path), path)] == [[1, 2, 3], [4], [5]]
    path.write_bytes(b"{}\n" * 4)
    collector = make(rotate_records=4, keep=0)
    collector.open()
    collector.deliver(reports(6))
    assert numbers(path) == [6]


def test_a_full_disk_is_asked_again_soon(
    make: Callable[..., FileCollector], monkeypatch: pytest.MonkeyPatch
) -> None:
    collector = make()
    collector.open()
    monkeypatch.setattr(os, "write", Disk(0, errno.ENOSPC))
    with pytest.raises(RetryableDeliveryError) as caught:
        collector.deliver(reports(1))
    assert caught.value.retry_after is not None
    # A fifth is added at most: well within five seconds.
    assert caught.value.retry_after * 1.2 < 5


def test_a_record_on_a_terminal_is_finished_or_begun_anew(
    make: Callable[..., FileCollector], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[bytes] = []
    room = 5

    def write(_descriptor: int, data: bytes) -> int:
        nonlocal room
        if not room:
            room = 10**9
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        part = bytes(data[:room])
        shown.append(part)
        room -= len(part)
        return len(part)

    collector = make(path="/dev/null")
    collector.open()
    monkeypatch.setattr(os, "write", write)
    with pytest.raises(RetryableDeliveryError):
        collector.deliver(reports(1, 2))
    collector.deliver(reports(1, 2))
    torn, *lines = b"".join(shown).splitlines()
    assert len(torn) == 5
    assert [decode_json(line) for line in lines] == reports(1, 2)


def test_rotation_by_time_follows_the_periods(
    make: Callable[..., FileCollector], path: Path, clock: FakeClock
) -> None:
    collector = make(rotate_seconds=86_400)
    collector.open()
    collector.deliver(reports(1))
    clock.advance(20 * 3600)
    collector.deliver(reports(2))
    clock.advance(3600)
    collector.deliver(reports(3))
    (old,) = rotated(path)
    assert numbers(old) == [1, 2]
    assert numbers(path) == [3]


def test_a_file_of_an_earlier_period_is_rotated_after_a_restart(
    make: Callable[..., FileCollector], path: Path, clock: FakeClock
) -> None:
    path.write_bytes(render_json_line(PacketReport(packet_id=1)))
    yesterday = clock.time_ns() // 1_000_000_000 - 86_400
    os.utime(path, (yesterday, yesterday))
    collector = make(rotate_seconds=86_400)
    collector.open()
    collector.deliver(reports(2))
    (old,) = rotated(path)
    assert numbers(old) == [1]
    assert numbers(path) == [2]


def test_only_so_many_rotated_files_stay_and_no_other_file_goes(
    make: Callable[..., FileCollector], path: Path, clock: FakeClock
) -> None:
    stranger = path.with_name("flows.jsonl.notes")
    stranger.touch()
    collector = make(rotate_bytes=LINE, keep=2)
    collector.open()
    for number in range(1, 6):
        clock.advance(1)
        collector.deliver(reports(number))
    kept = [file for file in rotated(path) if file != stranger]
    assert [numbers(file) for file in kept] == [[3], [4]]
    assert stranger.exists()


def test_numbered_files_of_one_second_go_in_their_order(
    make: Callable[..., FileCollector], path: Path
) -> None:
    collector = make(rotate_bytes=LINE, keep=3)
    collector.open()
    collector.deliver(reports(*range(1, 15)))
    kept = sorted(numbers(file) for file in rotated(path))
    assert kept == [[11], [12], [13]]


def test_a_failed_rotation_is_told_and_loses_nothing(
    make: Callable[..., FileCollector], path: Path, clock: FakeClock, mocker: MockerFixture
) -> None:
    collector = make(rotate_bytes=LINE)
    collector.open()
    collector.deliver(reports(1))
    refused = PermissionError(errno.EACCES, "Permission denied")
    rename = mocker.patch("os.rename", side_effect=refused)
    with pytest.raises(RetryableDeliveryError, match=r"cannot rotate .*: Permission den") as caught:
        collector.deliver(reports(2, 3))
    assert caught.value.delivered == 2
    collector.deliver(reports(4))
    assert rename.call_count == 1
    assert numbers(path) == [1, 2, 3, 4]
    mocker.stopall()
    clock.advance(61)
    collector.deliver(reports(5))
    assert numbers(path) == [5]


def test_always_means_before_the_batch_counts(
    make: Callable[..., FileCollector], path: Path, mocker: MockerFixture
) -> None:
    collector = make(fsync="always")
    collector.open()
    collector.deliver(reports(1))
    broken = OSError(errno.EIO, "Input/output error")
    fsync = mocker.patch("os.fsync", side_effect=[broken, None, None, None])
    with pytest.raises(RetryableDeliveryError, match="the disk reports an error") as caught:
        collector.deliver(reports(2, 3))
    assert caught.value.delivered == 0
    assert numbers(path) == [1]
    collector.deliver(reports(2, 3))
    assert numbers(path) == [1, 2, 3]
    assert fsync.call_count == 2


def test_interval_means_at_most_so_often(
    make: Callable[..., FileCollector], clock: FakeClock, mocker: MockerFixture
) -> None:
    collector = make(fsync="interval", fsync_interval_seconds=5)
    collector.open()
    fsync = mocker.patch("os.fsync")
    collector.deliver(reports(1))
    assert fsync.call_count == 1
    collector.deliver(reports(2))
    assert fsync.call_count == 1
    collector.flush()
    collector.flush()
    assert fsync.call_count == 2
    clock.advance(5)
    collector.deliver(reports(3))
    assert fsync.call_count == 3


def test_a_failed_fsync_is_told_even_if_the_next_one_succeeds(
    make: Callable[..., FileCollector], path: Path, mocker: MockerFixture
) -> None:
    collector = make(fsync="interval")
    collector.open()
    broken = OSError(errno.EIO, "Input/output error")
    mocker.patch("os.fsync", side_effect=[broken, None, None])
    collector.deliver(reports(1))
    with pytest.raises(RetryableDeliveryError, match="the disk reports an error"):
        collector.flush()
    collector.flush()
    assert numbers(path) == [1]


def test_never_means_never(make: Callable[..., FileCollector], mocker: MockerFixture) -> None:
    fsync = mocker.patch("os.fsync")
    collector = make(fsync="never", rotate_bytes=LINE)
    collector.open()
    collector.deliver(reports(1, 2))
    collector.flush()
    collector.close()
    assert not fsync.called


def test_a_device_is_written_without_rotation(make: Callable[..., FileCollector]) -> None:
    collector = make(path="/dev/null", rotate_bytes=1, fsync="always")
    collector.open()
    collector.deliver(reports(1, 2))
    collector.flush()


def test_behind_a_pipeline_a_full_disk_costs_time_only(
    make: Callable[..., FileCollector], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    pipeline = Pipeline([make()], clock=clock, threads=False).start()
    for report in reports(1, 2, 3):
        pipeline.collect_packet_event(report)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", Disk(2 * LINE, errno.ENOSPC))
        assert not pipeline.flush()
        pipeline.tick(clock.advance(60))
    assert pipeline.close().complete
    assert numbers(path) == [1, 2, 3]
    (account,) = pipeline.status().collectors
    assert (account.delivered, account.failed_attempts) == (3, 1)
    assert "the disk is full" in account.last_error
