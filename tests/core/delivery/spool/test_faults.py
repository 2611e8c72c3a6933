"""Any call of the system may fail: accounts balance, nothing is torn or wrongly durable."""

from __future__ import annotations

import errno
import os
import shutil
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.call_faults import SHORT_WRITE
from tests.core.delivery.spool.faulty_storage import EVERY_CALL, MAKES_FULL, FaultyStorage
from tests.core.delivery.spool.spools import check, drain, number, records, segments
from trireme_collector.delivery import WhenFull
from trireme_collector.delivery.spool import (
    DROPPED_IO_ERROR,
    DROPPED_NO_SPACE,
    FsyncMode,
    Spool,
    SpoolConfig,
    SystemStorage,
)
from trireme_collector.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection

SECOND = 1_000_000_000
FAULTS: dict[str, tuple[int | str, Collection[str]]] = {
    "ENOSPC": (errno.ENOSPC, MAKES_FULL),
    "EIO": (errno.EIO, EVERY_CALL),
    "EINTR": (errno.EINTR, EVERY_CALL),
    "short": (SHORT_WRITE, frozenset(("write_at",))),
    "sync": (errno.EIO, frozenset(("sync",))),
}


def config(mode: FsyncMode = FsyncMode.INTERVAL, **more: object) -> SpoolConfig:
    return SpoolConfig(
        **{"max_bytes": 65536, "segment_bytes": 4096, "fsync": mode, **more}  # type: ignore[arg-type]  # a few overrides
    )


class Life:
    """Appends, reads and restarts under a storage that fails, and knows what has to be."""

    def __init__(self, directory: Path, storage: FaultyStorage, settings: SpoolConfig) -> None:
        self.directory = directory
        self.storage = storage
        self.settings = settings
        self.given = 0
        self.accepted: set[int] = set()
        self.delivered: list[int] = []
        self.now = 0

    def open(self) -> Spool | None:
        try:
            return Spool.open(self.directory, self.settings, storage=self.storage)
        except ConfigError:
            return None

    def append(self, spool: Spool, count: int) -> None:
        numbers = range(self.given, self.given + count)
        self.given += count
        self.now += SECOND
        taken = spool.append(records(numbers), self.now)
        assert taken.count in {0, count}
        if taken.count:
            self.accepted.update(numbers)
        if self.settings.fsync is FsyncMode.ALWAYS:
            assert taken.durable is (spool.status().durable_sequence == taken.first + taken.count)
        check(spool.reader("a").account)

    def read(self, spool: Spool, count: int) -> None:
        reader = spool.reader("a")
        try:
            batch = reader.read(count)
        except OSError:
            return
        if batch.payloads:
            self.delivered += map(number, batch.payloads)
            reader.acknowledge(batch.sequences[-1])
        check(reader.account)

    def run(self) -> None:
        for _ in range(2):
            spool = self.open()
            if spool is None:
                continue
            for _ in range(3):
                self.append(spool, 25)
                self.read(spool, 17)
                spool.tick(self.now)
            spool.close()

    def finish(self) -> None:
        self.storage.faults.end()
        spool = self.open()
        assert spool is not None
        with spool:
            reader = spool.reader("a")
            for _ in range(5):
                self.append(spool, 3)
            self.now += 2 * SECOND
            spool.tick(self.now)
            assert spool.status().durable_sequence == spool.status().next_sequence
            self.delivered += drain(reader)
            account = check(reader.account)
            assert not account.spooled
            lost = account.dropped - sum(
                account.dropped_by_reason.get(reason, 0)
                for reason in (DROPPED_IO_ERROR, DROPPED_NO_SPACE)
            )
            missing = self.accepted - set(self.delivered)
            assert len(missing) <= lost, "lost, and not counted"
            assert spool.append(records([1]), self.now).count == 1, "normal work has resumed"


