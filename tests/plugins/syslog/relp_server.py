"""A RELP server on loopback for tests: it acknowledges what it reads, but for its script."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from typing import TYPE_CHECKING

from trireme_collector_syslog._relp_frames import FrameReader, render_frame

if TYPE_CHECKING:
    import ssl

    from trireme_collector_syslog._relp_frames import Frame

__all__ = ["RelpServer"]

_OFFERS = b"200 OK\nrelp_version=0\nrelp_software=test\ncommands=syslog"
_SEQUENCE = re.compile(rb' sequence="(\d+)"')


class RelpServer:
    """Threads that read: one listens, and there is one for each connection.

    Args:
        context: TLS, if it is to be spoken.

    Attributes:
        taken: What was acknowledged, by its sequence number.
        seen: What was read.
        sessions: How many connections came.
        closed_in_order: How many of them ended with a word.
        dies_at: At which records to break the connection, once each.
        refuses: Which records to refuse.
        refuses_all: Whether to refuse everything.
        silent_at: Which records to acknowledge late, with the next one.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.port = 0
        self.taken: list[int] = []
        self.seen: list[int] = []
        self.sessions = 0
        self.closed_in_order = 0
        self.dies_at: set[int] = set()
        self.refuses: set[int] = set()
        self.refuses_all = False
        self.silent_at: set[int] = set()
        self._context = context
        self._silenced: list[tuple[int, int]] = []
        self._connections: list[socket.socket] = []
        self._readers: list[threading.Thread] = []
        self.listen()

    def listen(self) -> None:
        """Begin, again on the same port."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = int(self._listener.getsockname()[1])
        self._acceptor = threading.Thread(target=self._accept, args=(self._listener,))
        self._acceptor.start()

    def close(self) -> None:
        """Break every connection, and listen no more."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for reader in self._readers:
            reader.join()
        self._connections.clear()
        self._readers.clear()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            if self._context is not None:
                connection = self._context.wrap_socket(
                    connection, server_side=True, do_handshake_on_connect=False
                )
            self.sessions += 1
            self._connections.append(connection)
            reader = threading.Thread(target=self._serve, args=(connection,))
            self._readers.append(reader)
            reader.start()

    def _serve(self, connection: socket.socket) -> None:
        reader = FrameReader()
        with contextlib.suppress(OSError), connection:
            while data := connection.recv(65_536):
                for frame in reader.feed(data):
                    answer = self._answer(frame)
                    if answer is None:
                        return
                    connection.sendall(answer)

    def _answer(self, frame: Frame) -> bytes | None:
        if frame.command == "open":
            return render_frame(frame.number, "rsp", _OFFERS)
        if frame.command == "close":
            self.closed_in_order += 1
            return render_frame(frame.number, "rsp", b"")
        found = _SEQUENCE.search(frame.data)
        number = int(found[1]) if found else 0
        self.seen.append(number)
        if number in self.dies_at:
            self.dies_at.discard(number)
            return None
        if self.refuses_all or number in self.refuses:
            return render_frame(frame.number, "rsp", b"500 cannot")
        if number in self.silent_at:
            self.silent_at.discard(number)
            self._silenced.append((frame.number, number))
            return b""
        self.taken.append(number)
        late = b""
        while self._silenced:
            held, held_number = self._silenced.pop()
            self.taken.append(held_number)
            late += render_frame(held, "rsp", b"200 OK")
        return late + render_frame(frame.number, "rsp", b"200 OK")
