"""A clock that goes when it is told to."""

from __future__ import annotations

__all__ = ["FakeClock"]


class FakeClock:
    """A clock that stands still until `advance`.

    Args:
        now_ns: The time of day it shows first, nanoseconds since 1970 UTC.

    Attributes:
        sleeps: How long each `sleep` was, in seconds.
    """

    def __init__(self, now_ns: int = 1_767_323_045_000_006_000) -> None:
        """Start at the given time of day, and at 0 of the other one."""
        self._time_ns = now_ns
        self._monotonic_ns = 0
        self.sleeps: list[float] = []

    def time_ns(self) -> int:
        """Give the time of day, nanoseconds since 1970 UTC."""
        return self._time_ns

    def time(self) -> float:
        """Give the time of day, seconds since 1970 UTC."""
        return self._time_ns / 1_000_000_000

    def monotonic_ns(self) -> int:
        """Give the time since the clock was made, in nanoseconds."""
        return self._monotonic_ns

    def monotonic(self) -> float:
        """Give the time since the clock was made, in seconds."""
        return self._monotonic_ns / 1_000_000_000

    def advance(self, seconds: float) -> int:
        """Let time pass; give the new `monotonic_ns`.

        Raises:
            ValueError: Time would run backwards; `set` sets the time of day.
        """
        if seconds < 0:
            raise ValueError(f"time does not run backwards by {-seconds} s; use set() instead")
        passed_ns = round(seconds * 1_000_000_000)
        self._time_ns += passed_ns
        self._monotonic_ns += passed_ns
        return self._monotonic_ns

    def set(self, now_ns: int) -> None:
        """Set the time of day, as an administrator or a time server does; the other one goes on."""
        self._time_ns = now_ns

    def sleep(self, seconds: float) -> None:
        """Let time pass instead of waiting, where code takes a function to sleep with."""
        self.sleeps.append(seconds)
        self.advance(seconds)
