"""Runs a pipeline with the file collector on a small disk, and fills that disk meanwhile.

It is started in a mount namespace of its own, with the directory of the small disk. What it saw
it prints as JSON.
"""

from __future__ import annotations

import errno
import gzip
import json
import os
import sys
import time
from pathlib import Path

import msgspec

from trireme_collector import DeliveryConfig, PacketReport, Pipeline
from trireme_collector_file import FileCollector, FileOptions

PATIENCE_SECONDS = 30.0
BATCH = 50


def fill(path: Path) -> None:
    """Take all the space that is left, but a little: a batch is to be torn."""
    with path.open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(b"\0" * 4096)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
    os.truncate(path, max(0, path.stat().st_size - 4096))


def hand_in(pipeline: Pipeline, first: int, count: int) -> None:
    for number in range(first, first + count):
        pipeline.collect_packet_event(PacketReport(packet_id=number))


def read(directory: Path) -> tuple[list[int], int]:
    """Read all numbers, and count the lines that are no record."""
    numbers: list[int] = []
    torn = 0
    for path in directory.glob("flows.jsonl*"):
        data = path.read_bytes()
        for line in (gzip.decompress(data) if path.suffix == ".gz" else data).splitlines():
            try:
                numbers.append(json.loads(line)["packet_id"])
            except ValueError:
                torn += 1
    return sorted(numbers), torn


def main(directory: Path, fsync: str, compression: str) -> None:
    table = {
        "path": str(directory / "flows.jsonl"),
        "fsync": fsync,
        "rotate_bytes": 100_000,
        "keep": 0,
        "compression": compression,
    }
    collector = FileCollector(msgspec.convert(table, FileOptions), name="file")
    config = DeliveryConfig(batch_records=BATCH, batch_age_seconds=0.01)
    pipeline = Pipeline({"file": collector}, delivery=config).start()
    given = 0
    resumed: list[float] = []
    torn_while_full = 0
    for _ in range(2):
        hand_in(pipeline, given, 200)
        given += 200
        assert pipeline.flush(PATIENCE_SECONDS)
        fill(directory / "filler")
        hand_in(pipeline, given, 400)
        given += 400
        end = time.monotonic() + PATIENCE_SECONDS
        while not pipeline.status().collectors[0].retrying and time.monotonic() < end:
            time.sleep(0.01)
        assert "the disk is full" in pipeline.status().collectors[0].last_error
        time.sleep(3)  # the pauses between the attempts would have grown by now
        torn_while_full += read(directory)[1]
        (directory / "filler").unlink()
        begin = time.monotonic()
        assert pipeline.flush(PATIENCE_SECONDS)
        resumed.append(time.monotonic() - begin)
    report = pipeline.close(PATIENCE_SECONDS)
    collector.wait_idle()
    numbers, torn = read(directory)
    account = report.status.collectors[0]
    seen = {
        "given": given,
        "accepted": account.accepted,
        "delivered": account.delivered,
        "once": numbers == list(range(given)),
        "torn": torn + torn_while_full,
        "resumed_seconds": resumed,
        "files": len(list(directory.iterdir())),
    }
    sys.stdout.write(json.dumps(seen) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
