"""Sizes and times as people write them: `10M`, `1h30m`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from typing import Any

__all__ = ["DURATION", "SIZE", "duration_text", "size_text"]

_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
_SIZE = re.compile(r"(\d{1,19})([kmgt]?)(?:i?b)?", re.ASCII | re.IGNORECASE)
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6}
_PART = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)(ms|us|h|m|s)", re.ASCII)
_MAX_COUNT = 2**63 - 1


class _Size(click.ParamType):  # type: ignore[type-arg]  # generic in late versions only
    name = "size"

    def convert(
        self,
        value: Any,  # noqa: ANN401  as click has it
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> int:
        if isinstance(value, int):
            return value
        found = _SIZE.fullmatch(str(value))
        size = int(found[1]) * _UNITS[found[2].lower()] if found else _MAX_COUNT + 1
        if size > _MAX_COUNT:
            self.fail(f"{value!r} is no size; write for example 4096, 500k or 2G", param, ctx)
        return size


class _Duration(click.ParamType):  # type: ignore[type-arg]  # as above
    name = "duration"

    def convert(
        self,
        value: Any,  # noqa: ANN401  as click has it
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> int:
        if isinstance(value, int):
            return value
        text = str(value)
        parts = _PART.findall(text)
        if not parts or "".join(number + unit for number, unit in parts) != text:
            self.fail(f"{value!r} is no time; write for example 30s, 1.5s or 1h30m", param, ctx)
        return round(sum(float(number) * _SECONDS[unit] for number, unit in parts) * 1e9)


SIZE = _Size()
"""Bytes, perhaps with k, M, G or T, which are powers of 1,024."""
DURATION = _Duration()
"""A time with its unit; nanoseconds inside."""


def size_text(size: int) -> str:
    """Write a size for people."""
    amount = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def duration_text(time_ns: int) -> str:
    """Write a time for people: minutes and seconds."""
    seconds = max(0, time_ns) // 1_000_000_000
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes:02}:{seconds:02}"
