"""What listens in the demo: sockets that take connections and send datagrams back."""

from __future__ import annotations

import selectors
import socket
import threading
from typing import TYPE_CHECKING, Final

from trireme_datapath.demo._topology import DATABASE, WEB

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from trireme_datapath.demo._topology import Host, Topology

__all__ = ["Servers"]

_TCP: Final = ((WEB, 80), (WEB, 22), (DATABASE, 5432))
_UDP: Final = ((WEB, 53), (WEB, 161))
_FAMILIES: Final = {4: socket.AF_INET, 6: socket.AF_INET6}


class Servers:
    """Listens on every port that the client tries, denied ones too: only the policy decides.

    One thread serves all sockets; they belong to the namespaces in which they were opened.
    """

    def __init__(self, topology: Topology) -> None:
        """Open every socket and begin to serve."""
        self._selector = selectors.DefaultSelector()
        self._wake, self._waker = socket.socketpair()
        self._selector.register(self._wake, selectors.EVENT_READ)
        try:
            for version in _FAMILIES:
                for host, port in _TCP:
                    self._open(topology, host, version, port, socket.SOCK_STREAM)
                for host, port in _UDP:
                    self._open(topology, host, version, port, socket.SOCK_DGRAM)
        except BaseException:
            self._close_sockets()
            raise
        self._thread = threading.Thread(target=self._serve, name="demo-servers", daemon=True)
        self._thread.start()

    def _open(self, topology: Topology, host: Host, version: int, port: int, kind: int) -> None:
        opened = topology.hosts[host.name].socket(_FAMILIES[version], kind)
        self._selector.register(opened, selectors.EVENT_READ)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((host.address(version), port))
        if kind == socket.SOCK_STREAM:
            opened.listen()
        opened.settimeout(0)

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                ready = key.fileobj
                if ready is self._wake:
                    return
                if isinstance(ready, socket.socket):
                    _answer(ready)

    def close(self) -> None:
        """Stop serving and close every socket."""
        self._waker.send(b".")
        self._thread.join()
        self._close_sockets()

    def _close_sockets(self) -> None:
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._selector.close()
        self._waker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _answer(ready: socket.socket) -> None:
    try:
        if ready.type == socket.SOCK_STREAM:
            connection, _ = ready.accept()
            connection.close()
        else:
            data, sender = ready.recvfrom(512)
            ready.sendto(data, sender)
    except OSError:
        return  # the client went away; it says so itself
