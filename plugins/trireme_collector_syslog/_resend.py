"""What was sent last, for the case that the connection loses it.

A write to a TCP socket says that the kernel has the bytes, not that the receiver has. What is on
the way when a receiver dies is gone, and no error names it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["ResendWindow"]

_OVERHEAD_BYTES = 128  # of the objects around a message


class ResendWindow:
    """The last messages that were handed to a socket, bounded in bytes and age."""

    def __init__(self, max_bytes: int, max_seconds: float) -> None:
        """Start empty.

        Args:
            max_bytes: How much memory the messages may take; 0 keeps nothing.
            max_seconds: How long a message is kept; 0 for no limit.
        """
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds
        self._kept: deque[tuple[float, bytes]] = deque()
        self._size_bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def size_bytes(self) -> int:
        """How much memory the messages take, estimated."""
        return self._size_bytes

    def add(self, messages: Iterable[bytes], now: float) -> None:
        """Keep messages that have left, and let go of the oldest beyond the limits."""
        if not self._max_bytes:
            return
        for message in messages:
            self._kept.append((now, message))
            self._size_bytes += len(message) + _OVERHEAD_BYTES
        self._trim(now)

    def messages(self, now: float) -> Sequence[bytes]:
        """Give what is kept, oldest first."""
        self._trim(now)
        return [message for _, message in self._kept]

    def clear(self) -> None:
        """Let go of everything: the receiver has it."""
        self._kept.clear()
        self._size_bytes = 0

    def _trim(self, now: float) -> None:
        kept = self._kept
        oldest = now - self._max_seconds if self._max_seconds else float("-inf")
        while kept and (self._size_bytes > self._max_bytes or kept[0][0] < oldest):
            self._size_bytes -= len(kept.popleft()[1]) + _OVERHEAD_BYTES
