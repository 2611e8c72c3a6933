"""Connected sockets to a syslog server."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trireme_collector_syslog._options import SyslogOptions

__all__ = ["connect", "is_stream"]

_DEAD_PEER_MS = 30_000  # data that nobody acknowledges for so long breaks the connection


def connect(options: SyslogOptions) -> socket.socket:
    """Connect to the server, without TLS.

    The timeout of the socket is that for connecting.

    Raises:
        OSError: It cannot be reached.
    """
    seconds = options.connect_timeout_seconds
    if options.transport == "unix":
        return _connect_unix(options.address, seconds)
    if options.transport == "udp":
        return _connect_udp(options.host, options.server_port, seconds)
    connection = socket.create_connection((options.host, options.server_port), seconds)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_PEER_MS)
    return connection


def is_stream(connection: socket.socket) -> bool:
    """Whether messages have to be framed on this socket."""
    return connection.type == socket.SOCK_STREAM


def _connect_unix(address: str, timeout_seconds: float) -> socket.socket:
    try:
        return _connect_one(socket.AF_UNIX, socket.SOCK_DGRAM, address, timeout_seconds)
    except OSError as error:
        if error.errno != errno.EPROTOTYPE:
            raise
    return _connect_one(socket.AF_UNIX, socket.SOCK_STREAM, address, timeout_seconds)


def _connect_udp(host: str, port: int, timeout_seconds: float) -> socket.socket:
    last: OSError | None = None
    for family, kind, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM):
        try:
            return _connect_one(family, kind, address, timeout_seconds)
        except OSError as error:
            last = error
    raise last or OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))


def _connect_one(
    family: int,
    kind: int,
    address: str | tuple[object, ...],
    timeout_seconds: float,
) -> socket.socket:
    connection = socket.socket(family, kind)
    try:
        connection.settimeout(timeout_seconds)
        connection.connect(address)
    except BaseException:
        connection.close()
        raise
    return connection
