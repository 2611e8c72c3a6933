"""The HTTP collector keeps the contract of collectors, in both formats and over TLS."""

from __future__ import annotations

import contextlib
import gzip
import http.server
import json
import socket
import threading
from typing import TYPE_CHECKING, cast

import msgspec
import pytest
from structlog.testing import capture_logs

from trireme_collector.testing import CollectorContract, Fault
from trireme_collector_http import HttpCollector, HttpOptions

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

pytest.importorskip("httpx2", reason="the extra http is not installed")

_TABLES: dict[str, dict[str, object]] = {
    "json": {},
    "ndjson": {"format": "ndjson", "compression": "gzip"},
    "small-bodies": {"max_body_bytes": 4096},
    "tls": {},
}


class Receiver(http.server.ThreadingHTTPServer):
    """Keeps the records of each request, as far as it is there and takes them."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 32

    def __init__(self, port: int, context: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        if context is not None:
            self.socket = context.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )
        self.open_connections: set[socket.socket] = set()
        self.sequences: list[int] = []
        self.status = 204
        self.lock = threading.Lock()
        self.thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self.thread.start()

    def stop(self) -> None:
        self.shutdown()
        self.thread.join()
        self.server_close()
        with self.lock:
            for connection in self.open_connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of connections that break: the tests break them."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def receiver(self) -> Receiver:
        assert isinstance(self.server, Receiver)
        return self.server

    def setup(self) -> None:
        with self.receiver.lock:
            self.receiver.open_connections.add(cast("socket.socket", self.request))
        super().setup()

    def finish(self) -> None:
        super().finish()
        with self.receiver.lock:
            self.receiver.open_connections.discard(cast("socket.socket", self.request))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Content-Encoding"] == "gzip":
            body = gzip.decompress(body)
        is_lines = self.headers["Content-Type"] == "application/x-ndjson"
        records = [json.loads(line) for line in body.splitlines()] if is_lines else json.loads(body)
        if self.receiver.status == 204:
            with self.receiver.lock:
                self.receiver.sequences += [record["sequence"] for record in records]
        self.send_response(self.receiver.status)
        if self.receiver.status != 204:
            self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its own name
        """Say nothing."""


class HttpHarness:
    """A server of the standard library."""

    def __init__(self, context: ssl.SSLContext | None, table: dict[str, object]) -> None:
        self.context = context
        self.table = table
        self.receiver = Receiver(0, context)
        self.port = int(self.receiver.server_address[1])
        self.collectors: list[HttpCollector] = []

    def build(self) -> object:
        scheme = "http" if self.context is None else "https"
        table = {"url": f"{scheme}://127.0.0.1:{self.port}/records", **self.table}
        collector = HttpCollector(msgspec.convert(table, HttpOptions), name="contract")
        self.collectors.append(collector)
        return collector

    def received(self) -> Sequence[int]:
        # What was answered with 204 is in the list: there is nothing to wait for.
        return self.receiver.sequences

    def fail(self, fault: Fault) -> AbstractContextManager[object] | None:
        return self._away() if fault is Fault.AWAY else self._refuses()

    @contextlib.contextmanager
    def _away(self) -> Iterator[None]:
        before = self.receiver.sequences
        self.receiver.stop()
        try:
            yield
        finally:
            self.receiver = Receiver(self.port, self.context)
            self.receiver.sequences = before

    @contextlib.contextmanager
    def _refuses(self) -> Iterator[None]:
        self.receiver.status = 422
        try:
            yield
        finally:
            self.receiver.status = 204


class TestHttpCollector(CollectorContract):
    @pytest.fixture(params=_TABLES)
    def harness(
        self, request: pytest.FixtureRequest, tls: ssl.SSLContext, ca_file: str
    ) -> Iterator[HttpHarness]:
        table = _TABLES[request.param]
        if request.param == "tls":
            harness = HttpHarness(tls, {**table, "ca_file": ca_file})
        else:
            harness = HttpHarness(None, table)
        with capture_logs():
            yield harness
        for collector in harness.collectors:
            collector.close()
        harness.receiver.stop()
