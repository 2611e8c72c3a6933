"""Answers who connects to the control socket, in one thread that sleeps while nobody does."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from trireme_collector.control._commands import Later, Peer, failure_of
from trireme_collector.control._protocol import (
    ErrorKind,
    Failure,
    read_request,
    write_failure,
    write_result,
)
from trireme_collector.control._socket import ControlSocket

if TYPE_CHECKING:
    from collections.abc import Callable

    import msgspec

    from trireme_collector.control._commands import CommandTable
    from trireme_collector.control._config import ControlConfig

__all__ = ["ControlLimits", "ControlServer"]

_NANOSECONDS: Final = 1_000_000_000
_READ_BYTES: Final = 4096
_SLEEP_SECONDS: Final = 60.0
_CREDENTIALS: Final = struct.Struct("3i")  # struct ucred of linux/socket.h: pid, uid, gid


class ControlLimits(NamedTuple):
    """What clients may cost.

    Attributes:
        connections: How many at once; one more ends the oldest that has not asked yet.
        accepted_per_second: How many new ones in a second; others wait in the kernel.
        reads: In how many pieces a request may come.
        transfer_seconds: How long a request may take to come, and an answer to be read.
        linger_seconds: How long answers are still sent after the end.
    """

    connections: int = 16
    accepted_per_second: int = 50
    reads: int = 32
    transfer_seconds: float = 5.0
    linger_seconds: float = 1.0


class _Connection:
    """One client: first its request comes, then perhaps the result is waited for, then it goes."""

    def __init__(self, peer: socket.socket, credentials: Peer, end_ns: int) -> None:
        self.socket = peer
        self.credentials = credentials
        self.end_ns = end_ns
        self.received = bytearray()
        self.reads = 0
        self.later: Later[msgspec.Struct] | None = None
        self.answer = memoryview(b"")

    @property
    def is_asking(self) -> bool:
        return self.later is None and not self.answer


class ControlServer:
    """Takes commands from a unix socket, one per connection.

    `step` does the work and needs no thread; `start` runs it in one.

    Args:
        config: Where to listen.
        commands: What can be asked for.
        limits: What clients may cost.
        clock: A clock that does not jump, nanoseconds.
    """

    def __init__(
        self,
        config: ControlConfig,
        commands: CommandTable,
        *,
        limits: ControlLimits | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Keep the commands; open nothing."""
        self._config = config
        self._commands = commands
        self._limits = limits or ControlLimits()
        self._clock = clock
        self._selector: selectors.BaseSelector | None = None
        self._listening: ControlSocket | None = None
        self._connections: dict[int, _Connection] = {}
        self._accept_from_ns = 0
        self._accepted = 0
        self._is_accepting = False
        self._thread: threading.Thread | None = None
        self._ending = False
        self._wake_lock = threading.Lock()
        self._wake_read = self._wake_write = -1

    def open(self, held: tuple[int, int] | None = None) -> None:
        """Listen; nobody is answered before `start` or `step`.

        Args:
            held: What `hand_over` gave, in the program whose place this one took.

        Raises:
            SocketBusyError: Another process has the socket.
            ConfigError: It cannot be used.
        """
        place = self._config.place
        if held is None:
            self._listening = ControlSocket(place, self._config.group)
        else:
            self._listening = ControlSocket.held(place, held)
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._accept_again(self._clock())

    def start(self) -> None:
        """Answer in a thread of its own from now on."""
        self._thread = threading.Thread(target=self._run, name="trireme-control", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Send the answers that are there, end every connection, and remove the socket."""
        self._end_all()
        if self._listening is not None:
            self._listening.close()
            self._listening = None

    def hand_over(self) -> tuple[int, int] | None:
        """End every connection, and let go of the socket for a program that takes our place.

        Returns:
            What `open` takes there; None if we do not listen.
        """
        self._end_all()
        listening, self._listening = self._listening, None
        return None if listening is None else listening.release()

    def _end_all(self) -> None:
        self._ending = True
        self._wake()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        elif self._selector is not None:
            self._finish()
        if self._selector is not None:
            self._selector.close()
            self._selector = None
        with self._wake_lock:
            for descriptor in (self._wake_read, self._wake_write):
                if descriptor >= 0:
                    os.close(descriptor)
            self._wake_read = self._wake_write = -1

    def step(self, timeout_seconds: float) -> None:
        """Wait for clients and results, and serve those that are ready.

        Args:
            timeout_seconds: How long to wait at most.
        """
        selector, listening = self._selector, self._listening
        if selector is None or listening is None:
            return
        now_ns = self._clock()
        self._accept_again(now_ns)
        for key, _ in selector.select(self._patience(now_ns, timeout_seconds)):
            if key.fileobj is listening.socket:
                self._accept(listening.socket)
            elif isinstance(key.data, _Connection):
                self._serve(key.data)
            else:
                self._drain_wakes()
        now_ns = self._clock()
        for connection in tuple(self._connections.values()):
            if connection.later is not None:
                self._settle(connection, connection.later, now_ns)
            elif now_ns >= connection.end_ns:
                self._end(connection)

    def _run(self) -> None:
        while not self._ending:
            self.step(_SLEEP_SECONDS)
        self._finish()

    def _finish(self) -> None:
        """Answer once more whom there is an answer for, and nobody else."""
        if self._is_accepting and self._selector is not None and self._listening is not None:
            self._selector.unregister(self._listening.socket)
        self._is_accepting = False
        end_ns = self._clock() + round(self._limits.linger_seconds * _NANOSECONDS)
        self._accept_from_ns = end_ns + _NANOSECONDS
        for connection in tuple(self._connections.values()):
            later = connection.later
            if later is None:
                if connection.is_asking:
                    self._end(connection)
            elif later.is_done():
                self._settle(connection, later, self._clock())
            else:
                message = "the agent ended before the command did"
                failure = Failure(kind=ErrorKind.ENDING, message=message)
                self._answer(connection, write_failure(failure))
        while self._connections and self._clock() < end_ns:
            self.step((end_ns - self._clock()) / _NANOSECONDS)
        for connection in tuple(self._connections.values()):
            self._end(connection)

    def _patience(self, now_ns: int, timeout_seconds: float) -> float:
        ends = [connection.end_ns for connection in self._connections.values()]
        if not self._is_accepting:
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
            self._selector.register(self._listening.socket, selectors.EVENT_READ)

    def _accept(self, listening: socket.socket) -> None:
        self._accepted += 1
        if self._accepted >= self._limits.accepted_per_second and self._selector is not None:
            # Who is too many waits in the kernel until the second is over.
            self._is_accepting = False
            self._selector.unregister(listening)
        try:
            peer, _ = listening.accept()
        except OSError:
            return  # it left again, or there is no descriptor for it
        if len(self._connections) >= self._limits.connections:
            asking = next((c for c in self._connections.values() if c.is_asking), None)
            if asking is None:
                peer.close()  # who waits for a result came first
                return
            self._end(asking)
        peer.setblocking(False)  # noqa: FBT003  positional only
        sent = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        connection = _Connection(peer, Peer(*_CREDENTIALS.unpack(sent)), self._transfer_end_ns())
        self._connections[peer.fileno()] = connection
        if self._selector is not None:
            self._selector.register(peer, selectors.EVENT_READ, connection)

    def _transfer_end_ns(self) -> int:
        return self._clock() + round(self._limits.transfer_seconds * _NANOSECONDS)

    def _serve(self, connection: _Connection) -> None:
        if connection.socket.fileno() not in self._connections:
            return  # it was ended for another one a moment ago
        try:
            if connection.is_asking:
                self._read(connection)
            else:
                self._write(connection)
        except BlockingIOError:
            return
        except OSError:
            self._end(connection)

    def _read(self, connection: _Connection) -> None:
        data = connection.socket.recv(_READ_BYTES)
        connection.reads += 1
        if not data or connection.reads > self._limits.reads:
            self._end(connection)
            return
        connection.received += data
        request = read_request(connection.received)
        if request is None:
            return
        connection.received.clear()
        if isinstance(request, Failure):
            self._answer(connection, write_failure(request))
            return
        answer = self._commands.run(request, connection.credentials)
        if isinstance(answer, Later):
            self._wait(connection, answer)
        else:
            self._answer(connection, answer)

    def _wait(self, connection: _Connection, later: Later[msgspec.Struct]) -> None:
        connection.later = later
        connection.end_ns = self._clock() + round(later.patience_seconds * _NANOSECONDS)
        if self._selector is not None:
            # Whatever the client says meanwhile, nobody listens to it.
            self._selector.unregister(connection.socket)
        later.when_done(self._wake)

    def _settle(self, connection: _Connection, later: Later[msgspec.Struct], now_ns: int) -> None:
        is_done = later.is_done()
        if not is_done and now_ns < connection.end_ns:
            return
        if not is_done:
            later.cancel()
        try:
            if is_done:
                line = write_result(later.result())
            elif later.otherwise is not None:
                line = write_result(later.otherwise())
            else:
                message = f"there was no result within {later.patience_seconds:g} s"
                line = write_failure(Failure(kind=ErrorKind.TIMEOUT, message=message))
        except Exception as error:  # noqa: BLE001  an embedder's code may raise anything; the answer says so
            line = write_failure(failure_of(error))
        self._answer(connection, line)

    def _answer(self, connection: _Connection, line: bytes) -> None:
        """Begin to send an answer; the connection ends with it."""
        waited = connection.later is not None
        connection.later = None
        connection.answer = memoryview(line)
        connection.end_ns = self._transfer_end_ns()
        selector = self._selector
        if selector is None:
            return
        if waited:
            selector.register(connection.socket, selectors.EVENT_WRITE, connection)
        else:
            selector.modify(connection.socket, selectors.EVENT_WRITE, connection)

    def _write(self, connection: _Connection) -> None:
        sent = connection.socket.send(connection.answer)
        connection.answer = connection.answer[sent:]
        if not connection.answer:
            self._end(connection)

    def _end(self, connection: _Connection) -> None:
        if self._connections.pop(connection.socket.fileno(), None) is None:
            return
        if self._selector is not None:
            with contextlib.suppress(KeyError):
                self._selector.unregister(connection.socket)
        connection.socket.close()

    def _wake(self) -> None:
        # Under a lock: a descriptor that is closed meanwhile may be somebody else's.
        with self._wake_lock, contextlib.suppress(BlockingIOError):
            if self._wake_write >= 0:
                os.write(self._wake_write, b"w")

    def _drain_wakes(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wake_read, _READ_BYTES):
                pass
