"""A stand-in for the agent's end of the monitor socket."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from trireme_datapath.monitor.sources import PAYLOAD_SCHEMA

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    from trireme_datapath.monitor.sources import Payload

__all__ = ["FakeClock", "FakeMonitorServer", "session"]


def session(*payloads: Payload) -> bytes:
    """Write a session as an agent does."""
    return PAYLOAD_SCHEMA.definitions + b"".join(
        PAYLOAD_SCHEMA.encode({"Data": p.data, "CPU": p.cpu, "Lost": p.lost, "Type": p.type})
        for p in payloads
    )


class FakeClock:
    """A clock that stands still until somebody moves it."""

    def __init__(self) -> None:
        self.now_ns = 1_000_000_000_000

    def __call__(self) -> int:
        return self.now_ns

    def advance(self, seconds: float) -> None:
        self.now_ns += int(seconds * 1_000_000_000)


class FakeMonitorServer:
    """Listens on a path; connections wait in the backlog until `accept`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._connections: list[socket.socket] = []

    def __enter__(self) -> Self:
        self._listener.bind(str(self._path))
        self._listener.listen(4)
        self._listener.settimeout(5)
        return self

    def __exit__(self, *exception: object) -> None:
        for connection in (*self._connections, self._listener):
            connection.close()
        self._path.unlink(missing_ok=True)

    def accept(self) -> socket.socket:
        """Take the next connection."""
        connection, _ = self._listener.accept()
        self._connections.append(connection)
        return connection
