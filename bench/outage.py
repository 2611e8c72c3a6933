"""A receiver that is down while records come in: what waits, what it costs, how fast it drains.

One process reports records at a constant rate to an HTTP server that is down, and to a file that
is not. Then the server comes back. `BENCH_OUTAGE_SECONDS` says for how long it is down.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import cast

import msgspec

from trireme_collector import AggregationConfig, DeliveryConfig, EndPoint, FlowRecord, Pipeline
from trireme_collector.delivery import SpoolConfig
from trireme_collector_file import FileCollector, FileOptions
from trireme_collector_http import HttpCollector, HttpOptions

__all__ = ["receive", "run", "send"]

OUTAGE_SECONDS = float(os.environ.get("BENCH_OUTAGE_SECONDS", "30"))
RECORDS_PER_SECOND = 6000
MEBIBYTES = 50.0
DRAIN = 2.0
_TICK_SECONDS = 0.02
_LONGEST_DRAIN = 2.0  # times the outage, and a little
_PORTION = 500


class _Numbered(msgspec.Struct):
    sequence: int


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    decoder = msgspec.json.Decoder(list[_Numbered])

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server = cast("_Receiver", self.server)
        for record in self.decoder.decode(body):
            server.count(record.sequence)
        self.send_response(204)
        self.end_headers()

    def do_GET(self) -> None:
        server = cast("_Receiver", self.server)
        answer = json.dumps([server.distinct, server.twice]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its own name
        """Say nothing."""


class _Receiver(HTTPServer):
    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.seen = bytearray()
        self.distinct = self.twice = 0

    def count(self, sequence: int) -> None:
        if sequence >= len(self.seen):
            self.seen.extend(bytes(sequence + 100_000))
        if self.seen[sequence]:
            self.twice += 1
        else:
            self.seen[sequence] = 1
            self.distinct += 1


def receive(port: int) -> None:
    """Be the server, until it is ended."""
    _Receiver(port).serve_forever()


def send(directory: str, port: int, outage_seconds: float) -> None:
    """Report, and print what was seen as JSON."""
    file = msgspec.convert({"path": f"{directory}/records.json"}, FileOptions)
    table = {"url": f"http://127.0.0.1:{port}/", "compression": "none"}
    http = msgspec.convert(table, HttpOptions)
    delivery = DeliveryConfig(
        state_directory=directory,
        retry_max_seconds=1.0,
        batch_records=_PORTION,
        spool=SpoolConfig(max_bytes=8 << 30),
    )
    pipeline = Pipeline(
        {"file": FileCollector(file, name="file"), "http": HttpCollector(http, name="http")},
        aggregation=AggregationConfig(window_seconds=0),
        delivery=delivery,
    ).start()
    report = _Reporter(pipeline)
    report.until(2.0)
    before = _resident_mebibytes()
    report.until(2.0 + outage_seconds)
    grown = _resident_mebibytes() - before
    file_left, left = (account.queued for account in pipeline.status().collectors)
    receiver = _start("receive", port)
    try:
        begin, given = time.monotonic(), report.count
        patience = outage_seconds * _LONGEST_DRAIN + 20
        while pipeline.status().collectors[1].queued > RECORDS_PER_SECOND // 10:
            report.until(time.monotonic() - report.begin + _TICK_SECONDS)
            if time.monotonic() - begin > patience:
                break
        seconds = time.monotonic() - begin
        drained = left + report.count - given
        most = _peak_mebibytes() - before
        complete = pipeline.close(60).complete
        distinct, twice = _ask(port)
    finally:
        receiver.kill()
        receiver.wait()
    figures = {
        "grown": grown,
        "most": most,
        "left": left,
        "file_left": file_left,
        "drain": drained / seconds / RECORDS_PER_SECOND,
        "given": report.count,
        "lost": report.count - distinct,
        "twice": twice,
        "complete": complete,
        "cpu": time.process_time() / report.count * 1e6,
    }
    print(json.dumps(figures))


class _Reporter:
    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.begin = time.monotonic()
        self.count = 0

    def until(self, seconds: float) -> None:
        """Report at the constant rate until so long after the begin."""
        while (elapsed := time.monotonic() - self.begin) < seconds:
            while self.count < elapsed * RECORDS_PER_SECOND:
                self.count += 1
                self.pipeline.collect_flow_event(
                    FlowRecord(
                        source=EndPoint(id="office", ip="192.0.2.1", port=self.count & 0xFFFF),
                        destination=EndPoint(id="web", ip="192.0.2.2", port=443),
                        policy_id="office-http",
                        count=1,
                    )
                )
            time.sleep(_TICK_SECONDS)


def run() -> bool:
    """Print what an outage costs."""
    with tempfile.TemporaryDirectory() as directory:
        probe = HTTPServer(("127.0.0.1", 0), _Handler)
        port = probe.server_port
        probe.server_close()
        command = f"from bench.outage import send; send({directory!r}, {port}, {OUTAGE_SECONDS})"
        done = subprocess.run(
            [sys.executable, "-c", command],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=True,
        )
        with Path(directory, "records.json").open("rb") as lines:
            written = sum(1 for _ in lines)
    seen = json.loads(done.stdout.splitlines()[-1])
    print(
        f"  {seen['given']} records, {seen['left']} waited after {OUTAGE_SECONDS:.0f} s,", end=" "
    )
    print(f"{seen['lost']} lost, {seen['twice']} twice; the file waited with {seen['file_left']}")
    print(f"  memory grew by {seen['grown']:.1f} MiB, {seen['most']:.1f} at most", end=" ")
    print(f"(target {MEBIBYTES:.0f})")
    print(f"  drained at {seen['drain']:.2f} x the intake (target {DRAIN})", end=", ")
    print(f"{seen['cpu']:.1f} us CPU per record for both collectors")
    met = seen["most"] <= MEBIBYTES and seen["drain"] >= DRAIN
    exact = seen["complete"] and seen["lost"] == 0 and written == seen["given"]
    return bool(met and exact)


def _start(name: str, port: int) -> subprocess.Popen[bytes]:
    command = f"from bench.outage import {name}; {name}({port})"
    return subprocess.Popen([sys.executable, "-c", command])


def _ask(port: int) -> tuple[int, int]:
    from urllib.request import urlopen  # only now: it would count as memory of the sender

    with urlopen(f"http://127.0.0.1:{port}/", timeout=30) as answer:
        distinct, twice = json.load(answer)
    return distinct, twice


def _resident_mebibytes() -> float:
    return _status("VmRSS:")


def _peak_mebibytes() -> float:
    return _status("VmHWM:")


def _status(key: str) -> float:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(key):
            return int(line.split()[1]) / 1024
    raise LookupError(key)
