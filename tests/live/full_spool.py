"""Fills the small disk that a spool is on, makes room again, and prints what was seen as JSON.

It is started in a mount namespace of its own, with the directory of the small disk.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import structlog

from tests.live.full_disk import fill
from trireme_collector import DeliveryConfig, PacketReport, Pipeline, RetryableDeliveryError
from trireme_collector.delivery import SpoolConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trireme_collector.delivery import CollectorStatus
    from trireme_collector.records import Record

PATIENCE_SECONDS = 30.0


class Receiver:
    """Is away until it is told to come."""

    def __init__(self) -> None:
        self.away = True
        self.numbers: list[int] = []

    def deliver(self, batch: Sequence[Record]) -> None:
        if self.away:
            raise RetryableDeliveryError("away")
        self.numbers += [record.packet_id for record in batch if isinstance(record, PacketReport)]


def main(directory: Path) -> None:
    """See it full and not full."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    receiver = Receiver()
    delivery = DeliveryConfig(
        state_directory=str(directory / "state"),
        batch_age_seconds=0.01,
        retry_max_seconds=0.1,
        spool=SpoolConfig(segment_bytes=16_384),
    )
    pipeline = Pipeline({"x": receiver}, delivery=delivery).start()
    given = 0

    def report(count: int) -> CollectorStatus:
        nonlocal given
        for number in range(given, given + count):
            pipeline.collect_packet_event(PacketReport(packet_id=number))
        given += count
        return settled()

    def settled() -> CollectorStatus:
        end = time.monotonic() + PATIENCE_SECONDS
        while (account := pipeline.status().collectors[0]).accepted < given:
            if time.monotonic() > end:
                raise TimeoutError(account)
            time.sleep(0.01)
        return account

    before = report(300)
    fill(directory / "filler")
    full = report(2000)
    (directory / "filler").unlink()
    begin = time.monotonic()
    report(300)
    seconds = time.monotonic() - begin
    receiver.away = False
    assert pipeline.flush(PATIENCE_SECONDS)
    (after,) = pipeline.close().status.collectors
    seen = {
        "before": msgspec.to_builtins(before),
        "full": msgspec.to_builtins(full),
        "after": msgspec.to_builtins(after),
        "resumed_seconds": seconds,
        "received": len(receiver.numbers),
        "distinct": len(set(receiver.numbers)),
    }
    print(json.dumps(seen))  # noqa: T201  it is what it is for


if __name__ == "__main__":
    main(Path(sys.argv[1]))
