"""What the mock brokers lack: TLS and SASL, spoken by a proxy in front of one of them.

The broker must advertise the proxy's port, or clients would go past it.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from tests.plugins.kafka.scram import ScramServer

__all__ = ["Proxy"]

_API_VERSIONS, _HANDSHAKE, _AUTHENTICATE = 18, 17, 36
_DENIED, _NO_SUCH_MECHANISM = 58, 33


class Proxy:
    """Passes requests on, but for those that log in.

    Args:
        broker: Where the broker is, ``host:port``.
        context: TLS, if it is to be spoken.
        check: Says whether a user and password will do, with PLAIN.
        scram: Makes what asks for a password with SCRAM. Without it and ``check``, nobody is asked.
    """

    def __init__(
        self,
        broker: str,
        *,
        context: ssl.SSLContext | None = None,
        check: Callable[[str, str], bool] | None = None,
        scram: Callable[[], ScramServer] | None = None,
    ) -> None:
        host, _, port = broker.rpartition(":")
        self._broker = (host, int(port))
        self._context = context
        self._check = check
        self._scram = scram
        self._asks = check is not None or scram is not None
        self.logins: list[str] = []
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        """End all connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.interrupt()
        for thread in self._threads:
            thread.join(5)

    def interrupt(self) -> None:
        """Break the connections that are open."""
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, plain: socket.socket) -> None:
        self._open.add(plain)
        client = plain
        try:
            if self._context is not None:
                client = self._context.wrap_socket(plain, server_side=True)
                self._open.add(client)
            with client, socket.create_connection(self._broker) as broker:
                self._open.add(broker)
                scram = self._scram() if self._scram else None
                while self._exchange(client, broker, scram):
                    pass
                self._open.discard(broker)
        except (OSError, struct.error):
            plain.close()
        finally:
            self._open -= {plain, client}

    def _exchange(
        self, client: socket.socket, broker: socket.socket, scram: ScramServer | None
    ) -> bool:
        """Pass on one request and its answer; the client waits for each on its side."""
        request = _receive(client)
        if request is None:
            return False
        key, _version, correlation = struct.unpack_from(">hhi", request)
        if self._asks and key == _HANDSHAKE:
            wanted = scram.mechanism if scram else "PLAIN"
            error = 0 if _texts(request)[0].decode() == wanted else _NO_SUCH_MECHANISM
            body = struct.pack(">hi", error, 1) + _text(wanted)
            return _send(client, struct.pack(">i", correlation) + body)
        if self._asks and key == _AUTHENTICATE:
            return self._log_in(client, request, correlation, scram)
        _send(broker, request)
        answer = _receive(broker)
        if answer is None:
            return False
        if self._asks and key == _API_VERSIONS:
            answer = _with_sasl(answer)
        return _send(client, answer)

    def _log_in(
        self, client: socket.socket, request: bytes, correlation: int, scram: ScramServer | None
    ) -> bool:
        (client_id,) = struct.unpack_from(">h", request, 8)
        said = request[10 + client_id + 4 :].decode()
        if scram is not None:
            answer = scram.answer(said)
            user = scram.user
        else:
            assert self._check is not None
            _, user, password = said.split("\0")
            answer = "" if self._check(user, password) else None
        self.logins.append(user)
        if answer is not None:
            body = struct.pack(">hhi", 0, -1, len(answer)) + answer.encode()
        else:
            body = struct.pack(">h", _DENIED) + _text("Authentication failed") + bytes(4)
        return _send(client, struct.pack(">i", correlation) + body)


def _with_sasl(answer: bytes) -> bytes:
    """Add the two requests of SASL to a list of versions; the mock lists them in version 0."""
    correlation, error, count = struct.unpack_from(">ihi", answer)
    if error:
        return answer  # the client asks again with version 0
    more = struct.pack(">hhh", _HANDSHAKE, 0, 1) + struct.pack(">hhh", _AUTHENTICATE, 0, 0)
    return struct.pack(">ihi", correlation, error, count + 2) + answer[10:] + more


def _texts(request: bytes) -> list[bytes]:
    """Give the texts behind the id of the client, which is one itself."""
    found, place = [], 8
    while place < len(request):
        (length,) = struct.unpack_from(">h", request, place)
        found.append(request[place + 2 : place + 2 + length])
        place += 2 + length
    return found[1:]


def _text(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()


def _receive(connection: socket.socket) -> bytes | None:
    head = _exactly(connection, 4)
    return None if head is None else _exactly(connection, struct.unpack(">i", head)[0])


def _exactly(connection: socket.socket, count: int) -> bytes | None:
    found = b""
    while len(found) < count:
        data = connection.recv(count - len(found))
        if not data:
            return None
        found += data
    return found


def _send(connection: socket.socket, message: bytes) -> bool:
    connection.sendall(struct.pack(">i", len(message)) + message)
    return True
