"""Writes in a thread of its own, so that a disk that pauses does not keep packets waiting."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MAX_WAITING_BYTES", "BackgroundWriter", "Piece", "Written"]

MAX_WAITING_BYTES: Final = 32 * 1024 * 1024
"""What may wait for the disk; beyond it, whoever brings more waits, and the source fills up."""


class Piece(NamedTuple):
    """Something to write: the bytes, and the packets that are in them."""

    data: list[bytes]
    packets: int
    size: int
    now_ns: int


class Written:
    """Packets that came into the file, and those that did not, since this was last asked."""

    __slots__ = ("error", "lost_bytes", "lost_packets", "packets", "size")

    def __init__(self) -> None:
        """Start with nothing."""
        self.packets = self.size = self.lost_packets = self.lost_bytes = 0
        self.error: OSError | None = None


class BackgroundWriter:
    """Hands pieces to a function, one after the other.

    After the first one that fails, all others are lost without being tried.

    Args:
        write: Writes a piece; runs in the thread.
        max_bytes: How much may wait.
    """

    def __init__(self, write: Callable[[Piece], None], max_bytes: int = MAX_WAITING_BYTES) -> None:
        """Start the thread."""
        self._write = write
        self._max_bytes = max_bytes
        self._changed = threading.Condition()
        self._pieces: deque[Piece] = deque()
        self._waiting_bytes = 0
        self._busy = self._closed = False
        self._written = Written()
        self.failed: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="recording-disk", daemon=True)
        self._thread.start()

    def put(self, piece: Piece) -> None:
        """Hand a piece over; waits while too much waits."""
        with self._changed:
            while self._waiting_bytes >= self._max_bytes:
                self._changed.wait()
            self._pieces.append(piece)
            self._waiting_bytes += piece.size
            self._changed.notify_all()

    def take(self, *, wait: bool = False) -> Written:
        """Give what became of pieces since this was last asked.

        Args:
            wait: Whether to wait until nothing waits any more.
        """
        with self._changed:
            while wait and (self._pieces or self._busy):
                self._changed.wait()
            written, self._written = self._written, Written()
            written.error = self.failed
        return written

    def close(self) -> None:
        """Write what waits, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        changed = self._changed
        while True:
            with changed:
                while not (self._pieces or self._closed):
                    changed.wait()
                if not self._pieces:
                    return
                piece = self._pieces.popleft()
                self._busy = True
            self._try(piece)
            with changed:
                self._busy = False
                self._waiting_bytes -= piece.size
                self._account(piece)
                changed.notify_all()

    def _try(self, piece: Piece) -> None:
        if self.failed is None:
            try:
                self._write(piece)
            except OSError as error:
                self.failed = error
            except Exception as error:  # noqa: BLE001  whoever waits for this thread must hear of it
                self.failed = OSError(0, str(error) or type(error).__name__)

    def _account(self, piece: Piece) -> None:
        if self.failed is None:
            self._written.packets += piece.packets
            self._written.size += piece.size
        else:
            self._written.lost_packets += piece.packets
            self._written.lost_bytes += piece.size
