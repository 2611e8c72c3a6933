"""A file collector on a disk that fails, with a memory of what has to be in its files."""

from __future__ import annotations

import contextlib
import gzip
from typing import TYPE_CHECKING

import msgspec

from trireme_collector import ConfigError, PacketReport, RetryableDeliveryError, decode_json
from trireme_collector.formats import render_json_line
from trireme_collector.testing import FakeClock
from trireme_collector_file import FileCollector, FileOptions

if TYPE_CHECKING:
    from pathlib import Path

    from trireme_collector_file._disk import Disk

LINE = len(render_json_line(PacketReport(packet_id=1000)))


def reports(first: int, count: int) -> list[PacketReport]:
    """Make records of equal length, with numbers of their own."""
    return [PacketReport(packet_id=1000 + number) for number in range(first, first + count)]


def read_all(directory: Path) -> list[int]:
    """Read the numbers in all files of a directory, compressed or not; no line may be torn."""
    found: list[int] = []
    for path in directory.iterdir():
        data = path.read_bytes()
        if path.name.endswith(".gz"):
            data = gzip.decompress(data)
        assert not path.name.endswith(".partial"), "left behind"
        assert not data or data.endswith(b"\n"), path.name
        for line in data.splitlines():
            record = decode_json(line)
            assert isinstance(record, PacketReport)
            found.append(record.packet_id - 1000)
    return sorted(found)


class Life:
    """Delivers records as a worker would: what was not taken is given again."""

    def __init__(self, directory: Path, disk: Disk, **options: object) -> None:
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.disk = disk
        self.clock = FakeClock()
        table = {
            "path": str(directory / "flows.jsonl"),
            "rotate_bytes": 5 * LINE,
            "keep": 0,
            "compression": "gzip",
            **options,
        }
        self.options = msgspec.convert(table, FileOptions)
        self.given = 0
        self.taken = 0
        self.failures = 0

    def build(self) -> FileCollector:
        return FileCollector(
            self.options, name="f", time_ns=self.clock.time_ns, disk=self.disk, threads=False
        )

    def deliver(self, collector: FileCollector, count: int) -> None:
        self.given += count
        self.clock.advance(0.4)
        try:
            batch = reports(self.taken, self.given - self.taken)
            collector.deliver(batch)
            self.taken += len(batch)
        except RetryableDeliveryError as error:
            self.failures += 1
            self.taken += error.delivered

    def start(self) -> FileCollector | None:
        collector = self.build()
        try:
            collector.open()
        except RetryableDeliveryError:
            self.failures += 1
        except ConfigError:
            collector.close()
            return None
        return collector

    def run(self) -> None:
        """Start, deliver, rotate, flush, reopen and stop."""
        collector = self.start()
        if collector is None:
            return
        for _ in range(2):
            self.deliver(collector, 4)
        with contextlib.suppress(RetryableDeliveryError):
            collector.flush()
        with contextlib.suppress(RetryableDeliveryError):
            collector.reopen()
        self.deliver(collector, 6)
        with contextlib.suppress(RetryableDeliveryError):
            collector.flush()
        collector.close()

    def finish(self) -> list[int]:
        """Start on a disk that works again, and give what is in the files then."""
        collector = self.start()
        assert collector is not None
        self.deliver(collector, 1)
        self.clock.advance(61)
        self.deliver(collector, 1)
        collector.close()
        assert self.taken == self.given, "work has not resumed"
        return read_all(self.directory)
