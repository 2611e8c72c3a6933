"""A stream to a server that says nothing: bytes go out, and its end is noticed."""

from __future__ import annotations

import errno
import socket
import time
from typing import Protocol

from trireme_collector_syslog._senders import is_stall

__all__ = ["Channel", "PlainChannel"]

_READ_BYTES = 65_536


class Channel(Protocol):
    """A connected stream.

    Its methods raise `OSError` when the connection is no longer there.
    """

    @property
    def held(self) -> int:
        """How many bytes after those accepted must be given again unchanged."""
        ...

    def write(self, data: memoryview) -> int:
        """Give some bytes to the kernel, and tell how many.

        Raises:
            TimeoutError: None could be given in time: the receiver has stalled.
        """
        ...

    def watch(self, seconds: float) -> None:
        """Notice a peer that has closed, or does so within that time."""

    def finish(self, seconds: float) -> bool:
        """End the stream, wait for the peer's end, and tell whether it has read everything."""
        ...

    def close(self) -> None:
        """Close the socket."""


class PlainChannel:
    """A TCP or unix stream."""

    held = 0

    def __init__(self, connection: socket.socket) -> None:
        """Take over a connected socket with a timeout."""
        self._socket = connection

    def write(self, data: memoryview) -> int:
        """Give some bytes to the kernel; see `Channel.write`."""
        return self._socket.send(data)

    def watch(self, seconds: float) -> None:
        """Notice a peer that has closed: writing to it would still succeed once.

        Raises:
            OSError: The connection is no longer there.
        """
        end = time.monotonic() + seconds
        timeout = self._socket.gettimeout()
        try:
            # Syslog servers say nothing; what one says nevertheless must not fill the buffer.
            while True:
                self._socket.settimeout(max(0.0, end - time.monotonic()))
                if not self._socket.recv(_READ_BYTES):
                    break
        except OSError as error:
            if is_stall(error):
                return
            raise
        finally:
            self._socket.settimeout(timeout)
        raise ConnectionResetError(errno.ECONNRESET, "the server has closed the connection")

    def finish(self, seconds: float) -> bool:
        """End the stream; see `Channel.finish`.

        A peer that dies with bytes unread resets the connection: an orderly end means that it
        has read them all.
        """
        end = time.monotonic() + seconds
        try:
            self.watch(0)
            self._socket.shutdown(socket.SHUT_WR)
            while (left := end - time.monotonic()) > 0:
                self._socket.settimeout(left)
                if not self._socket.recv(_READ_BYTES):
                    return True
        except OSError:
            return False
        finally:
            self._socket.close()
        return False

    def close(self) -> None:
        """Close the socket; what it holds is still delivered if the peer takes it."""
        self._socket.close()
