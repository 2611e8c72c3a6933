"""Reads the list of connections in a thread of its own.

Asked for a list, the kernel goes through its table, ends what expired in it, whosever it is, and
comes back when a part of the list is full. Where little is to be listed, that is one call for
the whole table: ten milliseconds of looking, and two microseconds for each that expired. Packets
must not wait for that.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import threading
from queue import Empty, SimpleQueue
from typing import Final

__all__ = ["ListReader", "NotAskedError"]

_PART_BYTES: Final = 65_536  # the kernel lists at most 32 KiB at a time
_WAITING: Final = 4  # parts that are read before they are wanted
_GOODBYE_SECONDS: Final = 1.0


class NotAskedError(OSError):
    """A request could not be sent."""


class ListReader:
    """Sends requests for lists through a socket, and reads all that comes out of it.

    The thread begins with the first request, so that it may do no more than who asks: the
    capabilities of a thread are its own.

    Args:
        sock: A socket that blocks. Others may send through it, too.
    """

    def __init__(self, sock: socket.socket) -> None:
        """Read nothing yet."""
        self._socket = sock
        self._requests: SimpleQueue[bytes] = SimpleQueue()
        self._parts: SimpleQueue[bytes | OSError] = SimpleQueue()
        self._room = threading.Semaphore(_WAITING)
        self._asked = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_SEMAPHORE)
        self._news = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread: threading.Thread | None = None
        self._closing = False

    def fileno(self) -> int:
        """Give the descriptor: readable when parts may wait."""
        return self._news

    def ask(self, request: bytes) -> None:
        """Have a request sent."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="trireme-list", daemon=True)
            self._thread.start()
        self._requests.put(request)
        os.eventfd_write(self._asked, 1)

    def take(self, most: int) -> list[bytes | OSError]:
        """Give parts of the list that wait, without waiting for more.

        Args:
            most: How many at most.

        Returns:
            What was read, or why it was not; `NotAskedError` where a request could not be sent.
        """
        try:
            os.eventfd_read(self._news)
        except BlockingIOError:
            return []
        found: list[bytes | OSError] = []
        try:
            while len(found) < most:
                found.append(self._parts.get_nowait())
                self._room.release()
        except Empty:
            return found
        if not self._parts.empty():
            os.eventfd_write(self._news, 1)
        return found

    def close(self) -> None:
        """End the thread; the socket is its owner's to close."""
        if self._closing:
            return
        self._closing = True
        os.eventfd_write(self._asked, 1)
        self._room.release()
        if self._thread is not None:
            self._thread.join(_GOODBYE_SECONDS)
            if self._thread.is_alive():
                return  # the kernel has it; its descriptors go with the process
        os.close(self._asked)
        os.close(self._news)

    # In the thread.

    def _work(self) -> None:
        poll = select.poll()
        poll.register(self._asked, select.POLLIN)
        poll.register(self._socket, select.POLLIN)
        buffer = bytearray(_PART_BYTES)
        while not self._closing:
            for descriptor, _ in poll.poll():
                if descriptor == self._asked:
                    os.eventfd_read(self._asked)
                    if not self._closing:
                        self._send(self._requests.get())
                elif not self._receive(buffer):
                    return

    def _send(self, request: bytes) -> None:
        try:
            self._socket.send(request)
        except OSError as error:
            self._tell(NotAskedError(error.errno, os.strerror(error.errno or 0)))

    def _receive(self, buffer: bytearray) -> bool:
        """Read one part when there is room for it; say whether the socket is of use still."""
        self._room.acquire()
        if self._closing:
            return False
        try:
            size = self._socket.recv_into(buffer, 0, socket.MSG_DONTWAIT)
        except BlockingIOError:
            self._room.release()
            return True
        except OSError as error:
            self._tell(error)
            return error.errno == errno.ENOBUFS
        if not size:
            self._tell(OSError(errno.ENOTCONN, "the list of connections comes from nowhere"))
            return False
        self._tell(bytes(memoryview(buffer)[:size]))
        return True

    def _tell(self, part: bytes | OSError) -> None:
        self._parts.put(part)
        os.eventfd_write(self._news, 1)
