"""How messages show what stands in a file: short, printable, and without secrets in URLs."""

from __future__ import annotations

import datetime
import json
import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["describe", "nearest", "printable", "quote"]

_LONGEST_SHOWN = 60
_USER_INFORMATION = re.compile(r"://[^/@\s]+@")


def describe(value: object) -> str:
    """Say what a value is, shortened, on one line and without control characters."""
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return f"integer {_shorten(_digits(value))}"
        case float():
            return f"number {value}"
        case str():
            return f"string {quote(value)}"
        case list():
            return f"an array of {len(value)}" if value else "an empty array"
        case dict():
            return "a table" if value else "an empty table"
        case datetime.datetime():
            return f"date and time {value.isoformat()}"
        case datetime.date():
            return f"date {value.isoformat()}"
        case datetime.time():
            return f"time {value.isoformat()}"
    return type(value).__name__


def quote(text: str) -> str:
    """Put a text into quotes, shortened, printable, without the user part of a URL."""
    shown = json.dumps(_shorten(_USER_INFORMATION.sub("://***@", text)), ensure_ascii=False)
    return printable(shown)


def printable(text: str) -> str:
    """Write what could disturb a terminal as its number."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def nearest(word: str, known: Iterable[str]) -> str:
    """Give the known word that a misspelt one probably means, or an empty string."""
    close = get_close_matches(word[:_LONGEST_SHOWN], known, n=1)
    return close[0] if close else ""


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"


def _digits(value: int) -> str:
    # Very long integers cannot be printed in decimal; nobody wants to read them anyway.
    return str(value) if value.bit_length() <= 256 else f"of {value.bit_length()} bits"
