"""Where lines of the log go: a full disk, or a reader that is gone or slow, stops no agent."""

from __future__ import annotations

import io
import os
import select
from typing import Final

__all__ = ["LogOutput"]

_PIECE_BYTES: Final = 4_096  # PIPE_BUF: a pipe that says it has room takes so much at once
_PATIENCE_MS: Final = 20


class LogOutput(io.TextIOBase):
    """Writes lines to a descriptor; never raises, and never waits for long.

    What cannot be written at once is dropped and counted. Nobody waits again before something
    could be written.

    Args:
        descriptor: Where to write; it stays open.

    Attributes:
        lost: Lines that were dropped since the last one that was written.
    """

    def __init__(self, descriptor: int) -> None:
        """Keep where to write."""
        self.lost = 0
        self._descriptor = descriptor
        self._parts: list[str] = []
        self._torn = False

    def write(self, text: str, /) -> int:
        """Take a part of a line; `flush` writes it."""
        self._parts.append(text)
        return len(text)

    def flush(self) -> None:
        """Write what was taken since the last time, or drop it."""
        text = "".join(self._parts)
        self._parts.clear()
        if not text:
            return
        try:
            self._send(text.encode("utf-8", "backslashreplace"))
        except OSError:
            self.lost += 1
        else:
            self.lost = 0

    def _send(self, line: bytes) -> None:
        if self._torn:
            line = b"\n" + line
        left = memoryview(line)
        while left:
            poll = select.poll()
            poll.register(self._descriptor, select.POLLOUT)
            if not poll.poll(0 if self.lost else _PATIENCE_MS):
                raise BlockingIOError
            left = left[os.write(self._descriptor, left[:_PIECE_BYTES]) :]
            self._torn = bool(left)
