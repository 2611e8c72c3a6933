"""Sockets to a collecting process, and what they say of what was sent."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket
import struct
import termios
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from trireme_collector_ipfix._options import IpfixOptions

__all__ = ["Connection", "explain"]

_DEAD_PEER_MS = 30_000  # data that nobody acknowledges for so long breaks the connection
_SHORTEST_LOOK, _LONGEST_LOOK = 0.000_5, 0.05
_INT = struct.Struct("i")


class Connection:
    """A connected socket.

    Raises:
        OSError: The host cannot be reached.
    """

    def __init__(
        self, options: IpfixOptions, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Connect."""
        self._is_stream = options.transport == "tcp"
        self._patience = options.send_timeout_seconds
        self._monotonic = monotonic
        kind = socket.SOCK_STREAM if self._is_stream else socket.SOCK_DGRAM
        self._socket = _connect(options.host, options.port, kind, options.connect_timeout_seconds)
        self._socket.settimeout(options.send_timeout_seconds)

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def send(self, message: bytes) -> None:
        """Hand a message to the kernel.

        Raises:
            OSError: It does not take it.
        """
        if self._is_stream:
            self._socket.sendall(message)
        else:
            self._socket.send(message)

    def check_peer(self) -> None:
        """Look whether the other side is still there; datagrams do not tell.

        Raises:
            OSError: It has gone.
        """
        if not self._is_stream or not self._has_news(0.0):
            return
        # It never says anything: there is its end to read, or an error.
        if not self._socket.recv(1, socket.MSG_PEEK):
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))

    def settle(self) -> None:
        """Wait until the other host has acknowledged all of it.

        Raises:
            OSError: It has not.
        """
        if not self._is_stream:
            return
        limit = self._monotonic() + self._patience
        look = _SHORTEST_LOOK
        while True:
            (waiting,) = _INT.unpack(fcntl.ioctl(self._socket, termios.TIOCOUTQ, bytes(_INT.size)))
            number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if number:
                raise OSError(number, os.strerror(number))
            if not waiting:
                return
            if self._monotonic() >= limit:
                raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
            if self._has_news(look):
                self.check_peer()
            look = min(2 * look, _LONGEST_LOOK)

    def _has_news(self, seconds: float) -> bool:
        # Not select(): it knows no descriptor from 1024 on.
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(seconds * 1000))


def explain(error: OSError) -> str:
    """Say why nothing goes there, and what to do."""
    if isinstance(error, socket.gaierror):
        return f"the name cannot be resolved ({error.strerror}); check host"
    if isinstance(error, TimeoutError):
        return "no answer in time; check that the receiver runs and is not stalled"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there; start the receiver or check host and port"
    return f"{(error.strerror or str(error)).lower()}; check that the receiver runs"


def _connect(host: str, port: int, kind: int, seconds: float) -> socket.socket:
    last: OSError | None = None
    for family, _, _, _, address in socket.getaddrinfo(host, port, type=kind):
        connection = socket.socket(family, kind)
        try:
            connection.settimeout(seconds)
            connection.connect(address)
            if kind == socket.SOCK_STREAM:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_PEER_MS)
        except OSError as error:
            connection.close()
            last = error
            continue
        return connection
    raise last or OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
