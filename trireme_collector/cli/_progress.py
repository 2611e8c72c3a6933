"""How far a long job is: a line on standard error, for people who watch."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self, TextIO

__all__ = ["Progress"]

_EVERY_SECONDS = 0.5
_MIB = 1024 * 1024


class Progress:
    """Writes one line over and over, and removes it at the end.

    Only on a terminal: in a file it would be noise.

    Args:
        what: What is counted.
        total_bytes: How much there is to read, if that is known.
        stream: Where to write.
        clock: Tells the time in seconds.
    """

    def __init__(
        self,
        what: str,
        total_bytes: int | None,
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start the clock."""
        self._stream = sys.stderr if stream is None else stream
        self._what = what
        self._total = total_bytes
        self._clock = clock
        self._begin = self._last = clock()
        self._width = 0
        self._shows = self._stream.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._width:
            self._stream.write(f"\r{' ' * self._width}\r")
            self._stream.flush()

    def show(self, done: int, read_bytes: int) -> None:
        """Write how far it is, unless that was done just now.

        Args:
            done: How many were counted.
            read_bytes: How much was read.
        """
        if not self._shows:
            return
        now = self._clock()
        if now - self._last < _EVERY_SECONDS:
            return
        self._last = now
        share = f"{read_bytes * 100 // self._total:3d} %  " if self._total else ""
        rate = done / max(now - self._begin, 1e-9)
        text = f"{share}{read_bytes / _MIB:,.0f} MiB  {done:,} {self._what}  {rate:,.0f}/s"
        self._stream.write("\r" + text.ljust(self._width))
        self._stream.flush()
        self._width = max(self._width, len(text))