@pytest.mark.parametrize("mode", [FsyncMode.ALWAYS, FsyncMode.INTERVAL])
@pytest.mark.parametrize("name", FAULTS)
def test_the_nth_call_fails(tmp_path: Path, name: str, mode: FsyncMode) -> None:
    fault, kinds = FAULTS[name]
    storage = FaultyStorage()
    storage.faults.kinds = kinds
    healthy = Life(tmp_path / "healthy", storage, config(mode))
    healthy.run()
    total = storage.faults.calls
    assert total > 5
    for n in range(1, total + 1):
        storage = FaultyStorage()
        life = Life(tmp_path / f"{n}", storage, config(mode))
        storage.faults.begin(fault, first=n, kinds=kinds)
        life.run()
        life.finish()
        if name in {"EINTR", "short"}:
            assert sorted(set(life.delivered)) == list(range(life.given)), f"call {n}"


@pytest.mark.parametrize("when_full", WhenFull)
@pytest.mark.parametrize("kinds", [MAKES_FULL, frozenset(("write_at",)), EVERY_CALL])
def test_everything_fails_for_a_while(
    tmp_path: Path, kinds: Collection[str], when_full: WhenFull
) -> None:
    storage = FaultyStorage()
    life = Life(tmp_path / "s", storage, config(when_full=when_full))
    spool = life.open()
    assert spool is not None
    for _ in range(20):
        life.append(spool, 10)
    for code in (errno.ENOSPC, errno.EIO):
        storage.faults.begin(code, last=10**9, kinds=kinds)
        for _ in range(5):
            life.append(spool, 10)
            life.read(spool, 7)
            spool.tick(life.now)
        storage.faults.end()
        life.append(spool, 10)
        life.read(spool, 7)
    spool.close()
    life.finish()


def test_a_full_disk_refuses_whole_batches_and_works_again(tmp_path: Path) -> None:
    storage = FaultyStorage()
    with Spool.open(tmp_path / "s", config(), storage=storage) as spool:
        reader = spool.reader("a")
        spool.append(records(range(5)), 0)
        size = segments(tmp_path / "s")[0].stat().st_size
        storage.faults.begin(errno.ENOSPC, last=10**9, kinds=("write_at",))
        assert spool.append(records(range(5, 9)), 0).refused == 4
        assert segments(tmp_path / "s")[0].stat().st_size == size
        storage.faults.end()
        spool.append(records(range(9, 12)), 0)
        assert drain(reader) == [0, 1, 2, 3, 4, 9, 10, 11]
        account = check(reader.account)
        assert account.dropped_by_reason == {DROPPED_NO_SPACE: 4}
        assert spool.status().write_failures == 1


def test_what_cannot_be_taken_back_is_never_read(tmp_path: Path) -> None:
    storage = FaultyStorage()
    directory = tmp_path / "s"
    spool = Spool.open(directory, config(), storage=storage)
    spool.reader("a")
    spool.append(records(range(5)), 0)
    storage.faults.begin(errno.EIO, last=10**9, kinds=("write_at", "truncate"))
    assert spool.append(records(range(5, 15)), 0).refused == 10
    storage.faults.end()
    spool.append(records(range(15, 20)), 0)
    spool.close()
    assert len(segments(directory)) == 2
    with Spool.open(directory, config()) as spool:
        reader = spool.reader("a")
        assert drain(reader) == [*range(5), *range(15, 20)]
        assert check(reader.account).dropped_by_reason == {DROPPED_IO_ERROR: 10}


def test_a_full_disk_makes_room_with_the_oldest_if_it_may(tmp_path: Path) -> None:
    storage = FaultyStorage()
    settings = config(FsyncMode.NEVER, when_full=WhenFull.DROP_OLDEST)
    with Spool.open(tmp_path / "s", settings, storage=storage) as spool:
        reader = spool.reader("a")
        for first in range(0, 200, 10):
            spool.append(records(range(first, first + 10)), 0)
        before = len(segments(tmp_path / "s"))
        storage.faults.begin(errno.ENOSPC, last=2, kinds=("write_at",))
        assert not spool.append(records(range(200, 210)), 0).refused
        assert len(segments(tmp_path / "s")) < before
        lost = check(reader.account).dropped
        assert lost
        assert drain(reader) == list(range(lost, 210))


