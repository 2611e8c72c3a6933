"""Packets that come one after the other, read together.

A turn of an enforcer's loop costs three system calls and what Python needs around them, which is
more than a packet costs. Where many packets come, a short pause before they are read lets several
share that, as network cards moderate their interrupts. Where whoever sends waits for an answer
before he sends again, a pause brings no company and is a loss: then there is none for a while.
"""

from __future__ import annotations

from typing import Final

__all__ = ["Moderation"]

_MANY_PER_SECOND: Final = 2_000
_WINDOW_NS: Final = 10_000_000
_FULL: Final = 64  # so many share enough
_WORTH: Final = 3.0  # as many packets in a turn, on average, make up for the pause
_HOPE: Final = 3.4  # what is expected of the first pauses: six without company disprove it
_WEIGHT: Final = 1 / 32
_REST_NS: Final = 100_000_000
_SECOND_NS: Final = 1_000_000_000


class Moderation:
    """Says how long to wait before packets are read that are there already.

    Args:
        seconds: How long to wait where that pays; 0 for never.

    Attributes:
        pause: How long to wait now, in seconds.
    """

    def __init__(self, seconds: float) -> None:
        """Begin as if few came."""
        self.pause = 0.0
        self._seconds = seconds
        self._many = False
        self._packets = self._before = 0
        self._began_ns = self._rests_until_ns = 0
        self._company = _HOPE

    def note(self, packets: int, now_ns: int) -> None:
        """Note how many packets were judged up to now.

        Args:
            packets: All that were judged, those of this turn included.
            now_ns: The time, of any clock that goes forward.
        """
        turn, self._packets = packets - self._packets, packets
        if self.pause and turn:
            self._company += (turn - self._company) * _WEIGHT
            if self._company < _WORTH:
                self._company = _HOPE
                self._rests_until_ns = now_ns + _REST_NS
        passed_ns = now_ns - self._began_ns
        if passed_ns >= _WINDOW_NS:
            self._many = (packets - self._before) * _SECOND_NS > _MANY_PER_SECOND * passed_ns
            self._before, self._began_ns = packets, now_ns
        # Who has more than enough to do waits for nothing.
        pays = self._many and turn < _FULL and now_ns >= self._rests_until_ns
        self.pause = self._seconds if pays else 0.0
