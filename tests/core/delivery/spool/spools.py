"""What the tests of the spool share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trireme_collector.delivery.spool import FsyncMode, Spool, SpoolConfig

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from trireme_collector.delivery.spool import ReaderAccount, SpoolReader

SMALL = SpoolConfig(max_bytes=64 * 1024, segment_bytes=4096, fsync=FsyncMode.NEVER)


def records(numbers: Iterable[int], size: int = 40) -> list[bytes]:
    """Make records that say which they are."""
    return [b"%08d" % number + bytes([number % 251 + 1]) * (size - 8) for number in numbers]


def number(payload: bytes) -> int:
    """Say which record it is; a damaged one raises."""
    value = int(payload[:8])
    assert payload == records([value], len(payload))[0]
    return value


def drain(reader: SpoolReader, at_once: int = 50) -> list[int]:
    """Read and settle everything; give the numbers."""
    found: list[int] = []
    while (batch := reader.read(at_once)).payloads:
        found += map(number, batch.payloads)
        reader.acknowledge(batch.sequences[-1])
    return found


def check(account: ReaderAccount) -> ReaderAccount:
    """Hold an account to the promise."""
    assert account.accepted == (
        account.delivered + account.dead_lettered + account.dropped + account.spooled
    )
    assert account.dropped == sum(account.dropped_by_reason.values())
    assert min(account.delivered, account.dead_lettered, account.spooled) >= 0
    return account


def segments(directory: Path) -> list[Path]:
    """List the segments in order."""
    return sorted(directory.glob("*.segment"))


def fill(directory: Path, count: int, *, config: SpoolConfig = SMALL, at_once: int = 10) -> None:
    """Make a spool with one reader and so many records."""
    with Spool.open(directory, config) as spool:
        spool.reader("a")
        for first in range(0, count, at_once):
            spool.append(records(range(first, min(count, first + at_once))), 0)
