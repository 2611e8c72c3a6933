"""Whatever call of the system fails, each record is in the files once, in a line of its own."""

from __future__ import annotations

import errno
import stat
from typing import TYPE_CHECKING

import pytest

from tests.call_faults import SHORT_WRITE
from tests.plugins.file.faulty_disk import EVERY_CALL, MAKES_FULL, FaultyDisk
from tests.plugins.file.lives import Life

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

FAULTS: dict[str, tuple[int | str, Collection[str]]] = {
    "ENOSPC": (errno.ENOSPC, MAKES_FULL),
    "EIO": (errno.EIO, EVERY_CALL),
    "EINTR": (errno.EINTR, EVERY_CALL),
    "short": (SHORT_WRITE, frozenset(("write",))),
    "sync": (errno.EIO, frozenset(("sync",))),
    "read-only": (errno.EROFS, frozenset(("open", "write", "truncate", "rename", "unlink"))),
}


@pytest.fixture(params=["always", "interval", "never"])
def fsync(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("name", FAULTS)
def test_the_nth_call_fails(tmp_path: Path, name: str, fsync: str) -> None:
    fault, kinds = FAULTS[name]
    disk = FaultyDisk()
    disk.faults.kinds = kinds
    healthy = Life(tmp_path / "healthy", disk, fsync=fsync)
    healthy.run()
    total = disk.faults.calls
    assert total > 5 or fsync == "never"
    assert healthy.finish() == list(range(healthy.given))
    for n in range(1, total + 1):
        disk = FaultyDisk()
        life = Life(tmp_path / str(n), disk, fsync=fsync)
        disk.faults.begin(fault, first=n, kinds=kinds)
        life.run()
        disk.faults.end()
        assert life.finish() == list(range(life.given)), f"call {n}"
        if name == "short":
            assert not life.failures
    assert not disk.descriptors, "left open"


@pytest.mark.parametrize("kinds", [MAKES_FULL, frozenset(("write", "truncate")), EVERY_CALL])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_from_the_nth_call_on_all_fail_until_the_disk_is_mended(
    tmp_path: Path, kinds: Collection[str], code: int
) -> None:
    disk = FaultyDisk()
    disk.faults.kinds = kinds
    Life(tmp_path / "healthy", disk).run()
    for n in range(1, disk.faults.calls + 1, 3):
        broken = FaultyDisk()
        life = Life(tmp_path / str(n), broken)
        broken.faults.begin(code, first=n, last=10**9, kinds=kinds)
        life.run()
        broken.faults.end()
        assert life.finish() == list(range(life.given)), f"from call {n}"


def test_what_counts_as_delivered_with_always_was_synced(tmp_path: Path) -> None:
    class Watched(FaultyDisk):
        """Knows the size of the file that is on the plates."""

        safe = 0

        def sync(self, descriptor: int) -> None:
            super().sync(descriptor)
            status = self.describe(descriptor)
            if stat.S_ISREG(status.st_mode):
                Watched.safe = status.st_size

    disk = Watched()
    life = Life(tmp_path / "d", disk, fsync="always", rotate_bytes=0, compression="none")
    collector = life.start()
    assert collector is not None
    for _ in range(3):
        life.deliver(collector, 3)
        assert Watched.safe == (tmp_path / "d" / "flows.jsonl").stat().st_size
    # Of a batch that the disk takes half of, the half that counts is on the plates, too.
    disk.faults.begin(errno.ENOSPC, kinds=("write",))
    life.deliver(collector, 4)
    assert life.taken == 9 + 2
    assert Watched.safe == (tmp_path / "d" / "flows.jsonl").stat().st_size
    # And when that fails, none counts.
    disk.faults.begin(errno.ENOSPC, last=3, kinds=("write", "sync"))
    life.deliver(collector, 4)
    assert life.taken == 9 + 2
    disk.faults.end()
    collector.close()
    assert life.finish() == list(range(life.given))


def test_what_was_not_synced_is_cut_off_as_soon_as_that_can_be_done(tmp_path: Path) -> None:
    disk = FaultyDisk()
    life = Life(tmp_path / "d", disk, fsync="always", rotate_bytes=0, compression="none")
    collector = life.start()
    assert collector is not None
    life.deliver(collector, 2)
    disk.faults.begin(errno.EIO, last=10**9, kinds=("sync", "truncate"))
    for _ in range(3):
        life.deliver(collector, 2)
        assert life.taken == 2
    disk.faults.end()
    life.deliver(collector, 1)
    collector.close()
    assert life.taken == 9
    assert life.finish() == list(range(11))
