"""Standard input that can be waited for, and left while nothing comes."""

from __future__ import annotations

import os
import select
from typing import Final

__all__ = ["AwaitedInput"]

_BUFFER_BYTES: Final = 256 * 1024
_GZIP_MAGIC: Final = b"\x1f\x8b"


class AwaitedInput:
    """Reads a descriptor; whoever waits for more is told to leave by another descriptor.

    Args:
        descriptor: What is read; it stays open.

    Attributes:
        is_left: Whether it ends because somebody wanted the end.
    """

    def __init__(self, descriptor: int) -> None:
        """Read nothing yet."""
        self.is_left = False
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)
        self._held = b""
        self._place = 0
        self._begun = False
        self._compressed = False

    def register(self, wake: int) -> None:
        """Name the descriptor that ends waiting when it is readable."""
        self._poll.register(wake, select.POLLIN)

    def leave(self) -> None:
        """Read nothing more: from now on, this is the end."""
        self.is_left = True

    def wait(self, seconds: float) -> bool:
        """Wait until there is something to read, or the end.

        Returns:
            Whether it came. Of what is compressed nobody here knows how much was unpacked and
            not yet asked for, so there is always something.
        """
        if self._place < len(self._held) or self._compressed or self.is_left:
            return True
        ready = self._poll.poll(seconds * 1_000)
        return any(number == self._descriptor for number, _ in ready)

    def read(self, size: int) -> bytes:
        """Read at most so many bytes; wait if there is nothing.

        Returns:
            The bytes; none at the end, and for who shall leave.
        """
        if self._place >= len(self._held):
            ready = [number for number, _ in self._poll.poll()] if not self.is_left else []
            if self._descriptor not in ready:
                self.is_left = True  # somebody wants the end
                return b""
            self._held, self._place = os.read(self._descriptor, _BUFFER_BYTES), 0
            if not self._begun:
                self._begun, self._compressed = True, self._held.startswith(_GZIP_MAGIC)
        data = self._held[self._place : self._place + size]
        self._place += len(data)
        return data

    def close(self) -> None:
        """Leave the descriptor to whoever opened it."""
