"""Collecting processes on loopback."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

from tests.plugins.ipfix.decoding import Collecting, DataRecord

__all__ = ["TcpReceiver", "UdpReceiver"]

PATIENCE_SECONDS = 20.0
_BUFFER = 8 * 1024 * 1024


class TcpReceiver:
    """Reads every connection; each is a session of its own."""

    def __init__(self, port: int = 0) -> None:
        self.sessions: list[Collecting] = []
        self.reading = threading.Event()
        self.reading.set()
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = int(self._listener.getsockname()[1])
        self._open: set[socket.socket] = set()
        self._accepted: set[object] = set()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def records(self) -> list[DataRecord]:
        return [record for session in self.sessions for record in session.records]

    def wait(self, count: int) -> list[DataRecord]:
        """Give the data records when there are so many: acknowledging is not reading."""
        limit = time.monotonic() + PATIENCE_SECONDS
        while len(self.records) < count and time.monotonic() < limit:
            time.sleep(0.001)
        return self.records

    def stop(self) -> None:
        self.reading.set()
        if self._listener.fileno() < 0:
            return
        # Connections are accepted in order: when this one is, all before it are.
        with socket.create_connection(("127.0.0.1", self.port)) as mark:
            while mark.getsockname() not in self._accepted:
                time.sleep(0.001)
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                # What came is still read.
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)

    def _accept(self) -> None:
        while True:
            try:
                connection, name = self._listener.accept()
            except OSError:
                return
            session = Collecting()
            self.sessions.append(session)
            thread = threading.Thread(target=self._read, args=(connection, session), daemon=True)
            self._threads.append(thread)
            self._open.add(connection)
            self._accepted.add(name)
            thread.start()

    def _read(self, connection: socket.socket, session: Collecting) -> None:
        with connection, contextlib.suppress(OSError):
            while self.reading.wait(PATIENCE_SECONDS) and (data := connection.recv(65_536)):
                session.feed(data)
        self._open.discard(connection)


class UdpReceiver:
    """Reads datagrams; a session has no end."""

    def __init__(self) -> None:
        self.collecting = Collecting()
        self.messages = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.02)
        self.port = int(self._socket.getsockname()[1])

    def read(self, count: int) -> list[DataRecord]:
        """Read until there are so many data records."""
        limit = time.monotonic() + PATIENCE_SECONDS
        while len(self.collecting.records) < count and time.monotonic() < limit:
            with contextlib.suppress(TimeoutError):
                self.collecting.message(self._socket.recv(65_536))
                self.messages += 1
        return self.collecting.records

    def stop(self) -> None:
        self._socket.close()
