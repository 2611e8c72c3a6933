"""A server on loopback to which collectors push, in as much as all such servers are alike."""

from __future__ import annotations

import abc
import contextlib
import http.server
import socket
import threading
from typing import TYPE_CHECKING, TypeAlias, cast

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Mapping

__all__ = ["PushAnswer", "PushReceiver"]

PushAnswer: TypeAlias = tuple[int, dict[str, str], bytes]
"""A status, headers and a body."""


class PushReceiver(http.server.ThreadingHTTPServer, abc.ABC):
    """Takes pushes until it is stopped; what becomes of them a subclass says.

    It serves from its construction on: a subclass sets its own attributes first.

    Args:
        context: TLS, if it is to be spoken.

    Attributes:
        targets: The path of each request.
        lock: Is held while a push is answered.
        open_connections: The connections that are open now.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 32

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self._context = context
        self.targets: list[str] = []
        self.lock = threading.Lock()
        self.open_connections: set[socket.socket] = set()
        self._serve()

    @property
    def url(self) -> str:
        scheme = "http" if self._context is None else "https"
        return f"{scheme}://127.0.0.1:{self.server_address[1]}"

    def stop(self) -> None:
        """Serve no more, and break the connections that are open."""
        self.shutdown()
        self._thread.join()
        self.server_close()
        with self.lock:
            for connection in self.open_connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Be gone for a while; then be back at the same port, with what was taken before."""
        self.stop()
        try:
            yield
        finally:
            self.socket = socket.socket(self.address_family, self.socket_type)
            self.server_bind()
            self.server_activate()
            self._serve()

    def _serve(self) -> None:
        if self._context is not None:
            self.socket = self._context.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self._thread.start()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of connections that break: the tests break them."""

    @abc.abstractmethod
    def answer(self, headers: Mapping[str, str], body: bytes) -> PushAnswer:
        """Take a push, or refuse it.

        Args:
            headers: Its headers, by their names as they were sent.
            body: Its body.
        """


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def receiver(self) -> PushReceiver:
        assert isinstance(self.server, PushReceiver)
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
        with self.receiver.lock:
            self.receiver.targets.append(self.path)
            headers = {name: str(self.headers[name]) for name in self.headers}
            status, own, answer = self.receiver.answer(headers, body)
        self.send_response(status)
        for name, value in own.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its own name
        """Say nothing."""