def test_after_a_failed_sync_nothing_is_durable_until_it_was_written_again(
    tmp_path: Path,
) -> None:
    storage = FaultyStorage()
    directory = tmp_path / "s"
    with Spool.open(directory, config(), storage=storage) as spool:
        reader = spool.reader("a")
        spool.append(records(range(5)), 0)
        spool.tick(SECOND)
        assert spool.status().durable_sequence == 6
        spool.append(records(range(5, 10)), 0)
        storage.faults.begin(errno.EIO, kinds=("sync",))
        spool.tick(2 * SECOND)
        assert spool.status().durable_sequence == 6
        spool.append(records(range(10, 15)), 0)
        assert list(map(number, reader.read(8).payloads)) == list(range(8))
        # The kernel would now call a second sync of the same file a success.
        spool.tick(4 * SECOND)
        status = spool.status()
        assert (status.durable_sequence, status.rewrites, status.sync_failures) == (16, 1, 1)
        assert [int(path.name[:16], 16) for path in segments(directory)] == [1, 6]
        spool.append(records(range(15, 18)), 0)
        reader.acknowledge(8)
        assert drain(reader) == list(range(8, 18))
    first, second = segments(directory)
    assert b"%08d" % 12 in second.read_bytes()
    assert b"%08d" % 12 not in first.read_bytes()


def test_failed_syncs_one_after_another_leave_one_copy(tmp_path: Path) -> None:
    storage = FaultyStorage()
    with Spool.open(tmp_path / "s", config(), storage=storage) as spool:
        reader = spool.reader("a")
        storage.faults.begin(errno.EIO, last=10**9, kinds=("sync",))
        for step in range(20):
            spool.append(records(range(step * 5, step * 5 + 5)), step * 2 * SECOND)
            spool.tick(step * 2 * SECOND)
        assert spool.status().durable_sequence == 1
        assert spool.status().size_bytes < 2 * 100 * (40 + 24) + 21 * 64
        storage.faults.end()
        spool.tick(100 * SECOND)
        assert spool.status().durable_sequence == 101
        assert len(segments(tmp_path / "s")) == 1
        assert drain(reader) == list(range(100))


def test_what_has_no_copy_any_more_is_never_called_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trireme_collector.delivery.spool._log._COPIES_BYTES", 600)
    storage = FaultyStorage()
    with Spool.open(tmp_path / "s", config(), storage=storage) as spool:
        reader = spool.reader("a")
        storage.faults.begin(errno.EIO, kinds=("sync",))
        spool.append(records(range(20)), 0)
        spool.tick(SECOND)
        storage.faults.end()
        for step in range(2, 5):
            spool.append(records(range(step * 10, step * 10 + 5)), 0)
            spool.tick(step * 2 * SECOND)
            assert spool.status().durable_sequence == 1
        assert len(drain(reader)) == 35
        spool.tick(20 * SECOND)
        spool.append(records([7]), 0)
        spool.tick(22 * SECOND)
        assert spool.status().durable_sequence == 37


def test_always_says_that_it_is_not_durable(tmp_path: Path) -> None:
    storage = FaultyStorage()
    with Spool.open(tmp_path / "s", config(FsyncMode.ALWAYS), storage=storage) as spool:
        assert spool.append(records(range(5)), SECOND).durable
        storage.faults.begin(errno.EIO, kinds=("sync",))
        assert not spool.append(records(range(5, 7)), 2 * SECOND).durable
        assert not spool.append(records(range(7, 9)), 2 * SECOND + 1).durable
        assert spool.append(records(range(9, 11)), 4 * SECOND).durable


