"""Nanoseconds since 1970 as RFC 3339 text."""

from __future__ import annotations

import functools
import time

__all__ = ["format_rfc3339"]

_SECONDS_OF_YEAR_10000 = 253_402_300_800  # RFC 3339 has four digits for the year
_NANOSECONDS = 1_000_000_000


def format_rfc3339(time_ns: int) -> str:
    """Format a time in UTC with microseconds, ``2026-01-02T03:04:05.000006Z``.

    Args:
        time_ns: Nanoseconds since 1970 UTC.

    Returns:
        The text, empty for times before 1970 and after the year 9999.
    """
    seconds, fraction = divmod(time_ns, _NANOSECONDS)
    if not 0 <= seconds < _SECONDS_OF_YEAR_10000:
        return ""
    return f"{_second(seconds)}.{fraction // 1000:06d}Z"


@functools.lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    # Many records share a second, and strftime costs more than the rest of a header.
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
