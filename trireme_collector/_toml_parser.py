"""From a text to plain tables; what is not TOML is an error with its place."""

from __future__ import annotations

import re
import tomllib

from trireme_collector._toml_positions import Position, Positions
from trireme_collector._toml_problems import DocumentError, syntax_error
from trireme_collector._toml_values import printable

__all__ = ["MAX_NESTING", "parse"]

MAX_NESTING = 64  # no configuration nests deeper, and deeper ones exhaust the interpreter's stack

_PLACE = re.compile(r"(?s)(.*) \(at (?:line (\d+), column (\d+)|end of document)\)")


def parse(text: str, name: str) -> dict[str, object]:
    """Parse a text with plain line feeds; `name` is what messages call it.

    Raises:
        DocumentError: The text is not TOML, or nests deeper than `MAX_NESTING`.
    """
    if text.startswith("\ufeff"):
        found, expected = "a byte order mark", "a file saved as UTF-8 without one"
        raise syntax_error(name, Position(1, 1), found, expected)
    try:
        data = tomllib.loads(text)
    except RecursionError as error:
        raise _too_deep(name) from error
    except ValueError as error:
        # A plain ValueError is a number too long to be converted; it has no place.
        match = _PLACE.fullmatch(str(error))
        reason = match[1] if match else "a value that cannot be converted"
        if match is None:
            place = Position(1, 1)
        elif match[2]:
            place = Position(int(match[2]), int(match[3]))
        else:
            place = Positions(text, {}, {}).at(len(text))
        found = f"text that is not TOML ({printable(reason)})"
        raise syntax_error(name, place, found, "TOML 1.0") from error
    if _nesting(data) > MAX_NESTING:
        raise _too_deep(name)
    return data


def _nesting(data: object) -> int:
    """Measure the depth without recursion, and no further than it matters."""
    depth = 0
    level: list[object] = [data]
    while level and depth <= MAX_NESTING:
        depth += 1
        below: list[object] = []
        for value in level:
            if isinstance(value, dict):
                below.extend(v for v in value.values() if isinstance(v, dict | list))
            elif isinstance(value, list):
                below.extend(v for v in value if isinstance(v, dict | list))
        level = below
    return depth


def _too_deep(name: str) -> DocumentError:
    found = f"tables or arrays nested more than {MAX_NESTING} deep"
    return syntax_error(name, Position(1, 1), found, "fewer levels")
