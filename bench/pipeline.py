"""What a flow record costs from the pipeline's door to a JSON line in a file."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import msgspec

from bench.figures import interleave, show
from trireme_collector import (
    ActionType,
    CollectorContext,
    EndPoint,
    EndPointType,
    FlowRecord,
    Pipeline,
    Registry,
    encode_json,
)

RUNS = 7
RECORDS = 50_000
TARGET_MICROSECONDS = 6.0
ENCODE_MICROSECONDS = 0.6


def make_records() -> list[FlowRecord]:
    """Make flows that differ in addresses and ports, as a busy server has them."""
    return [
        FlowRecord(
            context_id="ctx-web",
            namespace="/shop",
            source=EndPoint(id="office", ip=f"192.0.{n >> 8 & 255}.{n & 255}", port=n & 0xFFFF),
            destination=EndPoint(id="web", ip="10.0.0.2", port=n >> 4, type=EndPointType.PU),
            tags=("app=web", "env=prod"),
            policy_id="office-http",
            count=1,
            action=ActionType.ACCEPT,
            l4_protocol=6,
            packets=1,
            bytes=60,
            start_time_ns=1_700_000_000_000_000_000,
            end_time_ns=1_700_000_000_000_000_000,
            tcp_flags=2,
            policy_revision="0123456789abcdef",
        )
        for n in range(RECORDS)
    ]


def _encode(records: list[FlowRecord]) -> float:
    begin = time.process_time()
    for record in records:
        encode_json(record)
    return (time.process_time() - begin) / len(records) * 1e6


def _deliver(records: list[FlowRecord], directory: Path, *, threads: bool) -> float:
    spec = Registry().collector_spec("file")
    path = directory / f"records-{time.monotonic_ns()}.jsonl"
    config = msgspec.convert({"path": str(path)}, spec.config_type)
    collector = spec.factory(config, CollectorContext(name="file", instance="bench"))
    begin = time.process_time()
    with Pipeline({"file": collector}, threads=threads) as pipeline:
        for record in records:
            pipeline.collect_flow_event(record)
    spent = (time.process_time() - begin) / len(records) * 1e6
    with path.open("rb") as file:
        lines = sum(1 for _ in file)
    if lines != len(records):
        raise SystemExit(f"{lines} lines for {len(records)} records")
    return spent


def run() -> bool:
    """Measure the encoding alone and the whole way, with and without threads."""
    records = make_records()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        figures = interleave(
            RUNS,
            {
                "encode": lambda: _encode(records),
                "inline": lambda: _deliver(records, directory, threads=False),
                "threads": lambda: _deliver(records, directory, threads=True),
            },
        )
    encoded = show("msgspec encodes the record", figures["encode"], "us")
    inline = show("pipeline to file, one thread", figures["inline"], "us")
    threaded = show("pipeline to file, worker threads", figures["threads"], "us")
    scale = encoded / ENCODE_MICROSECONDS
    allowed = TARGET_MICROSECONDS * scale
    print(
        f"  allowed on this machine: {allowed:.2f} us, that is {TARGET_MICROSECONDS} us where"
        f" encoding takes {ENCODE_MICROSECONDS} us"
    )
    return inline <= allowed and threaded <= allowed
