"""A Loki as far as pushes go: it decodes them, and refuses lines as Loki does."""

from __future__ import annotations

import contextlib
import datetime
import http.server
import socket
import threading
from typing import TYPE_CHECKING, cast

from tests.plugins.loki.decoding import Line, decode_push

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LokiReceiver"]


class LokiReceiver(http.server.ThreadingHTTPServer):
    """Keeps the lines of each push, as far as it is there and takes them.

    Attributes:
        lines: What it took, in the order in which it came; a line that is in its stream already,
            with the same time, is taken once, as Loki does.
        pushes: How many requests there were.
        script: Answers to give instead, one for each request: status, headers, body.
        oldest_ns: Lines before that are too old; the others of the push are taken.
        refuses: Says why a line is refused for another reason, or "".
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 32

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.lines: list[Line] = []
        self.tenants: list[str | None] = []
        self.targets: list[str] = []
        self.script: list[tuple[int, dict[str, str], bytes]] = []
        self.oldest_ns = 0
        self.refuses: Callable[[Line], str] = lambda _: ""
        self.lock = threading.Lock()
        self._known: set[tuple[object, int, str]] = set()
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def pushes(self) -> int:
        return len(self.targets)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def stop(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()
        with self.lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of connections that break: the tests break them."""

    def take(self, lines: list[Line]) -> tuple[int, bytes]:
        """Take what is good of a push, and complain about the rest, as Loki does."""
        complaint = ""
        for line in lines:
            labels = "{" + ", ".join(f'{name}="{value}"' for name, value in line.stream) + "}"
            if line.time_ns < self.oldest_ns:
                complaint = (
                    f"entry for stream '{labels}' has timestamp too old: {_rfc3339(line.time_ns)},"
                    f" oldest acceptable timestamp is: {_rfc3339(self.oldest_ns)}"
                )
            elif reason := self.refuses(line):
                complaint = reason
            elif (key := (line.stream, line.time_ns, line.text)) not in self._known:
                self._known.add(key)
                self.lines.append(line)
        return (400, complaint.encode()) if complaint else (204, b"")


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def receiver(self) -> LokiReceiver:
        assert isinstance(self.server, LokiReceiver)
        return self.server

    def setup(self) -> None:
        with self.receiver.lock:
            self.receiver._open.add(cast("socket.socket", self.request))
        super().setup()

    def finish(self) -> None:
        super().finish()
        with self.receiver.lock:
            self.receiver._open.discard(cast("socket.socket", self.request))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        kind, encoding = self.headers["Content-Type"], self.headers.get("Content-Encoding", "")
        with self.receiver.lock:
            self.receiver.targets.append(self.path)
            self.receiver.tenants.append(self.headers.get("X-Scope-OrgID"))
            headers: dict[str, str] = {}
            if self.receiver.script:
                status, headers, answer = self.receiver.script.pop(0)
            else:
                status, answer = self.receiver.take(decode_push(kind, encoding, body))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its own name
        """Say nothing."""


def _rfc3339(time_ns: int) -> str:
    moment = datetime.datetime.fromtimestamp(time_ns // 1_000_000_000, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
