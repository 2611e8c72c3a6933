"""The server side of the monitor protocol 1.2: every client gets its own session.

Nobody waits for a client. What it does not take is kept up to a limit; then messages are counted
in place of being kept, and the client is told how many as soon as it takes something again.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

from trireme_collector.errors import ConfigError
from trireme_collector.socket_path import SocketBusyError, SocketPath, explain_socket_error
from trireme_datapath.monitor.sources import PAYLOAD_SCHEMA, PayloadType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Self

__all__ = ["MonitorServer", "SocketBusyError"]

_PREFIX: Final = "[publish] "
_BACKLOG: Final = 8
_ACCEPTED_PER_TURN: Final = 8
_PIECE_BYTES: Final = 1 << 16


def _nothing() -> tuple[bytes, ...]:
    return ()


class _Client:
    """One who listens."""

    def __init__(self, connection: socket.socket, limit_bytes: int) -> None:
        self._connection = connection
        self._limit = limit_bytes
        self._buffer = bytearray(PAYLOAD_SCHEMA.definitions)
        self._lost = 0
        self.gone = False

    def put(self, payload: bytes) -> bool:
        """Keep a payload for the client; False when there is no room for it."""
        if len(self._buffer) + len(payload) > self._limit:
            self.flush()
        if self._lost or len(self._buffer) + len(payload) > self._limit:
            self._lost += 1
            return False
        self._buffer += payload
        return True

    def flush(self) -> None:
        """Send what the client takes, without waiting for it."""
        while not self.gone:
            try:
                while self._buffer:
                    sent = self._connection.send(self._buffer[:_PIECE_BYTES], socket.MSG_NOSIGNAL)
                    del self._buffer[:sent]
            except BlockingIOError:
                pass
            except OSError:
                self.gone = True
            # Only half the room or less: a client at its limit would be told of every message.
            if not self._lost or len(self._buffer) > self._limit // 2:
                return
            told = {"Lost": self._lost, "Type": int(PayloadType.LOST)}
            self._buffer += PAYLOAD_SCHEMA.encode({**told})
            self._lost = 0

    def look(self) -> None:
        """Notice that the client went away; what it says is not listened to."""
        try:
            self.gone = self.gone or not self._connection.recv(_PIECE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self.gone = True

    def close(self) -> None:
        """End the session."""
        self._connection.close()


class MonitorServer:
    """Publishes messages to everybody who is connected.

    Args:
        path: The socket.
        mode: Who may connect, as the permissions of a file.
        max_clients: How many may be connected at once; others are sent away.
        client_bytes: How much is kept for a client that is slow.
        greeting: Gives the messages that a new client gets first.

    Attributes:
        counters: ``clients`` that came, ``refused`` clients, ``messages`` that were published
            while somebody listened, ``lost`` messages, each counted for every client that missed
            it.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        mode: int = 0o600,
        max_clients: int = 8,
        client_bytes: int = 1 << 20,
        greeting: Callable[[], Iterable[bytes]] = _nothing,
    ) -> None:
        """Keep where to listen; nothing is opened."""
        self.counters = {"clients": 0, "refused": 0, "messages": 0, "lost": 0}
        self._path = Path(path)
        self._mode = mode
        self._max_clients = max_clients
        self._client_bytes = client_bytes
        self._greeting = greeting
        self._clients: list[_Client] = []
        self._listener: socket.socket | None = None
        self._held: SocketPath | None = None

    def open(self) -> Self:
        """Listen.

        Raises:
            SocketBusyError: Another process does already.
            ConfigError: The socket cannot be made.
        """
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            self._held = SocketPath(self._path, prefix=_PREFIX)
            # Before it has a name, so that nobody gets in between.
            os.fchmod(listener.fileno(), self._mode)
            listener.bind(str(self._path))
            self._held.own()
            self._path.chmod(self._mode)
            listener.listen(_BACKLOG)
            listener.settimeout(0)
        except OSError as error:
            listener.close()
            self._let_go()
            msg = explain_socket_error(error, self._path, prefix=_PREFIX)
            raise ConfigError(msg) from error
        except ConfigError:
            listener.close()
            raise
        self._listener = listener
        return self

    def close(self) -> None:
        """Send what clients take, end all sessions and remove the socket."""
        for client in self._clients:
            client.flush()
            client.close()
        self._clients.clear()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            self._let_go()

    @property
    def watched(self) -> bool:
        """Whether anybody listens: without listeners no message has to be made."""
        return bool(self._clients)

    def publish(self, message: bytes, cpu: int = 0) -> None:
        """Give a message to all clients; it leaves at once or with the next `turn`."""
        if not self._clients:
            return
        self.counters["messages"] += 1
        payload = _encode(message, cpu)
        for client in self._clients:
            if not client.put(payload):
                self.counters["lost"] += 1

    def turn(self) -> None:
        """Accept who came, send what is kept, forget who went; call it often, it never waits."""
        self._accept()
        if not self._clients:
            return
        for client in self._clients:
            client.look()
            client.flush()
            if client.gone:
                client.close()
        self._clients = [client for client in self._clients if not client.gone]

    def _accept(self) -> None:
        if self._listener is None:
            return
        for _ in range(_ACCEPTED_PER_TURN):
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # nobody waits, or whoever did went away again
            if len(self._clients) >= self._max_clients:
                self.counters["refused"] += 1
                connection.close()
                continue
            connection.settimeout(0)
            self.counters["clients"] += 1
            client = _Client(connection, self._client_bytes)
            for message in self._greeting():
                client.put(_encode(message, 0))
            self._clients.append(client)

    def _let_go(self) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None


def _encode(message: bytes, cpu: int) -> bytes:
    return PAYLOAD_SCHEMA.encode({"Data": message, "CPU": cpu, "Type": int(PayloadType.SAMPLE)})
