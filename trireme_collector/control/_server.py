"""Answers who connects to the control socket, in one thread that sleeps while nobody does."""

from __future__ import annotations

import selectors
import socket
import struct
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from trireme_collector._bounded_server import BoundedServer, Connection
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


class _Client(Connection):
    """First its request comes, then perhaps the result is waited for, then it goes."""

    def __init__(self, peer: socket.socket, end_ns: int) -> None:
        super().__init__(peer, end_ns)
        sent = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        self.credentials = Peer(*_CREDENTIALS.unpack(sent))
        self.later: Later[msgspec.Struct] | None = None

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
        self._limits = limits = limits or ControlLimits()
        self._clock = clock
        self._listening: ControlSocket | None = None
        self._server: BoundedServer[_Client] = BoundedServer(
            self,
            name="trireme-control",
            connections=limits.connections,
            accepted_per_second=limits.accepted_per_second,
            seconds=limits.transfer_seconds,
            clock=clock,
        )

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
        self._server.open(self._listening.socket)

    def start(self) -> None:
        """Answer in a thread of its own from now on."""
        self._server.start()

    def step(self, timeout_seconds: float) -> None:
        """Wait for clients and results, and serve those that are ready.

        Args:
            timeout_seconds: How long to wait at most.
        """
        self._server.step(timeout_seconds)

    def close(self) -> None:
        """Send the answers that are there, end every connection, and remove the socket."""
        self._end_all()
        if self._listening is not None:
            self._listening.close()
            self._listening = None

    def rest(self) -> bool:
        """Answer nobody for now, if nobody waits for an answer; who comes waits in the kernel.

        Returns:
            Whether that is so; otherwise the thread goes on answering, as after `start`.
        """
        self._server.stop()
        if not self._server.connections:
            return True
        self.start()
        return False

    def hand_over(self) -> tuple[int, int] | None:
        """End every connection, and let go of the socket for a program that takes our place.

        Returns:
            What `open` takes there; None if we do not listen.
        """
        self._end_all()
        listening, self._listening = self._listening, None
        return None if listening is None else listening.release()

    def _end_all(self) -> None:
        self._server.stop()
        self._finish()
        self._server.close()

    def _finish(self) -> None:
        """Answer once more whom there is an answer for, and nobody else."""
        server = self._server
        server.refuse_new()
        end_ns = server.later_ns(self._limits.linger_seconds)
        for client in tuple(server.connections.values()):
            later = client.later
            if later is None:
                if client.is_asking:
                    server.end(client)
            elif later.is_done():
                self._settle(client, later, self._clock())
            else:
                message = "the agent ended before the command did"
                failure = Failure(kind=ErrorKind.ENDING, message=message)
                self._answer(client, write_failure(failure))
        while server.connections and self._clock() < end_ns:
            server.step((end_ns - self._clock()) / _NANOSECONDS)

    # What the server asks for.

    def admit(self, peer: socket.socket, end_ns: int) -> _Client:
        """Take a client."""
        return _Client(peer, end_ns)

    def make_room(self) -> bool:
        """End the oldest that has not asked yet; who waits for a result came first."""
        clients = self._server.connections.values()
        asking = next((one for one in clients if one.is_asking), None)
        if asking is not None:
            self._server.end(asking)
        return asking is not None

    def serve(self, connection: _Client, events: int) -> None:
        """Read a request, or send an answer."""
        del events
        if connection.is_asking:
            self._read(connection)
        else:
            self._write(connection)

    def lose(self, connection: _Client) -> None:
        """Forget a client that is gone."""
        self._server.end(connection)

    def look_after(self, connection: _Client, now_ns: int) -> None:
        """Answer who waits for a result, and give up who is too slow."""
        if connection.later is not None:
            self._settle(connection, connection.later, now_ns)
        elif now_ns >= connection.end_ns:
            self._server.end(connection)

    def _read(self, connection: _Client) -> None:
        data = connection.socket.recv(_READ_BYTES)
        connection.reads += 1
        if not data or connection.reads > self._limits.reads:
            self._server.end(connection)
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

    def _wait(self, client: _Client, later: Later[msgspec.Struct]) -> None:
        client.later = later
        client.end_ns = self._server.later_ns(later.patience_seconds)
        # Whatever the client says meanwhile, nobody listens to it.
        self._server.want(client, 0)
        later.when_done(self._server.wake)

    def _settle(self, connection: _Client, later: Later[msgspec.Struct], now_ns: int) -> None:
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

    def _answer(self, client: _Client, line: bytes) -> None:
        """Begin to send an answer; the connection ends with it."""
        client.later = None
        client.answer = memoryview(line)
        client.end_ns = self._server.later_ns(self._limits.transfer_seconds)
        self._server.want(client, selectors.EVENT_WRITE)

    def _write(self, client: _Client) -> None:
        sent = client.socket.send(client.answer)
        client.answer = client.answer[sent:]
        if not client.answer:
            self._server.end(client)
