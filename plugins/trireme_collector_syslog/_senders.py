"""Sending messages on a connected datagram socket, and what every sender can do."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

__all__ = ["DatagramSender", "MessageRefusedError", "PeerClosedError", "Sender", "is_stall"]

_BUSY = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM})


def is_stall(error: OSError) -> bool:
    """Whether the connection is sound and its receiver, or the kernel, only busy."""
    if isinstance(error, TimeoutError):
        return error.errno != errno.ETIMEDOUT
    return error.errno in _BUSY


class MessageRefusedError(OSError):
    """The receiver will not take this one message, now or later."""


class PeerClosedError(ConnectionError):
    """The receiver ended a connection before it can have taken anything."""


class Sender(Protocol):
    """Sends messages in order."""

    @property
    def begun(self) -> int:
        """How many messages after those that left must be given again unchanged.

        They have left in part, or wait for an acknowledgement.
        """
        ...

    def send(self, messages: Sequence[bytes]) -> tuple[int, OSError | None]:
        """Send messages until one fails.

        Returns:
            How many have left, and why the next one has not, or None.
        """
        ...

    def check(self) -> OSError | None:
        """Notice that the connection is broken, and finish what is to be sent again."""
        ...

    def finish(self) -> None:
        """Close the connection after letting the receiver have what was sent."""

    def close(self) -> None:
        """Close the connection at once: it is broken."""


class DatagramSender:
    """One message, one datagram: it leaves whole or not at all."""

    begun = 0

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

    def check(self) -> OSError | None:
        """Find nothing wrong: a socket without a connection tells at the next message."""
        return None

    def finish(self) -> None:
        """Close the socket; its queue is the receiver's already."""
        self._socket.close()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
