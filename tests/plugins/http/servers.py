"""Servers on loopback: one that does as its script says, and an honest one."""

from __future__ import annotations

import contextlib
import gzip
import http.server
import json
import socket
import ssl
import threading
from typing import TYPE_CHECKING, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

DEADLINE_SECONDS = 20.0


class Request(NamedTuple):
    """A request as it came in."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def packet_ids(self) -> list[int]:
        """The numbers of the reports in the body."""
        body = self.body
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        if self.headers["content-type"] == "application/x-ndjson":
            return [json.loads(line)["packet_id"] for line in body.splitlines()]
        return [record["packet_id"] for record in json.loads(body)]


def answer(status: int = 200, body: bytes = b"", **headers: str) -> bytes:
    """Write an answer with its length."""
    lines = [f"HTTP/1.1 {status} Reason", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join((*lines, "", "")).encode() + body


class Step(NamedTuple):
    """What is done after one request.

    Attributes:
        data: What is sent at once.
        then_close: Whether the connection ends with that.
        endless: What is sent again and again after that, until the client goes away.
        pause_seconds: How long to wait each time.
    """

    data: bytes
    then_close: bool = False
    endless: bytes = b""
    pause_seconds: float = 0.0


class ScriptedServer:
    """Answers request after request as its script says, then with status 200.

    Args:
        context: TLS, if it is to be spoken.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.script: list[Step | bytes] = []
        self.requests: list[Request] = []
        self.connections = 0
        self.sent = 0
        self._context = context
        self._stop = threading.Event()
        self._talks: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.05)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        port = self._listener.getsockname()[1]
        assert isinstance(port, int)
        return port

    @property
    def url(self) -> str:
        scheme = "https" if self._context else "http"
        return f"{scheme}://127.0.0.1:{self.port}/records"

    def close(self) -> None:
        self._stop.set()
        for thread in (self._thread, *self._talks):
            thread.join(DEADLINE_SECONDS)
        self._listener.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            self.connections += 1
            number = self.connections
            thread = threading.Thread(target=self._talk, args=(connection, number), daemon=True)
            self._talks.append(thread)
            thread.start()

    def _talk(self, connection: socket.socket, number: int) -> None:
        connection.settimeout(DEADLINE_SECONDS)
        with contextlib.suppress(OSError), connection:
            if self._context is None:
                self._serve(connection, number)
            else:
                with self._context.wrap_socket(connection, server_side=True) as secured:
                    self._serve(secured, number)

    def _serve(self, connection: socket.socket, number: int) -> None:
        connection.settimeout(0.05)
        while (request := self._read(connection, number)) is not None:
            self.requests.append(request)
            step = self.script.pop(0) if self.script else answer()
            if isinstance(step, bytes):
                step = Step(step)
            connection.sendall(step.data)
            while step.endless and not self._stop.wait(step.pause_seconds):
                connection.sendall(step.endless)
                self.sent += len(step.endless)
            if step.then_close:
                return

    def _read(self, connection: socket.socket, number: int) -> Request | None:
        data = b""
        while b"\r\n\r\n" not in data:
            chunk = self._receive(connection)
            if not chunk:
                return None
            data += chunk
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines)}
        while len(body) < int(headers.get("content-length", "0")):
            chunk = self._receive(connection)
            if not chunk:
                return None
            body += chunk
        method, target, _ = first.split(" ")
        return Request(method, target, headers, body, number)

    def _receive(self, connection: socket.socket) -> bytes:
        while not self._stop.is_set():
            try:
                return connection.recv(65_536)
            except TimeoutError:
                continue
        return b""


class HonestServer:
    """A server of the standard library that keeps connections and judges each record.

    Args:
        context: TLS, if it is to be spoken.
        refuse: Gives the status for the records of a request.
    """

    def __init__(
        self,
        context: ssl.SSLContext | None = None,
        refuse: Callable[[Request], int] = lambda _: 204,
    ) -> None:
        self.requests: list[Request] = []
        self.taken: list[int] = []
        self.refuse = refuse
        self.peers: list[object] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                number = self.client_address[1]
                request = Request("POST", self.path, headers, body, number)
                outer.requests.append(request)
                if isinstance(self.connection, ssl.SSLSocket):
                    outer.peers.append(self.connection.getpeercert())
                status = outer.refuse(request)
                if status < 300:
                    outer.taken += request.packet_ids
                self.send_response(status)
                if status != 204:
                    self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its own name
                """Say nothing."""

        self._server = _QuietServer(("127.0.0.1", 0), Handler)
        if context is not None:
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        scheme = "https" if context else "http"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}/records"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.daemon = True
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join(DEADLINE_SECONDS)
        self._server.server_close()


class _QuietServer(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that break off: the tests make them."""


def server_context(certificate: object, **versions: ssl.TLSVersion) -> ssl.SSLContext:
    """Make the TLS of a server from a `trustme` certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for name, version in versions.items():
        setattr(context, name, version)
    configure = cast("Callable[[ssl.SSLContext], None]", getattr(certificate, "configure_cert"))  # noqa: B009  trustme is optional to the checker
    configure(context)
    return context


def numbers(requests: Iterable[Request]) -> list[list[int]]:
    """Give the numbers of the reports of each request."""
    return [request.packet_ids for request in requests]
