"""Sending messages by RELP: each is the receiver's only when the receiver says so."""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import time
from collections import deque
from typing import TYPE_CHECKING

from trireme_collector_syslog._relp_frames import (
    MAX_NUMBER,
    Answer,
    Frame,
    FrameReader,
    RelpError,
    parse_answer,
    parse_offers,
    render_frame,
)
from trireme_collector_syslog._senders import MessageRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["RelpSender"]

_OFFERS = b"relp_version=0\nrelp_software=trireme-collector\ncommands=syslog"
_VERSIONS = frozenset({"0", "1"})
_WRITE_BYTES = 16_384
_READ_BYTES = 65_536
_FINISH_SECONDS = 1.0


class _Waiting:
    """A message that was sent and not acknowledged, or not in its turn."""

    __slots__ = ("answer", "message", "number")

    def __init__(self, number: int, message: bytes) -> None:
        self.number = number
        self.message = message
        self.answer: Answer | None = None


class RelpSender:
    """Sends messages, up to a window ahead of the acknowledgements.

    A message that waits for its acknowledgement when the time is over is not sent again on the
    same connection: the next call goes on waiting.
    """

    def __init__(
        self,
        connection: socket.socket,
        *,
        window: int,
        timeout_seconds: float,
        would_block: tuple[type[OSError], ...] = (BlockingIOError,),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take over a connected socket.

        Args:
            connection: The socket; it may be one of TLS.
            window: How many messages may wait for their acknowledgement.
            timeout_seconds: How long nothing at all may happen.
            would_block: What the socket raises when there is nothing to read or no room.
            monotonic: A time that never jumps, in seconds.
        """
        connection.settimeout(0)
        self._socket = connection
        self._is_tcp = connection.family in {socket.AF_INET, socket.AF_INET6}
        self._window = window
        self._timeout_seconds = timeout_seconds
        self._would_block = would_block
        self._monotonic = monotonic
        self._poll = select.poll()
        self._reader = FrameReader()
        self._out = bytearray()
        self._chunk = b""
        self._number = 0
        self._waiting: deque[_Waiting] = deque()
        self._by_number: dict[int, _Waiting] = {}

    @property
    def begun(self) -> int:
        """How many messages wait for their acknowledgement."""
        return len(self._waiting)

    def open(self, seconds: float) -> None:
        """Agree with the server on what is spoken.

        Raises:
            RelpError: It does not speak RELP, or refuses us.
            OSError: The connection breaks, or there is no answer in time.
        """
        answer = self._ask("open", _OFFERS, seconds)
        if not answer.ok:
            raise RelpError(f"the server refuses the session: {answer.code} {answer.text}")
        offers = parse_offers(answer.data)
        if offers.get("relp_version") not in _VERSIONS:
            raise RelpError("the server offers no version of RELP that is known here")
        if "syslog" not in offers.get("commands", "").split(","):
            raise RelpError("the server does not take syslog messages")

    def send(self, messages: Sequence[bytes]) -> tuple[int, OSError | None]:
        """Send messages and wait for their acknowledgements; see `Sender.send`."""
        waiting = self._waiting
        if len(waiting) > len(messages) or any(
            sent.message != message for sent, message in zip(waiting, messages, strict=False)
        ):
            # They were given up meanwhile; what comes for them would be taken for others.
            return 0, ConnectionAbortedError(errno.ECONNABORTED, "a message was given up halfway")
        given = len(waiting)
        done = 0
        end = self._monotonic() + self._timeout_seconds
        try:
            while True:
                taken, refused = self._settle()
                done += taken
                if refused is not None:
                    return done, refused
                while given < len(messages) and len(waiting) < self._window:
                    self._begin(messages[given])
                    given += 1
                if not waiting:
                    return done, None
                if self._move(end - self._monotonic()):
                    end = self._monotonic() + self._timeout_seconds
                elif self._monotonic() >= end:
                    return done, TimeoutError("no acknowledgement in time")
        except OSError as error:
            # What was acknowledged before the connection broke is the receiver's.
            return done + self._settle()[0], error

    def check(self) -> OSError | None:
        """Find nothing wrong: what counts as sent has been acknowledged."""
        return None

    def finish(self) -> None:
        """End the session in order, and close the connection."""
        with contextlib.suppress(OSError):
            self._ask("close", b"", min(_FINISH_SECONDS, self._timeout_seconds))
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _settle(self) -> tuple[int, MessageRefusedError | None]:
        """Let go of what was answered in its turn, up to a message that was refused."""
        taken = 0
        while self._waiting and (answer := self._waiting[0].answer) is not None:
            self._waiting.popleft()
            if not answer.ok:
                # Those after it were sent already: they go on waiting.
                return taken, MessageRefusedError(f"{answer.code} {answer.text}".strip())
            taken += 1
        return taken, None

    def _begin(self, message: bytes) -> None:
        number = self._next_number()
        sent = _Waiting(number, message)
        self._waiting.append(sent)
        self._by_number[number] = sent
        self._out += render_frame(number, "syslog", message)

    def _ask(self, command: str, data: bytes, seconds: float) -> Answer:
        asked = _Waiting(self._next_number(), b"")
        self._by_number[asked.number] = asked
        self._out += render_frame(asked.number, command, data)
        end = self._monotonic() + seconds
        while asked.answer is None:
            if not self._move(end - self._monotonic()) and self._monotonic() >= end:
                raise TimeoutError("no answer in time")
        return asked.answer

    def _next_number(self) -> int:
        self._number = self._number % MAX_NUMBER + 1
        return self._number

    def _move(self, seconds: float) -> bool:
        """Write and read what can be now, or wait for that; tell whether an answer came."""
        wrote = self._write()
        if self._read():
            return True
        if wrote and self._unsent:
            return False
        events = select.POLLIN | (select.POLLOUT if self._unsent else 0)
        self._poll.register(self._socket, events)
        self._poll.poll(max(0.0, seconds) * 1000)
        return False

    @property
    def _unsent(self) -> bool:
        return bool(self._chunk or self._out)

    def _write(self) -> bool:
        wrote = False
        try:
            while self._unsent:
                if not self._chunk:
                    # TLS wants the same bytes again when there was no room for them.
                    self._chunk = bytes(self._out[:_WRITE_BYTES])
                    del self._out[:_WRITE_BYTES]
                self._chunk = self._chunk[self._socket.send(self._chunk) :]
                wrote = True
        except self._would_block:
            pass
        return wrote

    def _read(self) -> bool:
        read = False
        self._acknowledge_at_once()
        try:
            while True:
                data = self._socket.recv(_READ_BYTES)
                if not data:
                    raise ConnectionResetError(
                        errno.ECONNRESET, "the server has closed the connection"
                    )
                for frame in self._reader.feed(data):
                    self._take(frame)
                    read = True
        except self._would_block:
            return read

    def _acknowledge_at_once(self) -> None:
        """Have the kernel acknowledge what it reads without the usual pause of 40 ms.

        A server writes its answers one by one, and Nagle's algorithm holds each back until the
        one before is acknowledged. The kernel forgets the option, so it is set again and again.
        """
        if self._is_tcp:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def _take(self, frame: Frame) -> None:
        if frame.command == "serverclose":
            raise ConnectionResetError(errno.ECONNRESET, "the server ends the session")
        asked = self._by_number.pop(frame.number, None) if frame.command == "rsp" else None
        if asked is None:
            raise RelpError(f"an answer to nothing: {frame.command} {frame.number}")
        # The answer to a close may be empty; to anything else it says yes or no.
        empty = not frame.data and not asked.message
        asked.answer = Answer(200, "", b"") if empty else parse_answer(frame.data)
