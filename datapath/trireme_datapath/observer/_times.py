"""Times: as protobuf writes them, as people ask for them, and as Hubble prints them."""

from __future__ import annotations

import functools
import re
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["TIME_FORMATS", "json_time", "parse_duration", "parse_rfc3339", "parse_when"]

_SECOND: Final = 1_000_000_000
_UNITS: Final[Mapping[str, int]] = {
    "ns": 1,
    "us": 1_000,
    "\u00b5s": 1_000,  # micro sign
    "\u03bcs": 1_000,  # Greek letter mu
    "ms": 1_000_000,
    "s": _SECOND,
    "m": 60 * _SECOND,
    "h": 3600 * _SECOND,
}
_PART: Final = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|\u00b5s|\u03bcs|ms|s|m|h)")
_RFC3339: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?:T([0-9]{2})(?::([0-9]{2})(?::([0-9]{2})"
    r"(?:[.,]([0-9]+))?)?)?(Z|[+-][0-9]{2}:[0-9]{2}))?"
)
_RFC1123Z: Final = "%a, %d %b %Y %H:%M:%S %z"
_MIN_SECONDS, _MAX_SECONDS = -62_135_596_800, 253_402_300_799  # years 1 to 9999
_MONTHS: Final = "JanFebMarAprMayJunJulAugSepOctNovDec"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def json_time(time_ns: int) -> str:
    """Write a time as protobuf does in JSON: in UTC, with 0, 3, 6 or 9 digits.

    Returns:
        The text; ``""`` for what is no time of the years 1 to 9999.
    """
    seconds, fraction = divmod(time_ns, _SECOND)
    if not _MIN_SECONDS <= seconds <= _MAX_SECONDS:
        return ""
    return f"{_second(seconds)}{_digits(fraction, (3, 6, 9))}Z"


@functools.lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    # Many flows share a second.
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S").zfill(19)


def _digits(fraction: int, lengths: tuple[int, ...]) -> str:
    if not fraction:
        return ""
    digits = f"{fraction:09d}"
    if fraction % 1000:
        return f".{digits[: lengths[-1]]}"
    for length in lengths:
        if not digits[length:].strip("0"):
            return f".{digits[:length]}"
    return f".{digits[: lengths[-1]]}"


def parse_rfc3339(text: str) -> int | None:
    """Read a time of RFC 3339, nanoseconds since 1970 UTC; also a date, an hour or a minute."""
    found = _RFC3339.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = found.groups(default="")
    try:
        moment = datetime(
            int(year),
            int(month),
            int(day),
            int(hour or 0),
            int(minute or 0),
            int(second or 0),
            tzinfo=UTC,
        )
    except ValueError:
        return None
    seconds = (moment - _EPOCH) // timedelta(seconds=1)
    if zone not in {"", "Z"}:
        offset = int(zone[1:3]) * 3600 + int(zone[4:6]) * 60
        seconds -= offset if zone[0] == "+" else -offset
    return seconds * _SECOND + int(fraction[:9].ljust(9, "0"))


def parse_duration(text: str) -> int | None:
    """Read a duration as Go writes it, such as ``1h30m`` or ``250ms``; nanoseconds."""
    sign = -1 if text.startswith("-") else 1
    rest = text[1:] if text[:1] in {"-", "+"} else text
    if rest == "0":
        return 0
    if not rest:
        return None
    total, at = 0, 0
    for part in _PART.finditer(rest):
        if part.start() != at:
            return None
        at = part.end()
        whole, _, decimals = part[1].partition(".")
        unit = _UNITS[part[2]]
        total += int(whole or 0) * unit
        if decimals:
            total += int(decimals) * unit // 10 ** len(decimals)
    if at != len(rest) or total > (1 << 63) - 1:
        return None
    return sign * total


def parse_when(text: str, now_ns: int) -> int | None:
    """Read a moment as people give it: how long ago, a time, or a date."""
    ago = parse_duration(text)
    if ago is not None:
        return now_ns - ago
    moment = parse_rfc3339(text)
    if moment is not None:
        return moment
    try:
        seconds = datetime.strptime(text, _RFC1123Z).timestamp()  # noqa: DTZ007  it has %z
    except ValueError:
        return None
    return int(seconds) * _SECOND


def _at(time_ns: int) -> time.struct_time:
    return (_EPOCH + timedelta(seconds=time_ns // _SECOND)).timetuple()


def _stamp_milli(time_ns: int) -> str:
    seconds, fraction = divmod(time_ns, _SECOND)
    return f"{_stamp(seconds)}.{fraction // 1_000_000:03d}"


@functools.lru_cache(maxsize=64)
def _stamp(seconds: int) -> str:
    at = _at(seconds * _SECOND)
    clock = f"{at.tm_hour:02d}:{at.tm_min:02d}:{at.tm_sec:02d}"
    month = _MONTHS[3 * at.tm_mon - 3 : 3 * at.tm_mon]
    return f"{month} {at.tm_mday:2d} {clock}"


def _formatted(layout: str) -> Callable[[int], str]:
    return lambda time_ns: time.strftime(layout, _at(time_ns))


def _fraction(digits: int) -> Callable[[int], str]:
    unit = 10 ** (9 - digits)

    def write(time_ns: int) -> str:
        # Go leaves zeros at the end out.
        text = f"{time_ns % _SECOND // unit:0{digits}d}".rstrip("0")
        second = time.strftime("%Y-%m-%dT%H:%M:%S", _at(time_ns))
        return f"{second}{'.' if text else ''}{text}Z"

    return write


TIME_FORMATS: Final[Mapping[str, Callable[[int], str]]] = {
    "StampMilli": _stamp_milli,
    "YearMonthDay": _formatted("%Y-%m-%d"),
    "YearMonthDayHour": _formatted("%Y-%m-%dT%HZ"),
    "YearMonthDayHourMinute": _formatted("%Y-%m-%dT%H:%MZ"),
    "RFC3339": _formatted("%Y-%m-%dT%H:%M:%SZ"),
    "RFC3339Milli": _fraction(3),
    "RFC3339Micro": _fraction(6),
    "RFC3339Nano": _fraction(9),
    "RFC1123Z": _formatted("%a, %d %b %Y %H:%M:%S +0000"),
}
"""How times can be printed, all in UTC, by the names that ``hubble observe`` has for them."""
