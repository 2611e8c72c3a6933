"""What a record costs into the spool and out of it, and how long a full one takes to start."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.figures import interleave, show
from trireme_collector import EndPoint, FlowRecord, decode_msgpack, encode_msgpack
from trireme_collector.delivery.spool import FsyncMode, Spool, SpoolConfig
from trireme_collector.delivery.spool._segment import Segment, encode_header

RUNS = 5
BATCHES = 500
BATCH = 100
APPEND_MICROSECONDS = 6.0
START_SECONDS = 5.0
START_MEBIBYTES = 50.0
FULL_BYTES = 10 * 1024**3
_SECOND = 1_000_000_000


def _records() -> list[FlowRecord]:
    return [
        FlowRecord(
            context_id="ctx-web",
            namespace="/shop",
            source=EndPoint(id="office", ip=f"192.0.2.{n & 255}", port=n & 0xFFFF),
            destination=EndPoint(id="web", ip="10.0.0.2", port=443),
            tags=("app=web", "env=prod"),
            policy_id="office-http",
            count=1,
            packets=1,
            bytes=60,
            start_time_ns=1_700_000_000_000_000_000,
            instance="bench",
            epoch=1_700_000_000_000_000_000,
            sequence=n,
        )
        for n in range(BATCH)
    ]


def _append(directory: Path, mode: FsyncMode, records: list[FlowRecord]) -> float:
    """Encode and append, in batches; fsync as the mode says."""
    path = directory / f"{mode}-{time.monotonic_ns()}"
    with Spool.open(path, SpoolConfig(fsync=mode)) as spool:
        spool.reader("a")
        begin = time.process_time()
        for number in range(BATCHES):
            spool.append([encode_msgpack(record) for record in records], number)
            if number % 20 == 0:
                spool.tick(number * _SECOND)
        return (time.process_time() - begin) / (BATCHES * BATCH) * 1e6


def _read(directory: Path, records: list[FlowRecord], *, decode: bool) -> float:
    """Read, decode and acknowledge in batches of 500."""
    path = directory / f"read-{time.monotonic_ns()}"
    with Spool.open(path, SpoolConfig(fsync=FsyncMode.NEVER)) as spool:
        reader = spool.reader("a")
        payloads = [encode_msgpack(record) for record in records]
        for number in range(BATCHES):
            spool.append(payloads, number)
        begin = time.process_time()
        while (batch := reader.read(500)).payloads:
            if decode:
                for payload in batch.payloads:
                    decode_msgpack(payload)
            reader.acknowledge(batch.sequences[-1])
        return (time.process_time() - begin) / (BATCHES * BATCH) * 1e6


def _fill(path: Path) -> None:
    """Make a spool of 10 GiB: heads of segments in sparse files, and a full last segment."""
    config = SpoolConfig(max_bytes=2 * FULL_BYTES, fsync=FsyncMode.NEVER)
    with Spool.open(path, config) as spool:
        spool.reader("a")
        payload = [os.urandom(330)] * 1000
        while spool.status().size_bytes < config.segment_bytes - 400_000:
            spool.append(payload, 0)
        (last,) = path.glob("*.segment")
        seed = spool.log.seed
    count = FULL_BYTES // config.segment_bytes
    moved = Segment(count * 1000, count, seed)
    content = last.read_bytes()[64:]
    last.unlink()
    (path / moved.name).write_bytes(encode_header(moved, 0) + content)
    for number in range(count - 1):
        segment = Segment(number * 1000 + 1, number + 1, seed)
        with (path / segment.name).open("wb") as file:
            file.write(encode_header(segment, 0))
            file.truncate(config.segment_bytes)


def _start(path: Path) -> tuple[float, float]:
    """Start in a fresh process; give seconds and the mebibytes that it took more."""
    code = f"from bench.spool import measure_start; measure_start({str(path)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, mebibytes = map(float, done.stdout.split())
    return seconds, mebibytes


def measure_start(path: str) -> None:
    """Start, and print the seconds and the mebibytes that it took."""
    before = _peak_kibibytes()
    begin = time.perf_counter()
    spool = Spool.open(path, SpoolConfig(max_bytes=2 * FULL_BYTES))
    seconds = time.perf_counter() - begin
    after = _peak_kibibytes()
    spool.close()
    print(seconds, (after - before) / 1024)


def _peak_kibibytes() -> int:
    # Not getrusage(): its peak is that of the process that started this one.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0])


def run() -> bool:
    """Measure appending, reading and starting."""
    records = _records()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        figures = interleave(
            RUNS,
            {
                "encode": lambda: _encode(records),
                "never": lambda: _append(directory, FsyncMode.NEVER, records),
                "interval": lambda: _append(directory, FsyncMode.INTERVAL, records),
                "read": lambda: _read(directory, records, decode=False),
                "decode": lambda: _read(directory, records, decode=True),
            },
        )
        full = directory / "full"
        _fill(full)
        starts = [_start(full) for _ in range(3)]
    show("encode a record alone", figures["encode"], "us")
    show("encode and append, fsync never", figures["never"], "us")
    append = show("encode and append, fsync interval", figures["interval"], "us")
    show("read and acknowledge", figures["read"], "us")
    show("read, decode and acknowledge", figures["decode"], "us")
    seconds = show("start of a spool of 10 GiB", [start[0] for start in starts], "s")
    mebibytes = show("memory that the start takes", [start[1] for start in starts], "MiB")
    return (
        append <= APPEND_MICROSECONDS and seconds <= START_SECONDS and mebibytes <= START_MEBIBYTES
    )


def _encode(records: list[FlowRecord]) -> float:
    begin = time.process_time()
    for _ in range(BATCHES):
        for record in records:
            encode_msgpack(record)
    return (time.process_time() - begin) / (BATCHES * BATCH) * 1e6
