"""Where a pipeline takes the time from."""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """The two times that a pipeline needs; tests pass one that stands still."""

    def time_ns(self) -> int:
        """Give the time of day, nanoseconds since 1970 UTC."""
        ...

    def monotonic_ns(self) -> int:
        """Give a time that never jumps, in nanoseconds."""
        ...


class SystemClock:
    """The clock of the machine."""

    def time_ns(self) -> int:
        """Give the time of day, nanoseconds since 1970 UTC."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """Give a time that never jumps, in nanoseconds."""
        return time.monotonic_ns()
