"""Fuzz the start of a spool: ``python -m tests.fuzz.fuzz_spool --seconds 60 --seed 1``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.fuzz.harness import Target, main
from trireme_collector.delivery.spool import FsyncMode, Spool, SpoolConfig
from trireme_collector.delivery.spool._frames import encode_frames
from trireme_collector.delivery.spool._segment import Segment, encode_header
from trireme_collector.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["TARGET"]

_SEGMENT = Segment(1, 1, 77)
_CONFIG = SpoolConfig(max_bytes=1 << 20, segment_bytes=1 << 16, fsync=FsyncMode.NEVER)


def _seeds() -> tuple[bytes, ...]:
    head = encode_header(_SEGMENT, 0)
    return (
        head,
        head + encode_frames([b"one", b"two", b"three" * 20], 1, _SEGMENT.seed),
        head + encode_frames([b"one"], 1, _SEGMENT.seed) + bytes(40),
        head + encode_frames([b"one", b"two"], 7, _SEGMENT.seed)[:-1],
    )


def run(data: bytes) -> Hashable:
    """Start on a segment of these bytes, deliver what is there, and take one record more."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name) / "spool"
        directory.mkdir(mode=0o700)
        (directory / _SEGMENT.name).write_bytes(data)
        try:
            spool = Spool.open(directory, _CONFIG)
        except ConfigError:
            return "newer"
        with spool:
            reader = spool.reader("a")
            batch = reader.read(1000)
            if batch.sequences:
                reader.acknowledge(batch.sequences[-1])
            spool.append([b"more"], 0)
            more = reader.read(10)
            assert list(more.payloads) == [b"more"]
            account = reader.account
            assert account.accepted == account.delivered + account.dropped + account.spooled
            assert account.spooled == 1
            recovery = spool.recovery
            return (
                len(batch.sequences),
                account.dropped > 0,
                recovery.torn_bytes > 0,
                recovery.unreadable_segments,
                spool.status().damage.ranges,
            )


TARGET = Target(name="spool", seeds=_seeds(), run=run)

if __name__ == "__main__":
    sys.exit(main([TARGET], sys.argv[1:]))
