"""A server of one thread that clients cannot make expensive: what metrics and control share.

It accepts a bounded number of connections, and of new ones in a second; whoever is too many waits
in the kernel. What is read and answered is the business of who uses it.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import threading
import time
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

__all__ = ["BoundedServer", "Connection", "Service"]

_NANOSECONDS: Final = 1_000_000_000
_WAKE_BYTES: Final = 4096
_SLEEP_SECONDS: Final = 60.0


class Connection:
    """One client.

    Attributes:
        socket: The way to it.
        end_ns: When it is given up, by a clock that does not jump.
        received: What came and was not understood yet.
        reads: In how many pieces.
        answer: What still has to be sent.
    """

    def __init__(self, peer: socket.socket, end_ns: int) -> None:
        """Know nothing of it yet."""
        self.socket = peer
        self.end_ns = end_ns
        self.received = bytearray()
        self.reads = 0
        self.answer = memoryview(b"")


ConnectionT = TypeVar("ConnectionT", bound=Connection)


class Service(Protocol[ConnectionT]):
    """What is done with connections, in the thread of the server."""

    def admit(self, peer: socket.socket, end_ns: int) -> ConnectionT:
        """Make a connection of a client that was accepted."""
        ...

    def make_room(self) -> bool:
        """End a connection for one more, and say whether there is room now."""
        ...

    def serve(self, connection: ConnectionT, events: int) -> None:
        """Read or write what is ready.

        Raises:
            BlockingIOError: Nothing was.
            OSError: The connection is of no use any more.
        """

    def lose(self, connection: ConnectionT) -> None:
        """Take note that a connection broke, and end it."""

    def look_after(self, connection: ConnectionT, now_ns: int) -> None:
        """Do what is due for a connection, such as ending one that is too slow."""


class BoundedServer(Generic[ConnectionT]):
    """Waits for clients and hands them to a service.

    Args:
        service: Who serves them.
        name: What its thread is called.
        connections: How many at once.
        accepted_per_second: How many new ones in a second.
        seconds: How long a connection has at first.
        clock: A clock that does not jump, nanoseconds.

    Attributes:
        connections: Those that are open, by descriptor, the oldest first.
    """

    def __init__(
        self,
        service: Service[ConnectionT],
        *,
        name: str,
        connections: int,
        accepted_per_second: int,
        seconds: float,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Wait for nobody yet."""
        self.connections: dict[int, ConnectionT] = {}
        self._service = service
        self._name = name
        self._most = connections
        self._per_second = accepted_per_second
        self._seconds = seconds
        self._clock = clock
        self._selector: selectors.BaseSelector | None = None
        self._listening: socket.socket | None = None
        self._accept_from_ns = 0
        self._accepted = 0
        self._is_accepting = False
        self._thread: threading.Thread | None = None
        self._ending = False
        self._wake_lock = threading.Lock()
        self._wake_read = self._wake_write = -1

    def open(self, listening: socket.socket) -> None:
        """Accept from a socket that listens; nobody is served before `start` or `step`."""
        self._listening = listening
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._accept_again(self._clock())

    def start(self) -> None:
        """Serve in a thread of its own from now on."""
        self._ending = False
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Let the thread end; connections stay as they are."""
        self._ending = True
        self.wake()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while not self._ending:
            self.step(_SLEEP_SECONDS)

    def refuse_new(self) -> None:
        """Accept nobody any more."""
        if self._is_accepting and self._selector is not None and self._listening is not None:
            self._selector.unregister(self._listening)
        self._is_accepting = False
        self._listening = None

    def close(self) -> None:
        """End every connection; the socket that listens is its owner's."""
        for connection in tuple(self.connections.values()):
            self.end(connection)
        if self._selector is not None:
            self._selector.close()
            self._selector = None
        self._listening = None
        with self._wake_lock:
            for descriptor in (self._wake_read, self._wake_write):
                if descriptor >= 0:
                    os.close(descriptor)
            self._wake_read = self._wake_write = -1

    def step(self, timeout_seconds: float) -> None:
        """Wait for clients, and serve those that are ready.

        Args:
            timeout_seconds: How long to wait at most.
        """
        selector = self._selector
        if selector is None:
            return
        now_ns = self._clock()
        self._accept_again(now_ns)
        for key, events in selector.select(self._patience(now_ns, timeout_seconds)):
            if key.data is not None:
                self._serve(key.data, events)
            elif self._listening is not None and key.fileobj is self._listening:
                self._accept(self._listening)
            else:
                self._forget_wakes()
        now_ns = self._clock()
        for connection in tuple(self.connections.values()):
            self._service.look_after(connection, now_ns)

    def wake(self) -> None:
        """Make `step` return; from any thread."""
        # Under a lock: a descriptor that is closed meanwhile may be somebody else's.
        with self._wake_lock, contextlib.suppress(BlockingIOError):
            if self._wake_write >= 0:
                os.write(self._wake_write, b"w")

    def want(self, connection: ConnectionT, events: int) -> None:
        """Serve a connection when one of these is so; 0 for never."""
        selector = self._selector
        if selector is None:
            return
        with contextlib.suppress(KeyError):
            selector.unregister(connection.socket)
        if events:
            selector.register(connection.socket, events, connection)

    def end(self, connection: ConnectionT) -> None:
        """Hang up."""
        if self.connections.pop(connection.socket.fileno(), None) is None:
            return
        self.want(connection, 0)
        connection.socket.close()

    def later_ns(self, seconds: float) -> int:
        """Give the time after so long."""
        return self._clock() + round(seconds * _NANOSECONDS)

    def _patience(self, now_ns: int, timeout_seconds: float) -> float:
        ends = [connection.end_ns for connection in self.connections.values()]
        if not self._is_accepting and self._listening is not None:
            ends.append(self._accept_from_ns)
        if not ends:
            return timeout_seconds
        return max(0.0, min(timeout_seconds, (min(ends) - now_ns) / _NANOSECONDS))

    def _accept_again(self, now_ns: int) -> None:
        if now_ns < self._accept_from_ns or self._selector is None or self._listening is None:
            return
        self._accepted = 0
        self._accept_from_ns = now_ns + _NANOSECONDS
        if not self._is_accepting:
            self._is_accepting = True
            self._selector.register(self._listening, selectors.EVENT_READ)

    def _accept(self, listening: socket.socket) -> None:
        self._accepted += 1
        if self._accepted >= self._per_second and self._selector is not None:
            # Who is too many waits in the kernel until the second is over.
            self._is_accepting = False
            self._selector.unregister(listening)
        try:
            peer, _ = listening.accept()
        except OSError:
            return  # it left again, or there is no descriptor for it
        if len(self.connections) >= self._most and not self._service.make_room():
            peer.close()
            return
        peer.setblocking(False)  # noqa: FBT003  positional only
        connection = self._service.admit(peer, self.later_ns(self._seconds))
        self.connections[peer.fileno()] = connection
        self.want(connection, selectors.EVENT_READ)

    def _serve(self, connection: ConnectionT, events: int) -> None:
        if connection.socket.fileno() not in self.connections:
            return  # it was ended for another one a moment ago
        try:
            self._service.serve(connection, events)
        except BlockingIOError:
            return
        except OSError:
            self._service.lose(connection)

    def _forget_wakes(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wake_read, _WAKE_BYTES):
                pass
