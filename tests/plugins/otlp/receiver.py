"""A receiver of OTLP logs on loopback."""

from __future__ import annotations

import contextlib
import http.server
import socket
import threading
from typing import cast

from tests.plugins.otlp.decoding import Seen, decode

__all__ = ["OtlpReceiver"]


class OtlpReceiver(http.server.ThreadingHTTPServer):
    """Keeps the log records of each request, as far as it is there and takes them.

    Attributes:
        seen: What it took.
        targets: The path of each request.
        script: Answers to give instead: status, type of the body, body.
        status: The status of every other answer.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 32

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.seen: list[Seen] = []
        self.targets: list[str] = []
        self.script: list[tuple[int, str, bytes]] = []
        self.status = 200
        self.lock = threading.Lock()
        self.open_connections: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def stop(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()
        with self.lock:
            for connection in self.open_connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of connections that break: the tests break them."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def receiver(self) -> OtlpReceiver:
        assert isinstance(self.server, OtlpReceiver)
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
        headers = {name: str(self.headers[name]) for name in self.headers}
        kind, answer = headers["Content-Type"], b""
        with self.receiver.lock:
            self.receiver.targets.append(self.path)
            if self.receiver.script:
                status, kind, answer = self.receiver.script.pop(0)
            else:
                status = self.receiver.status
                if status == 200:
                    self.receiver.seen += decode(headers, body)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its own name
        """Say nothing."""
