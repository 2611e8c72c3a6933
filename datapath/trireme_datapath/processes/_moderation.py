"""Opening packets that come one after the other, read together.

A turn of an enforcer's loop costs three system calls and what Python needs around them, which is
more than a packet costs. Where many connections begin, a short pause before packets are read lets
several share that, as network cards moderate their interrupts.
"""

from __future__ import annotations

from typing import Final

__all__ = ["Moderation"]

_MANY_PER_SECOND: Final = 2_000
_WINDOW_NS: Final = 10_000_000
_FULL: Final = 64  # so many share enough
_SECOND_NS: Final = 1_000_000_000


class Moderation:
    """Says how long to wait before packets are read that are there already.

    Args:
        seconds: How long to wait where many come; 0 for never.

    Attributes:
        pause: How long to wait now, in seconds.
    """

    def __init__(self, seconds: float) -> None:
        """Begin as if few came."""
        self.pause = 0.0
        self._seconds = seconds
        self._many = False
        self._packets = self._before = 0
        self._began_ns = 0

    def note(self, packets: int, now_ns: int) -> None:
        """Note how many packets were judged up to now.

        Args:
            packets: All that were judged, those of this turn included.
            now_ns: The time, of any clock that goes forward.
        """
        turn, self._packets = packets - self._packets, packets
        passed_ns = now_ns - self._began_ns
        if passed_ns >= _WINDOW_NS:
            self._many = (packets - self._before) * _SECOND_NS > _MANY_PER_SECOND * passed_ns
            self._before, self._began_ns = packets, now_ns
        # Who has more than enough to do waits for nothing.
        self.pause = self._seconds if self._many and turn < _FULL else 0.0
