"""A spool gives back what it was given, to every reader, across restarts, within its bounds."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.core.delivery.spool.spools import SMALL, check, drain, fill, number, records, segments
from trireme_collector.delivery import WhenFull
from trireme_collector.delivery.spool import (
    DROPPED_FULL,
    DROPPED_OVERSIZE,
    FsyncMode,
    Spool,
    SpoolConfig,
    StartAt,
)
from trireme_collector.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from trireme_collector.delivery.spool import SpoolReader

SECOND = 1_000_000_000
OLDEST = SpoolConfig(
    max_bytes=16 * 1024,
    segment_bytes=4096,
    fsync=FsyncMode.NEVER,
    when_full=WhenFull.DROP_OLDEST,
)
NEWEST = SpoolConfig(max_bytes=16 * 1024, segment_bytes=4096, fsync=FsyncMode.NEVER)


def test_records_come_back_in_order_and_once(tmp_path: Path) -> None:
    with Spool.open(tmp_path / "s", SMALL) as spool:
        reader = spool.reader("a")
        assert reader.read(10).payloads == []
        taken = spool.append(records(range(25)), 0)
        assert (taken.first, taken.count, taken.refused) == (1, 25, 0)
        batch = reader.read(10)
        assert list(batch.sequences) == list(range(1, 11))
        assert list(batch.payloads) == records(range(10))
        assert check(reader.account).spooled == 25
        assert reader.acknowledge(4) == 4
        assert (reader.account.delivered, reader.account.spooled) == (4, 21)
        assert drain(reader) == list(range(10, 25))
        assert check(reader.account).delivered == 25


def test_what_was_not_acknowledged_is_given_again_after_a_restart(tmp_path: Path) -> None:
    with Spool.open(tmp_path / "s", SMALL) as spool:
        reader = spool.reader("a")
        spool.append(records(range(20)), 0)
        reader.acknowledge(reader.read(5).sequences[-1], dead_lettered=2, dropped={"filter": 1})
        reader.read(10)
    with Spool.open(tmp_path / "s", SMALL) as spool:
        assert not spool.recovery.created
        reader = spool.reader("a")
        account = check(reader.account)
        assert (account.delivered, account.dead_lettered, account.dropped) == (2, 2, 1)
        assert account.dropped_by_reason == {"filter": 1}
        spool.append(records(range(20, 22)), 0)
        assert drain(reader) == list(range(5, 22))


def test_what_waits_is_measured(tmp_path: Path) -> None:
    with Spool.open(tmp_path / "s", SMALL) as spool:
        reader = spool.reader("a")
        assert (reader.spooled, reader.spooled_bytes) == (0, 0)
        spool.append(records(range(200)), 0)
        assert (reader.spooled, reader.spooled_bytes) == (200, 200 * 64)
        reader.acknowledge(reader.read(150).sequences[-1])
        assert reader.spooled == 50
        # The whole of the segment that it is in, and those after it.
        assert 50 * 64 <= reader.spooled_bytes <= 113 * 64
        drain(reader)
        assert (reader.spooled, reader.spooled_bytes) == (0, 0)


def test_rewind_reads_again_from_the_oldest_unsettled(tmp_path: Path) -> None:
    with Spool.open(tmp_path / "s", SMALL) as spool:
        reader = spool.reader("a")
        spool.append(records(range(200)), 0)
        reader.read(150)
        reader.acknowledge(101)
        reader.rewind()
        assert drain(reader) == list(range(101, 200))


def test_more_than_was_read_cannot_be_acknowledged(tmp_path: Path) -> None:
    with Spool.open(tmp_path / "s", SMALL) as spool:
        reader = spool.reader("a")
        spool.append(records(range(3)), 0)
        reader.read(2)
        with pytest.raises(ValueError, match="was not read yet"):
            reader.acknowledge(3)
        with pytest.raises(ValueError, match="3 of 2 records"):
            reader.acknowledge(2, dead_lettered=3)
        assert check(reader.account).spooled == 3


def test_readers_go_their_own_ways(tmp_path: Path) -> None:
    with Spool.open(tmp_path / "s", SMALL) as spool:
        one = spool.reader("one")
        spool.append(records(range(5)), 0)
        late, end = spool.reader("late"), spool.reader("end", StartAt.END)
        spool.append(records(range(5, 8)), 0)
        assert drain(one) == drain(late) == list(range(8))
        assert drain(end) == [5, 6, 7]
        assert [check(r.account).accepted for r in (one, late, end)] == [8, 8, 3]
        assert spool.reader("one") is one


def test_bytes_bound_a_batch_but_for_one_record(tmp_path: Path) -> None:
    with Spool.open(tmp_path / "s", SMALL) as spool:
        reader = spool.reader("a")
        spool.append(records(range(9), 100), 0)
        assert len(reader.read(9, 350).payloads) == 3
        assert len(reader.read(9, 1).payloads) == 1
        assert list(map(number, reader.read(9).payloads)) == [4, 5, 6, 7, 8]


def test_segments_that_all_have_passed_are_removed(tmp_path: Path) -> None:
    with Spool.open(tmp_path / "s", SMALL) as spool:
        one, two = spool.reader("one"), spool.reader("two")
        spool.append(records(range(500)), 0)
        full = len(segments(tmp_path / "s"))
        assert full > 5
        drain(one)
        spool.tick(SECOND)
        assert len(segments(tmp_path / "s")) == full
        two.acknowledge(two.read(250).sequences[-1])
        spool.tick(2 * SECOND)
        assert 1 < len(segments(tmp_path / "s")) < full
        assert spool.remove_reader("two") is not None
        spool.tick(3 * SECOND)
        assert len(segments(tmp_path / "s")) == 1
        assert spool.reader_names == ("one",)
        assert spool.remove_reader("two") is None


def test_the_newest_are_refused_and_counted(tmp_path: Path) -> None:
    with Spool.open(tmp_path / "s", NEWEST) as spool:
        reader = spool.reader("a")
        refused = sum(spool.append(records(range(n, n + 9)), 0).refused for n in range(0, 900, 9))
        assert spool.status().size_bytes <= NEWEST.max_bytes
        account = check(reader.account)
        assert account.accepted == 900
        assert account.dropped_by_reason == {DROPPED_FULL: refused}
        assert refused
        assert drain(reader) == list(range(900 - refused))
        assert spool.append(records([0]), 0).count == 1
    with Spool.open(tmp_path / "s", NEWEST) as spool:
        account = check(spool.reader("a").account)
        assert (account.accepted, account.dropped, account.spooled) == (901, refused, 1)


def test_the_oldest_are_given_up_for_each_reader_alone(tmp_path: Path) -> None:
    with Spool.open(tmp_path / "s", OLDEST) as spool:
        slow, quick = spool.reader("slow"), spool.reader("quick")
        seen: list[int] = []
        for first in range(0, 900, 9):
            assert not spool.append(records(range(first, first + 9)), 0).refused
            assert spool.status().size_bytes <= OLDEST.max_bytes
            seen += drain(quick)
        assert seen == list(range(900))
        assert not check(quick.account).dropped
        lost = check(slow.account).dropped
        assert slow.account.dropped_by_reason == {DROPPED_FULL: lost}
        assert drain(slow) == list(range(lost, 900))
        assert check(slow.account).delivered == 900 - lost


def test_what_is_being_sent_is_not_given_up(tmp_path: Path) -> None:
    with Spool.open(tmp_path / "s", OLDEST) as spool:
        reader = spool.reader("a")
        spool.append(records(range(20)), 0)
        batch = reader.read(15)
        for first in range(20, 920, 9):
            spool.append(records(range(first, first + 9)), 0)
        lost = check(reader.account).dropped
        assert lost
        reader.acknowledge(batch.sequences[-1])
        assert drain(reader) == list(range(15 + lost, 920))
        account = check(reader.account)
        assert (account.delivered, account.dropped) == (920 - lost, lost)


def test_a_crash_while_sending_what_was_given_up_is_counted(tmp_path: Path) -> None:
    with Spool.open(tmp_path / "s", OLDEST) as spool:
        reader = spool.reader("a")
        spool.append(records(range(20)), 0)
        reader.read(15)
        for first in range(20, 920, 9):
            spool.append(records(range(first, first + 9)), 0)
        lost = reader.account.dropped
    with Spool.open(tmp_path / "s", OLDEST) as spool:
        reader = spool.reader("a")
        account = check(reader.account)
        assert account.dropped_by_reason == {DROPPED_FULL: lost, "missing": 15}
        assert drain(reader) == list(range(15 + lost, 920))


def test_too_long_records_are_refused_alone(tmp_path: Path) -> None:
    with Spool.open(tmp_path / "s", SMALL) as spool:
        reader = spool.reader("a")
        one, two = records(range(2))
        taken = spool.append([one, bytes(5000), two], 0)
        assert (taken.count, taken.refused) == (2, 1)
        assert drain(reader) == [0, 1]
        assert check(reader.account).dropped_by_reason == {DROPPED_OVERSIZE: 1}


def test_a_batch_may_be_larger_than_a_segment(tmp_path: Path) -> None:
    with Spool.open(tmp_path / "s", SMALL) as spool:
        reader = spool.reader("a")
        assert spool.append(records(range(400)), 0).count == 400
        assert all(path.stat().st_size <= SMALL.segment_bytes for path in segments(tmp_path / "s"))
        assert drain(reader, 1000) == list(range(400))


def test_after_the_end_nothing_is_touched(tmp_path: Path) -> None:
    with Spool.open(tmp_path / "s", SMALL) as spool:
        reader = spool.reader("a")
        spool.append(records(range(3)), 0)
        reader.read(2)
    before = (tmp_path / "s" / "state").read_bytes()
    for call in (
        lambda: reader.acknowledge(1),
        lambda: reader.read(1),
        lambda: spool.append(records([1]), 0),
        lambda: spool.reader("b"),
        lambda: spool.remove_reader("a"),
        lambda: spool.tick(SECOND),
    ):
        with pytest.raises(ValueError, match="closed"):
            call()
    spool.close()
    assert (tmp_path / "s" / "state").read_bytes() == before


def test_threads_append_read_and_tick_at_once(tmp_path: Path) -> None:
    config = SpoolConfig(max_bytes=1 << 24, segment_bytes=1 << 14)
    total = 20_000
    with Spool.open(tmp_path / "s", config) as spool:
        readers = [spool.reader(name) for name in ("one", "two")]
        done = threading.Event()

        def append() -> None:
            for first in range(0, total, 50):
                spool.append(records(range(first, first + 50)), 0)

        def deliver(reader: SpoolReader) -> list[int]:
            found: list[int] = []
            while len(found) < total:
                found += drain(reader, 333)
            return found

        def tick() -> None:
            now = 0
            while not done.wait(0.001):
                now += SECOND
                spool.tick(now)
                for account in spool.status().readers:
                    check(account)

        with ThreadPoolExecutor(4) as pool:
            ticking = pool.submit(tick)
            delivering = [pool.submit(deliver, reader) for reader in readers]
            pool.submit(append).result(60)
            assert all(one.result(60) == list(range(total)) for one in delivering)
            done.set()
            ticking.result(60)
        spool.tick(10**6 * SECOND)
        assert spool.status().segments == 1


def test_nothing_appended_changes_nothing(tmp_path: Path) -> None:
    with Spool.open(tmp_path / "s", SMALL) as spool:
        assert spool.append([], 0).count == 0
        assert segments(tmp_path / "s") == []


@pytest.mark.parametrize("mode", FsyncMode)
@pytest.mark.parametrize("preallocate", [False, True])
def test_every_mode_keeps_records(tmp_path: Path, mode: FsyncMode, preallocate: bool) -> None:
    config = SpoolConfig(max_bytes=65536, segment_bytes=4096, fsync=mode, preallocate=preallocate)
    with Spool.open(tmp_path / "s", config) as spool:
        reader = spool.reader("a")
        for first in range(0, 300, 10):
            taken = spool.append(records(range(first, first + 10)), first * SECOND)
            assert taken.durable is (mode is FsyncMode.ALWAYS)
            spool.tick(first * SECOND)
        durable = spool.status().durable_sequence
        assert durable == (1 if mode is FsyncMode.NEVER else 301)
        assert list(map(number, reader.read(100).payloads)) == list(range(100))
        reader.acknowledge(100)
    with Spool.open(tmp_path / "s", config) as spool:
        assert not spool.recovery.torn_bytes
        spool.append(records(range(300, 310)), 0)
        assert drain(spool.reader("a")) == list(range(100, 310))


def test_the_interval_is_kept(tmp_path: Path) -> None:
    config = SpoolConfig(max_bytes=65536, segment_bytes=4096)
    with Spool.open(tmp_path / "s", config) as spool:
        assert spool.tick(0) == SECOND // 5
        spool.append(records(range(3)), 0)
        assert spool.tick(SECOND // 10) == SECOND // 5
        assert spool.status().durable_sequence == 1
        assert spool.tick(SECOND // 5) == 2 * SECOND // 5
        assert spool.status().durable_sequence == 4


def test_a_segment_may_be_a_quarter_of_the_whole_at_most(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="more than a quarter"):
        Spool.open(tmp_path / "s", SpoolConfig(max_bytes=16384, segment_bytes=5000))
    assert not (tmp_path / "s").exists()


def test_a_restart_goes_on_in_the_last_segment(tmp_path: Path) -> None:
    for first in range(0, 50, 5):
        with Spool.open(tmp_path / "s", SMALL) as spool:
            spool.reader("a")
            spool.append(records(range(first, first + 5)), 0)
    assert len(segments(tmp_path / "s")) == 1
    fill(tmp_path / "t", 10)
    with Spool.open(tmp_path / "s", SMALL) as spool:
        assert drain(spool.reader("a")) == list(range(50))
