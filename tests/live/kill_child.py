"""An agent's delivery alone, to be killed: 2,000 records a second to every collector that is named.

Its argument is a JSON object: `state`, a directory; `collectors`, tables as in a configuration
file; `accepted`, a file to which it says again and again what each collector has accepted in this
life; `seconds`, for how long it reports records. When its standard input is closed it stops in
order and says what is left.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time

import msgspec
import structlog

from trireme_collector import AggregationConfig, DeliveryConfig, EndPoint, FlowRecord
from trireme_collector.delivery import SpoolConfig
from trireme_collector.pipeline import build_pipeline
from trireme_collector.registry import Registry

RECORDS_PER_SECOND = 2000
TICK_SECONDS = 0.005
BATCH_RECORDS = 100


def main() -> None:
    """Report records until standard input is closed."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    orders = json.loads(sys.argv[1])
    pipeline = build_pipeline(
        orders["collectors"],
        Registry(),
        aggregation=AggregationConfig(window_seconds=0),
        delivery=DeliveryConfig(
            state_directory=orders["state"],
            batch_records=BATCH_RECORDS,
            batch_age_seconds=0.02,
            retry_initial_seconds=0.05,
            retry_max_seconds=0.2,
            spool=SpoolConfig(segment_bytes=65_536),
        ),
        instance="killed",
    ).start()
    before = {account.name: account.accepted for account in pipeline.status().collectors}
    journal = os.open(orders["accepted"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    count = 0
    start = time.monotonic()
    closed = False
    while not closed:
        closed = bool(select.select([sys.stdin], [], [], TICK_SECONDS)[0])
        elapsed = min(time.monotonic() - start, orders["seconds"])
        while count < elapsed * RECORDS_PER_SECOND:
            count += 1
            pipeline.collect_flow_event(
                FlowRecord(
                    source=EndPoint(ip="192.0.2.1", port=count % 65536),
                    destination=EndPoint(id="web", ip="192.0.2.2", port=443),
                    policy_id="kill",
                    count=1,
                )
            )
        said = {
            account.name: account.accepted - before[account.name]
            for account in pipeline.status().collectors
        }
        os.write(journal, json.dumps([pipeline.epoch, said]).encode() + b"\n")
    left = pipeline.close(60)
    sys.stdout.write(msgspec.json.encode(left).decode())


if __name__ == "__main__":
    main()
