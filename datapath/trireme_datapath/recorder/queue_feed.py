"""The agent's side: hands packets that it judged to recorders, and never waits for them.

While nobody records, it costs nothing per packet. While somebody does, each packet is compared
with the filters, and one that fits is sent without blocking; what does not fit into the buffer
of the socket is counted, and the recorder told.
"""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

import structlog

from trireme_collector.control._socket import ControlSocket
from trireme_datapath.recorder._errors import RecorderError
from trireme_datapath.recorder._matcher import compile_matcher
from trireme_datapath.recorder._queue_wire import (
    END,
    MAX_MESSAGE_BYTES,
    MAX_SUBSCRIPTION_BYTES,
    JudgedPacket,
    Losses,
    decode_subscription,
    encode_packets,
)
from trireme_datapath.recorder._verdict_comment import verdict_comment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from structlog.typing import FilteringBoundLogger

    from trireme_datapath.packets import JudgedPackets, QueuedPacket, Verdict

__all__ = ["QueueFeed", "WatchedBackend"]

_MAX_RECORDERS: Final = 8
_SEND_BUFFER: Final = 4 * 1024 * 1024  # the kernel gives what net.core.wmem_max allows
_TURN_NS: Final = 50_000_000
_MESSAGE_ROOM: Final = MAX_MESSAGE_BYTES // 2
_PACKET_ROOM: Final = 1024  # head and comment


@runtime_checkable
class WatchedBackend(Protocol):
    """A backend whose packets can be watched."""

    judged: JudgedPackets | None


class _Recorder:
    """One recorder that is connected."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.matches: Callable[[bytes | memoryview, int], bool] | None = None
        self.capture_bytes = 0
        self.lost_packets = self.lost_bytes = 0
        self.told_losses = Losses()
        self._waiting: list[JudgedPacket] = []
        self._size = 0

    @property
    def losses(self) -> Losses:
        return Losses(self.lost_packets, self.lost_bytes)

    def add(self, packet: JudgedPacket) -> None:
        size = len(packet.data) + _PACKET_ROOM
        if self._size + size > _MESSAGE_ROOM:
            self.flush()
        self._waiting.append(packet)
        self._size += size

    def flush(self) -> None:
        if not self._waiting:
            return
        packets, self._waiting, self._size = self._waiting, [], 0
        if not self._send(encode_packets(packets, self.losses)):
            self.lost_packets += len(packets)
            self.lost_bytes += sum([len(one.data) for one in packets])

    def tell(self) -> bool:
        """Tell how much was lost, if that is news."""
        return self._send(encode_packets((), self.losses))

    def _send(self, message: bytes) -> bool:
        losses = self.losses
        try:
            self.connection.send(message, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError:  # it is full, or gone: the next look at the connection tells
            return False
        self.told_losses = losses
        return True


class QueueFeed:
    """Listens for recorders.

    Args:
        path: The socket; without one, nothing is done.
        group: Who may open it besides the owner.
        rule_of: Gives the rule that decided about a packet, empty when there is none.
        clock: A clock that does not jump, nanoseconds.

    Attributes:
        counters: ``recorders`` that came, ``packets`` that were handed over or lost.
    """

    def __init__(
        self,
        path: str,
        group: str = "",
        *,
        rule_of: Callable[[QueuedPacket], str] = lambda _: "",
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Keep what is needed; nothing is opened."""
        self._path, self._group = path, group
        self._rule_of = rule_of
        self._clock = clock
        self._log: FilteringBoundLogger = structlog.get_logger("trireme_datapath.recorder")
        self._listener: ControlSocket | None = None
        self._backend: WatchedBackend | None = None
        self._recorders: list[_Recorder] = []
        self._next_turn_ns = 0
        self.counters = {"recorders": 0, "packets": 0}

    def open(self) -> None:
        """Listen.

        Raises:
            ConfigError: The socket cannot be made, or another process has it.
        """
        if not self._path:
            return
        self._listener = ControlSocket(
            self._path,
            self._group,
            section="recorder",
            make_directory=self._path.startswith("/run/trireme-collector/"),
            kind=socket.SOCK_SEQPACKET,
        )

    def watch(self, backend: object) -> None:
        """Hand over the packets of this backend, if it can show them."""
        if isinstance(backend, WatchedBackend):
            self._backend = backend

    def turn(self) -> None:
        """Look for recorders that come, go or say something; never waits."""
        now_ns = self._clock()
        if now_ns < self._next_turn_ns or self._listener is None:
            return
        self._next_turn_ns = now_ns + _TURN_NS
        self._accept(self._listener.socket)
        for one in tuple(self._recorders):
            self._hear(one)
        wanted = any(one.matches is not None for one in self._recorders)
        if self._backend is not None:
            self._backend.judged = self if wanted else None

    def close(self) -> None:
        """Hang up."""
        if self._backend is not None:
            self._backend.judged = None
        for one in tuple(self._recorders):
            self._drop(one)
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def wants(self, data: bytes | memoryview, start: int) -> bool:
        """Tell whether a packet fits the filters of any recorder."""
        return any(one.matches is not None and one.matches(data, start) for one in self._recorders)

    def take(self, packets: Iterable[tuple[QueuedPacket, Verdict]], now_ns: int) -> None:
        """Hand packets to whoever wants them."""
        recorders = [one for one in self._recorders if one.matches is not None]
        for packet, verdict in packets:
            data = packet.data
            comment = ""
            for one in recorders:
                if one.matches is None or not one.matches(data, 0):
                    continue
                comment = comment or verdict_comment(packet, verdict, self._rule_of(packet))
                kept = data[: one.capture_bytes] if one.capture_bytes else data
                original = packet.original_length or len(data)
                self.counters["packets"] += 1
                one.add(JudgedPacket(now_ns, original, kept, comment))
        for one in recorders:
            one.flush()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # nobody waits, or is gone again
            while True:
                connection, _ = listener.accept()
                if len(self._recorders) >= _MAX_RECORDERS:
                    connection.close()
                    continue
                connection.settimeout(0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
                self._recorders.append(_Recorder(connection))

    def _hear(self, one: _Recorder) -> None:
        try:
            message = one.connection.recv(MAX_SUBSCRIPTION_BYTES)
        except BlockingIOError:
            if one.losses != one.told_losses:
                one.tell()
            return
        except OSError:
            message = b""
        try:
            if not message:
                self._drop(one)
            elif message == END:
                if one.tell():
                    self._drop(one)
                one.matches = None
            elif one.matches is None:
                include, one.capture_bytes = decode_subscription(message)
                one.matches = compile_matcher(include)
                self.counters["recorders"] += 1
                one.tell()
            else:
                raise RecorderError("a recorder said more than it may")
        except RecorderError as error:
            self._log.warning("recorder_refused", error=str(error))
            self._drop(one)

    def _drop(self, one: _Recorder) -> None:
        self._recorders.remove(one)
        one.connection.close()
