"""Collectors on the command line: ``--collector TYPE[:key=value,...]``."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

from trireme_collector.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["read_collectors"]

_OPENING = "[{"
_CLOSING = "]}"
_QUOTES = "\"'"


def read_collectors(words: Sequence[str]) -> dict[str, dict[str, object]]:
    """Turn the options into the tables that a configuration file would have.

    A value is read as TOML where it is TOML (``5``, ``true``, ``"text"``, ``[1, 2]``,
    ``{deny = ["count == 1"]}``) and taken as text where it is not, so that paths and addresses
    need no quotes.

    Raises:
        ConfigError: An option has not this form; all mistakes are listed.
    """
    tables: dict[str, dict[str, object]] = {}
    problems: list[str] = []
    for word in words:
        kind, _, rest = word.partition(":")
        if not kind:
            problems.append(
                f"--collector {word!r}: found no type, expected TYPE or TYPE:key=value,..."
            )
            continue
        table: dict[str, object] = {"type": kind}
        for part in _split(rest):
            key, equals, value = part.partition("=")
            key = key.strip()
            if not equals or not key:
                problems.append(f"--collector {word!r}: found {part!r}, expected key=value")
            elif key in table:
                problems.append(f"--collector {word!r}: found {key} twice, expected it once")
            else:
                table[key] = _read_value(value)
        name = kind
        number = 1
        while name in tables:
            number += 1
            name = f"{kind}-{number}"
        tables[name] = table
    if problems:
        raise ConfigError("\n".join(problems), problems=problems)
    return tables


def _split(text: str) -> Iterator[str]:
    """Split at commas, but not inside quotes and brackets."""
    depth = 0
    quote = ""
    start = 0
    for position, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in _QUOTES:
            quote = character
        elif character in _OPENING:
            depth += 1
        elif character in _CLOSING:
            depth -= 1
        elif character == "," and depth <= 0:
            yield text[start:position]
            start = position + 1
    if text[start:]:
        yield text[start:]


def _read_value(text: str) -> object:
    try:
        read = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):  # not TOML; a number can also be too long
        return text
    value = read.get("value")
    # A text with a line break could be a whole document; dates have no meaning to collectors.
    is_option = isinstance(value, (bool, int, float, str, list, dict))
    return value if len(read) == 1 and is_option else text
