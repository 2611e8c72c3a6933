"""A clock that goes when it is told to."""

from __future__ import annotations

__all__ = ["FakeClock"]


class FakeClock:
    """A clock that stands still until `advance`.

    Args:
        now_ns: The time of day it shows first, nanoseconds since 1970 UTC.
    """

    def __init__(self, now_ns: int = 1_767_323_045_000_006_000) -> None:
        """Start at the given time of day, and at 0 of the other one."""
        self._time_ns = now_ns
        self._monotonic_ns = 0

    def time_ns(self) -> int:
        """Give the time of day, nanoseconds since 1970 UTC."""
        return self._time_ns

    def monotonic_ns(self) -> int:
        """Give the time since the clock was made, in nanoseconds."""
        return self._monotonic_ns

    def advance(self, seconds: float) -> int:
        """Let time pass; give the new `monotonic_ns`."""
        passed_ns = round(seconds * 1_000_000_000)
        self._time_ns += passed_ns
        self._monotonic_ns += passed_ns
        return self._monotonic_ns
