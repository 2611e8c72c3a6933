"""Durations as Go writes them: ``30s``, ``1m30s``, ``1.5h``; a bare number is nanoseconds."""

from __future__ import annotations

import re
from fractions import Fraction

__all__ = ["parse_duration"]

_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_WHOLE = re.compile(rf"(?:{_PART.pattern})+")
_LIMIT_NS = 2**63
_MAX_LENGTH = 100


def parse_duration(value: object) -> int:
    """Read a duration.

    Args:
        value: Text such as ``1m30s``, or a number of nanoseconds.

    Returns:
        Nanoseconds; -2^63 for a number beyond 64 bits, as the original reads it.

    Raises:
        ValueError: It is no duration.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value - value == 0:
        # What does not fit into 64 bits becomes the one value that stands for that.
        return int(value) if -_LIMIT_NS <= value < _LIMIT_NS else -_LIMIT_NS
    if not isinstance(value, str) or len(value) > _MAX_LENGTH:
        msg = f"{value!r} is no duration; write it like '30s'"
        raise ValueError(msg)
    sign, text = (-1, value[1:]) if value.startswith("-") else (1, value.removeprefix("+"))
    if text == "0":
        return 0
    if not _WHOLE.fullmatch(text):
        msg = f"{value!r} is no duration; write it like '30s'"
        raise ValueError(msg)
    total = sum(
        int(Fraction(number.rstrip(".")) * _UNITS_NS[unit]) for number, unit in _PART.findall(text)
    )
    if total >= _LIMIT_NS + (sign < 0):
        msg = f"{value!r} is longer than a duration can be"
        raise ValueError(msg)
    return sign * total
