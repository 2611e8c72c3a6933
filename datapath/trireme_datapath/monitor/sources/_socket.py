"""The client side of the monitor protocol 1.2: connect, and read until the agent goes away."""

from __future__ import annotations

import select
import socket
import time
from typing import TYPE_CHECKING, Final

from trireme_datapath.monitor.sources._payload import Payload, SourceError, SourceFault
from trireme_datapath.monitor.sources._session import SessionDecoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

    from trireme_datapath.monitor.sources._payload import Event

__all__ = ["DEFAULT_SOCKET", "MonitorSocket", "reconnect_delay_seconds"]

DEFAULT_SOCKET: Final = "/var/run/cilium/monitor1_2.sock"
"""Where the agent of Cilium listens."""

_NANOSECONDS: Final = 1_000_000_000
_PIECE_BYTES: Final = 1 << 18
_PIECES: Final = 16  # read at once at most: others want their turn, too
_POLL_SECONDS: Final = 1.0
_FIRST_DELAY_SECONDS: Final = 1.0
_LONGEST_DELAY_SECONDS: Final = 12.0  # what Cilium's own client waits


def reconnect_delay_seconds(failures: int) -> float:
    """Say how long to wait after so many failures in a row, from 1."""
    return min(_LONGEST_DELAY_SECONDS, _FIRST_DELAY_SECONDS * 2.0 ** min(failures - 1, 10))


class MonitorSocket:
    """Reads what an agent publishes, and connects again whenever the connection ends.

    `turn` is called at least once a second, and `read` when the descriptor is readable; `events`
    does both for those who have nothing else to do.

    Args:
        path: The socket of the agent.
        stall_seconds: How long the agent may pause inside a message.
        keep_previous: See `SessionDecoder`.
        clock: A clock that does not jump, nanoseconds.

    Attributes:
        counters: ``connections``, ``events`` (payloads that were read), ``lost`` (messages that
            the agent says were lost on the way) and one count for each `SourceFault`.
    """

    def __init__(
        self,
        path: str = DEFAULT_SOCKET,
        *,
        stall_seconds: float = 10.0,
        keep_previous: bool = False,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Keep where to connect; nothing is opened yet."""
        self.path = path
        self.counters = {"connections": 0, "events": 0, "lost": 0}
        self.counters.update({fault.value: 0 for fault in SourceFault})
        self._stall_ns = int(stall_seconds * _NANOSECONDS)
        self._keep_previous = keep_previous
        self._clock = clock
        self._poll: select.epoll | None = None
        self._socket: socket.socket | None = None
        self._session = SessionDecoder()
        self._failures = 0
        self._connect_ns = 0
        self._read_ns = 0
        self._complaint = ""

    def open(self) -> Self:
        """Begin; the first `turn` connects."""
        if self._poll is None:
            self._poll = select.epoll()
        return self

    def close(self) -> None:
        """Let go of the connection."""
        self._disconnect()
        if self._poll is not None:
            self._poll.close()
            self._poll = None

    def fileno(self) -> int:
        """Give a descriptor that is readable when `read` has something; it never changes."""
        return -1 if self._poll is None else self._poll.fileno()

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return self._socket is not None

    def turn(self) -> list[Event]:
        """Connect if it is time to, and give up an agent that stalls."""
        now_ns = self._clock()
        if self._socket is None:
            return self._connect(now_ns) if now_ns >= self._connect_ns else []
        if self._session.inside_message and now_ns - self._read_ns >= self._stall_ns:
            seconds = self._stall_ns / _NANOSECONDS
            message = f"{self.path} says nothing for {seconds:g} s inside a message"
            return [self._fail(SourceFault.STALLED, message, now_ns)]
        return []

    def read(self) -> list[Event]:
        """Give what has come, without waiting for more."""
        events: list[Event] = []
        for _ in range(_PIECES):
            if self._socket is None:
                break
            try:
                data = self._socket.recv(_PIECE_BYTES)
            except BlockingIOError:
                break
            except OSError as error:
                message = f"the connection to {self.path} is lost: {error.strerror}"
                events.append(self._fail(SourceFault.CUT, message, self._clock()))
                break
            if not data:
                events.append(self._closed())
                break
            self._read_ns = self._clock()
            self._take(data, events)
        return events

    def events(self, *, reconnect: bool = True) -> Iterator[list[Event]]:
        """Give the events as they come, for ever or until the first connection ends."""
        while True:
            events = self.turn()
            waits = reconnect or self._socket is not None
            if waits and self._poll is not None and self._poll.poll(_POLL_SECONDS):
                events += self.read()
            if events:
                yield events
            if not reconnect and self._socket is None:
                return

    def _take(self, data: bytes, events: list[Event]) -> None:
        for event in self._session.receive(data):
            if isinstance(event, Payload):
                self.counters["events"] += 1
                self.counters["lost"] += event.lost
                self._failures = 0
                events.append(event)
            elif event.fault is SourceFault.UNREADABLE:
                message = f"{self.path}: {event.message}"
                events.append(self._fail(event.fault, message, self._clock()))
            else:
                self.counters[event.fault.value] += 1
                events.append(event)

    def _connect(self, now_ns: int) -> list[Event]:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        connection.settimeout(0)
        try:
            connection.connect(self.path)
        except OSError as error:
            connection.close()
            reason = error.strerror or str(error)
            complaint = f"{self.path} cannot be connected: {reason}"
            known = complaint == self._complaint
            self._complaint = complaint
            failed = self._fail(SourceFault.UNREACHABLE, complaint, now_ns)
            return [] if known else [failed]
        self._complaint = ""
        self._socket = connection
        self._session = SessionDecoder(keep_previous=self._keep_previous)
        self._read_ns = now_ns
        self.counters["connections"] += 1
        if self._poll is not None:
            self._poll.register(connection.fileno(), select.EPOLLIN)
        return []

    def _closed(self) -> SourceError:
        if self._session.inside_message:
            message = f"{self.path} was closed inside a message"
            return self._fail(SourceFault.CUT, message, self._clock())
        message = f"{self.path} was closed"
        return self._fail(SourceFault.CLOSED, message, self._clock())

    def _fail(self, fault: SourceFault, message: str, now_ns: int) -> SourceError:
        self._disconnect()
        self._failures += 1
        delay_ns = int(reconnect_delay_seconds(self._failures) * _NANOSECONDS)
        self._connect_ns = now_ns + delay_ns
        self.counters[fault.value] += 1
        return SourceError(fault=fault, message=message)

    def _disconnect(self) -> None:
        if self._socket is None:
            return
        if self._poll is not None:
            self._poll.unregister(self._socket.fileno())
        self._socket.close()
        self._socket = None
