"""What a record costs through each collector, and through the spool, side by side in one run.

Receivers are processes of their own on loopback, so the processor time is the sender's alone. They
read what comes, take HTTP and RELP apart, answer, and throw the records away.
"""

from __future__ import annotations

import contextlib
import http.server
import multiprocessing
import ssl
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import trustme

from bench.figures import interleave, show
from bench.pipeline import make_records
from bench.syslog import open_collector, open_receivers
from trireme_collector import encode_msgpack
from trireme_collector.delivery.spool import FsyncMode, Spool, SpoolConfig
from trireme_collector_file import FileCollector, FileOptions
from trireme_collector_http import HttpCollector, HttpOptions
from trireme_collector_loki import LokiCollector, LokiOptions
from trireme_collector_otlp import OtlpCollector, OtlpOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from trireme_collector import FlowRecord

    Deliver = Callable[[Sequence[FlowRecord]], object]

RUNS = 5
RECORDS = 20_000
BATCH = 500
# Twice the 6,000 records a second that the promises speak of: so fast a receiver that was down is
# caught up with while new records come.
TARGET_THOUSANDS = 12.0
_FORK = multiprocessing.get_context("fork")


class _Taker(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and end of an answer in one packet.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """Read the body and take it."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its own name
        """Say nothing."""


@contextlib.contextmanager
def _http_receiver(context: ssl.SSLContext | None) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Taker)
    if context is not None:
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    process = _FORK.Process(target=server.serve_forever, daemon=True)
    process.start()
    try:
        yield f"{'http' if context is None else 'https'}://127.0.0.1:{server.server_port}/records"
    finally:
        process.kill()
        process.join()
        server.server_close()


def _http(stack: contextlib.ExitStack, url: str, **options: object) -> Deliver:
    collector = HttpCollector(msgspec.convert({"url": url, **options}, HttpOptions), name="bench")
    collector.open()
    stack.callback(collector.close)
    return collector.deliver


def _loki(stack: contextlib.ExitStack, url: str, **options: object) -> Deliver:
    collector = LokiCollector(msgspec.convert({"url": url, **options}, LokiOptions), name="bench")
    collector.open()
    stack.callback(collector.close)
    return collector.deliver


def _otlp(stack: contextlib.ExitStack, url: str, **options: object) -> Deliver:
    collector = OtlpCollector(msgspec.convert({"url": url, **options}, OtlpOptions), name="bench")
    collector.open()
    stack.callback(collector.close)
    return collector.deliver


def _file(stack: contextlib.ExitStack, path: Path, **options: object) -> Deliver:
    config = msgspec.convert({"path": str(path), **options}, FileOptions)
    collector = FileCollector(config, name="bench")
    collector.open()
    stack.callback(collector.close)
    if config.compression == "none":
        return collector.deliver

    def deliver(batch: Sequence[FlowRecord]) -> None:
        collector.deliver(batch)
        # What is done in the background is a part of the cost, and must not burden the next one.
        collector.wait_idle()

    return deliver


def _syslog(stack: contextlib.ExitStack, options: dict[str, object]) -> Deliver:
    collector = open_collector(options)
    stack.callback(collector.close)
    return collector.deliver


def _spool(stack: contextlib.ExitStack, directory: Path) -> Deliver:
    """Append to a spool and take the records out again, as a worker does."""
    spool = stack.enter_context(Spool.open(directory, SpoolConfig(fsync=FsyncMode.INTERVAL)))
    reader = spool.reader("bench")

    def deliver(batch: Sequence[FlowRecord]) -> None:
        now_ns = time.monotonic_ns()
        spool.append([encode_msgpack(record) for record in batch], now_ns)
        spool.tick(now_ns)
        taken = reader.read(len(batch))
        reader.acknowledge(taken.sequences[-1])

    return deliver


def _contenders(stack: contextlib.ExitStack) -> dict[str, Deliver]:
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    plain = stack.enter_context(_http_receiver(None))
    secure = stack.enter_context(_http_receiver(context))
    syslog = stack.enter_context(open_receivers())
    packed = {"rotate_bytes": 10_000_000, "keep": 2, "compression": "gzip"}
    return {
        "spool only": _spool(stack, directory / "spool"),
        "file": _file(stack, directory / "plain.jsonl"),
        "file, fsync always": _file(stack, directory / "safe.jsonl", fsync="always"),
        "file, compressed": _file(stack, directory / "packed.jsonl", **packed),
        **{f"syslog, {name}": _syslog(stack, options) for name, options in syslog.items()},
        "http": _http(stack, plain),
        "http, ndjson, gzip": _http(stack, plain, format="ndjson", compression="gzip"),
        "https": _http(stack, secure, ca_file=str(directory / "ca.pem")),
        "loki": _loki(stack, plain),
        "loki, all records": _loki(stack, plain, format="json"),
        "otlp": _otlp(stack, plain),
        "otlp, json": _otlp(stack, plain, encoding="json"),
    }


def run() -> bool:
    """Measure the processor time a record, and how many go in a second."""
    records = make_records()[:RECORDS]
    wall: dict[str, list[float]] = {}

    def timed(name: str, deliver: Deliver) -> float:
        begin, spent = time.monotonic(), time.process_time()
        for start in range(0, len(records), BATCH):
            deliver(records[start : start + BATCH])
        wall.setdefault(name, []).append(len(records) / (time.monotonic() - begin) / 1000)
        return (time.process_time() - spent) / len(records) * 1e6

    with contextlib.ExitStack() as stack:
        contenders = _contenders(stack)
        for name, deliver in contenders.items():
            timed(name, deliver)  # the first batch connects
        wall.clear()
        figures = interleave(
            RUNS,
            {name: (lambda n=name, d=deliver: timed(n, d)) for name, deliver in contenders.items()},  # type: ignore[misc]  # bound at once
        )
    slowest = min(
        show(f"{name}: thousand records a second", wall[name], "k/s") for name in contenders
    )
    for name in contenders:
        show(f"{name}: processor time a record", figures[name], "us")
    return slowest >= TARGET_THOUSANDS
