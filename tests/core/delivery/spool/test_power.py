"""What is called durable survives a loss of power, also when syncs fail and lie afterwards."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import pytest

from tests.core.delivery.spool.spools import check, drain, number, records
from trireme_collector.delivery import WhenFull
from trireme_collector.delivery.spool import FsyncMode, Spool, SpoolConfig, SystemStorage

SECOND = 1_000_000_000


class PowerStorage(SystemStorage):
    """Knows what would be left after a loss of power: what was synced, under the names synced.

    Args:
        failing: Which syncs fail. After that the file is never really written again, though later
            syncs of it say so: this is what Linux does to pages that it could not write.
    """

    def __init__(self, failing: frozenset[int] = frozenset()) -> None:
        self._failing = failing
        self._syncs = 0
        self._next = 0
        self._identities: dict[str, int] = {}
        self._contents: dict[int, bytes] = {}
        self._poisoned: set[int] = set()
        self._names: dict[str, int] = {}

    def open(self, path: str, flags: int, mode: int) -> int:
        is_new = not os.path.lexists(path)
        descriptor = super().open(path, flags, mode)
        if is_new:
            self._next += 1
            self._identities[path] = self._next
        return descriptor

    def sync(self, descriptor: int) -> None:
        self._syncs += 1
        path = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        fails = self._syncs in self._failing
        if Path(path).is_dir():
            if not fails:
                self._names = {
                    entry.name: self._identities[str(entry)]
                    for entry in Path(path).iterdir()
                    if str(entry) in self._identities
                }
        elif path in self._identities:
            identity = self._identities[path]
            if fails and not path.endswith("/state"):
                self._poisoned.add(identity)
            elif not fails and identity not in self._poisoned:
                self._contents[identity] = Path(path).read_bytes()
        if fails:
            raise OSError(errno.EIO, "cannot be synced")

    def rename(self, source: str, target: str) -> None:
        super().rename(source, target)
        self._identities[target] = self._identities.pop(source)

    def unlink(self, path: str) -> None:
        super().unlink(path)
        self._identities.pop(path, None)

    def lose_power(self, directory: Path) -> None:
        """Write down what is left."""
        directory.mkdir(mode=0o700)
        for name, identity in self._names.items():
            (directory / name).write_bytes(self._contents.get(identity, b""))


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("mode", [FsyncMode.ALWAYS, FsyncMode.INTERVAL])
@pytest.mark.parametrize("seed", range(12))
def test_what_is_durable_is_there_afterwards(
    tmp_path: Path, mode: FsyncMode, seed: int, fails: bool
) -> None:
    choose = random.Random(seed)
    failing = frozenset(choose.sample(range(2, 60), 6)) if fails else frozenset()
    storage = PowerStorage(failing)
    config = SpoolConfig(
        max_bytes=1 << 20, segment_bytes=4096, fsync=mode, when_full=WhenFull.DROP_NEWEST
    )
    spool = Spool.open(tmp_path / "s", config, storage=storage)
    reader = spool.reader("a")
    # The sequence of a record is its number and one: nothing is refused here.
    given = now = 0
    delivered: list[int] = []
    for step in range(choose.randint(10, 40)):
        count = choose.randint(1, 40)
        taken = spool.append(records(range(given, given + count)), now)
        given += count
        assert taken.count == count
        if mode is FsyncMode.ALWAYS and not fails:
            assert taken.durable
        if choose.random() < 0.5:
            batch = reader.read(choose.randint(1, 60))
            delivered += map(number, batch.payloads)
            if batch.sequences:
                reader.acknowledge(batch.sequences[-1])
        if choose.random() < 0.6:
            now += choose.randint(1, 2) * SECOND
            spool.tick(now)
        if step % 5 == 4:
            durable = spool.status().durable_sequence - 1
            left = tmp_path / f"left-{step}"
            storage.lose_power(left)
            with Spool.open(left, config) as again:
                found = drain(again.reader("a"))
                check(again.reader("a").account)
            missing = set(range(durable)) - set(found) - set(delivered)
            assert not missing, f"called durable and lost: {sorted(missing)[:5]}"
    assert not fails or spool.status().sync_failures or now < 10 * SECOND
    spool.close()
