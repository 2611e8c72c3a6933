"""Killed at any call, and again while it is cleaned up: nothing is lost, one batch comes twice."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from tests.plugins.file.faulty_disk import KILL, FaultyDisk, KilledError
from tests.plugins.file.lives import Life

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def killed(disk: FaultyDisk, call: int) -> Iterator[None]:
    disk.faults.begin(KILL, first=call, last=10**9)
    with contextlib.suppress(KilledError):
        yield
    disk.faults.end()
    disk.bury()


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_killed_at_any_call(tmp_path: Path, compression: str) -> None:
    disk = FaultyDisk()
    Life(tmp_path / "healthy", disk, compression=compression).run()
    total = disk.faults.calls
    for n in range(1, total + 1):
        disk = FaultyDisk()
        life = Life(tmp_path / str(n), disk, compression=compression)
        with killed(disk, n):
            life.run()
        # What was not acknowledged may be in the file already: it comes again.
        unsure = range(life.taken, life.given)
        found = life.finish()
        assert sorted(set(found)) == list(range(life.given)), f"call {n}"
        twice = [number for number in set(found) if found.count(number) > 1]
        assert set(twice) <= set(unsure), f"call {n}"


def test_killed_again_while_it_is_cleaned_up(tmp_path: Path) -> None:
    disk = FaultyDisk()
    Life(tmp_path / "healthy", disk).run()
    total = disk.faults.calls
    for n in range(1, total + 1, 5):
        for again in range(1, 40, 4):
            disk = FaultyDisk()
            life = Life(tmp_path / f"{n}-{again}", disk)
            with killed(disk, n):
                life.run()
            unsure = range(life.taken, life.given)
            with killed(disk, again):
                life.start()
            found = life.finish()
            assert sorted(set(found)) == list(range(life.given)), f"calls {n}, {again}"
            twice = {number for number in found if found.count(number) > 1}
            assert twice <= set(unsure), f"calls {n}, {again}"
