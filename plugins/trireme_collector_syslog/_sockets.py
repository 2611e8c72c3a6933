"""Connected sockets to a syslog server."""

from __future__ import annotations

import errno
import os
import socket
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trireme_collector_syslog._options import SyslogOptions

__all__ = ["connect", "explain", "is_stream"]

_DEAD_PEER_MS = 30_000  # data that nobody acknowledges for so long breaks the connection


def connect(options: SyslogOptions) -> socket.socket:
    """Connect to the server; sending on the socket waits for ``send_timeout_seconds`` at most.

    Raises:
        OSError: It cannot be reached.
    """
    if options.transport == "unix":
        connection = _connect_unix(options.address, options.connect_timeout_seconds)
    elif options.transport == "udp":
        connection = _connect_udp(options.host, options.port)
    else:
        connection = socket.create_connection(
            (options.host, options.port), options.connect_timeout_seconds
        )
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_PEER_MS)
    connection.settimeout(options.send_timeout_seconds)
    return connection


def is_stream(connection: socket.socket) -> bool:
    """Whether messages have to be framed on this socket."""
    return connection.type == socket.SOCK_STREAM


def explain(error: OSError, options: SyslogOptions, name: str) -> str:
    """Say what failed, on what, and what to do."""
    if options.transport != "unix":
        where = f"{options.transport} {options.host} port {options.port}"
        start = f"collector {name!r} cannot send to syslog at {where}"
        if isinstance(error, socket.gaierror):
            return f"{start}: the name cannot be resolved ({error.strerror}); check host"
        if isinstance(error, TimeoutError):
            return f"{start}: no answer in time; check that the server runs and is not stalled"
        if isinstance(error, ConnectionRefusedError):
            return f"{start}: nothing listens there; start the server or check host and port"
        return f"{start}: {error.strerror or error}; check that the server runs"
    address = options.address
    start = f"collector {name!r} cannot send to syslog at {address!r}"
    if error.errno == errno.ENOENT:
        return f"{start}: it does not exist; is a syslog daemon running? Start one or set address"
    if error.errno in (errno.ECONNREFUSED, errno.ENOTCONN):
        if _is_other_file(address):
            return f"{start}: it is not a socket; set address"
        return f"{start}: nobody reads from it; start the syslog daemon again"
    if isinstance(error, (TimeoutError, BlockingIOError)):
        return f"{start}: its reader has stalled; check the syslog daemon"
    if isinstance(error, PermissionError):
        return f"{start}: permission denied; give the agent's user the right to write to it"
    return f"{start}: {error.strerror or error}; check the syslog daemon"


def _connect_unix(address: str, timeout_seconds: float) -> socket.socket:
    try:
        return _connect_one(socket.AF_UNIX, socket.SOCK_DGRAM, address, timeout_seconds)
    except OSError as error:
        if error.errno != errno.EPROTOTYPE:
            raise
    return _connect_one(socket.AF_UNIX, socket.SOCK_STREAM, address, timeout_seconds)


def _connect_udp(host: str, port: int) -> socket.socket:
    last: OSError | None = None
    for family, kind, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM):
        try:
            return _connect_one(family, kind, address, None)
        except OSError as error:
            last = error
    raise last or OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))


def _connect_one(
    family: int,
    kind: int,
    address: str | tuple[object, ...],
    timeout_seconds: float | None,
) -> socket.socket:
    connection = socket.socket(family, kind)
    try:
        connection.settimeout(timeout_seconds)
        connection.connect(address)
    except BaseException:
        connection.close()
        raise
    return connection


def _is_other_file(address: str) -> bool:
    try:
        return not stat.S_ISSOCK(os.stat(address).st_mode)  # noqa: PTH116  an abstract address is no path
    except (OSError, ValueError):
        return False
