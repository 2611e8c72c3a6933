"""Sending messages on a connected socket, and knowing how many have left."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

__all__ = ["DatagramSender", "Sender", "StreamSender"]

_READ_BYTES = 65_536


class Sender(Protocol):
    """Sends messages in order."""

    def send(self, messages: Sequence[bytes]) -> tuple[int, OSError | None]:
        """Send messages until one fails.

        Returns:
            How many have left, and why the next one has not, or None.
        """
        ...

    def close(self) -> None:
        """Close the socket."""


class DatagramSender:
    """One message, one datagram: it leaves whole or not at all."""

    def __init__(self, connection: socket.socket) -> None:
        """Take over a connected datagram socket."""
        self._socket = connection

    def send(self, messages: Sequence[bytes]) -> tuple[int, OSError | None]:
        """Send messages until one fails; see `Sender.send`."""
        for number, message in enumerate(messages):
            try:
                self._socket.send(message)
            except OSError as error:
                return number, error
        return len(messages), None

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class StreamSender:
    """Framed messages on a stream.

    A message that left in part is finished when it is sent again, so a stalled receiver gets
    neither a torn message nor one twice.
    """

    def __init__(self, connection: socket.socket, frame: Callable[[bytes], bytes]) -> None:
        """Take over a connected stream socket."""
        self._socket = connection
        self._frame = frame
        self._begun = b""
        self._begun_sent = 0

    def send(self, messages: Sequence[bytes]) -> tuple[int, OSError | None]:
        """Send messages until one fails; see `Sender.send`."""
        frames = [self._frame(message) for message in messages]
        try:
            self._check_peer()
        except OSError as error:
            return 0, error
        if self._begun and frames and frames[0] != self._begun:
            # Its end will never come: only a new connection can be understood.
            return 0, ConnectionAbortedError(errno.ECONNABORTED, "a message was given up halfway")
        ends: list[int] = []
        total = 0
        for frame in frames:
            total += len(frame)
            ends.append(total)
        data = memoryview(b"".join(frames))
        done = self._begun_sent
        failure: OSError | None = None
        try:
            while done < total:
                done += self._socket.send(data[done:])
        except OSError as error:
            failure = error
        left = sum(end <= done for end in ends)
        start = ends[left - 1] if left else 0
        self._begun, self._begun_sent = (frames[left], done - start) if done > start else (b"", 0)
        return left, failure

    def close(self) -> None:
        """Close the socket; what it holds is still delivered if the peer takes it."""
        self._socket.close()

    def _check_peer(self) -> None:
        """Notice a peer that has closed: writing to it would still succeed once.

        Raises:
            OSError: The connection is no longer there.
        """
        timeout = self._socket.gettimeout()
        self._socket.settimeout(0)
        try:
            # Syslog servers say nothing; what one says nevertheless must not fill the buffer.
            while self._socket.recv(_READ_BYTES):
                pass
        except BlockingIOError:
            return
        finally:
            self._socket.settimeout(timeout)
        raise ConnectionResetError(errno.ECONNRESET, "the server has closed the connection")
