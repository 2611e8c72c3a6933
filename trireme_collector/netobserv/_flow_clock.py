"""Clocks for conversations: one that flow logs themselves drive, and one that nobody sets."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FlowClock", "steady_clock"]

# Ends and heartbeats are looked for once in so much time of the flow logs.
_STEP_MS = 1_000
# A time beyond the year 9999 is a mistake that would stop the clock for good.
_MAX_MS = 253_402_300_800_000


class FlowClock:
    """Shows the latest time that any flow log had; earlier ones do not set it back.

    Attributes:
        now_ms: The time.
    """

    def __init__(self) -> None:
        """Wait for the first flow log."""
        self.now_ms = 0

    def is_over(self, time_ms: object) -> bool:
        """Say whether a flow log of this time has to wait until the clock has moved.

        What is no time does not move it: such a flow log counts at the time that it is.
        """
        return isinstance(time_ms, (int, float)) and self.now_ms + _STEP_MS <= time_ms < _MAX_MS

    def move(self, time_ms: float) -> int:
        """Move to the time of a flow log."""
        self.now_ms = int(time_ms)
        return self.now_ms


def steady_clock(
    time_ns: Callable[[], int] = time.time_ns, monotonic_ns: Callable[[], int] = time.monotonic_ns
) -> Callable[[], int]:
    """Give a clock that begins with the time of day, in milliseconds, and never jumps.

    A clock that is set forward by mistake, and back again, would end every conversation and
    then none until it has caught up.
    """
    begin_ns = time_ns() - monotonic_ns()
    return lambda: (begin_ns + monotonic_ns()) // 1_000_000