def test_positions_that_cannot_be_kept_are_kept_later(tmp_path: Path) -> None:
    storage = FaultyStorage()
    directory = tmp_path / "s"
    spool = Spool.open(directory, config(), storage=storage)
    reader = spool.reader("a")
    spool.append(records(range(9)), 0)
    reader.read(5)
    storage.faults.begin(errno.ENOSPC, last=10**9, kinds=("open", "write_at"))
    reader.acknowledge(5)
    assert spool.status().state_failures == 1
    storage.faults.end()
    spool.tick(SECOND)
    assert b'"delivered":5' in (directory / "state").read_bytes()
    spool.close()


class FullStorage(SystemStorage):
    """A disk that can be full: no new file, no longer file; what is there may be written over."""

    def __init__(self) -> None:
        self.is_full = False

    def open(self, path: str, flags: int, mode: int) -> int:
        if self.is_full and flags & os.O_CREAT and not Path(path).exists():
            raise OSError(errno.ENOSPC, "no space left")
        return super().open(path, flags, mode)

    def write_at(self, descriptor: int, data: bytes | memoryview, offset: int) -> int:
        if self.is_full:
            data = memoryview(data)[: max(0, 4096 - offset % 4096) if offset else 4096]
            if offset + len(data) > -(-os.fstat(descriptor).st_size // 4096) * 4096:
                raise OSError(errno.ENOSPC, "no space left")
        return super().write_at(descriptor, data, offset)

    def unlink(self, path: str) -> None:
        super().unlink(path)
        if path.endswith(".segment"):
            self.is_full = False


@pytest.mark.parametrize("mode", [FsyncMode.INTERVAL, FsyncMode.NEVER])
def test_a_disk_full_of_what_was_delivered_is_made_empty(tmp_path: Path, mode: FsyncMode) -> None:
    storage = FullStorage()
    directory = tmp_path / "s"
    spool = Spool.open(directory, config(mode), storage=storage)
    reader = spool.reader("a")
    spool.append(records(range(300)), 0)
    spool.tick(SECOND)
    storage.is_full = True
    assert spool.append(records(range(300, 400)), SECOND).refused == 100
    assert drain(reader) == list(range(300))
    assert storage.is_full
    # Whoever is killed now has to know what was delivered.
    copy = tmp_path / "copy"
    shutil.copytree(directory, copy)
    with Spool.open(copy, config(mode)) as other:
        assert drain(other.reader("a")) == []
        assert check(other.reader("a").account).delivered == 300
    assert spool.append(records(range(400, 420)), 2 * SECOND).count == 20
    assert drain(reader) == list(range(400, 420))
    assert not spool.status().state_failures
    spool.close()


def test_the_system_is_asked_once_for_a_batch(tmp_path: Path) -> None:
    storage = FaultyStorage()
    with Spool.open(tmp_path / "s", SpoolConfig(), storage=storage) as spool:
        spool.append(records(range(100)), 0)
        storage.log.clear()
        spool.append(records(range(100)), 0)
        assert storage.log == ["write_at"]
        reader = spool.reader("a")
        reader.read(100)
        storage.log.clear()
        reader.acknowledge(100)
        assert storage.log == ["write_at"]


def test_unreadable_pages_cost_the_records_in_them(tmp_path: Path) -> None:
    storage = FaultyStorage()
    with Spool.open(tmp_path / "s", SpoolConfig(fsync=FsyncMode.NEVER), storage=storage) as spool:
        reader = spool.reader("a")
        spool.append(records(range(1000)), 0)
        originals = FaultyStorage.read_at

        def read_at(descriptor: int, size: int, offset: int) -> bytes:
            if offset < 12288 and offset + size > 8192:
                raise OSError(errno.EIO, "bad place")
            return originals(storage, descriptor, size, offset)

        storage.read_at = read_at  # type: ignore[method-assign]  # one disk with one bad place
        found = drain(reader, 1000)
        account = check(reader.account)
        assert account.dropped_by_reason == {"damaged": 1000 - len(found)}
        assert 4096 // 64 <= 1000 - len(found) <= 4096 // 64 + 2
        assert all(one < two for one, two in pairwise(found))
        assert spool.status().damage.ranges == 1
