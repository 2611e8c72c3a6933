"""Where each key and value of a TOML document stands.

The standard library's parser gives values without their places. This scanner runs only on
text that the parser has accepted, so it trusts the grammar and merely follows it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import NamedTuple, TypeAlias

from trireme_collector._toml_values import quote

__all__ = ["KeyPath", "Position", "Positions", "format_path", "scan"]

KeyPath: TypeAlias = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
# Quotes inside a multi-line string may touch its end: up to two of them belong to the text.
_STRINGS = (
    ('"""', re.compile(r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}', re.DOTALL)),
    ("'''", re.compile(r"'''(?:[^']|'{1,2}(?!'))*'{3,5}")),
    ('"', re.compile(r'"(?:[^"\\\n]|\\.)*"')),
    ("'", re.compile(r"'[^'\n]*'")),
)
# A date and its time may be parted by a space, hence the scalar runs up to the next delimiter.
_SCALAR = re.compile(r"[^,\]}#\n]*")
_ESCAPE = re.compile(r'\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|x([0-9A-Fa-f]{2})|(["\\bfnrte]))')
_SHORT_ESCAPES = {
    '"': '"',
    "\\": "\\",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "e": "\x1b",
}


class Position(NamedTuple):
    """A place in a text: line and column, both counted from 1, in characters."""

    line: int
    column: int


class Positions:
    """The places of all keys and values of one document."""

    def __init__(self, text: str, keys: dict[KeyPath, int], values: dict[KeyPath, int]) -> None:
        """Keep the offsets, and the line starts that turn them into lines and columns."""
        self._keys = keys
        self._values = values
        self._line_starts = [0, *(match.end() for match in re.finditer(r"\n", text))]

    @property
    def paths(self) -> frozenset[KeyPath]:
        """Every key path of the document, the root excepted."""
        return frozenset(self._values)

    def of_key(self, path: KeyPath) -> Position:
        """Give the place of a key, or of the nearest table around a path that is not there."""
        return self._find(path, self._keys)

    def of_value(self, path: KeyPath) -> Position:
        """Give the place of a value, or of the nearest table around a path that is not there."""
        return self._find(path, self._values)

    def _find(self, path: KeyPath, offsets: dict[KeyPath, int]) -> Position:
        while path:
            offset = offsets.get(path)
            if offset is not None:
                return self.at(offset)
            path, offsets = path[:-1], self._keys
        return Position(1, 1)

    def at(self, offset: int) -> Position:
        """Turn an offset into the text to a line and a column."""
        line = bisect_right(self._line_starts, offset)
        return Position(line, offset - self._line_starts[line - 1] + 1)


def scan(text: str) -> Positions:
    """Find the place of every key and value.

    Args:
        text: A document that the standard library's parser accepts, with plain line feeds.

    Returns:
        The positions, by key path: strings for keys, numbers for elements of arrays.
    """
    scanner = _Scanner(text)
    scanner.document()
    return Positions(text, scanner.keys, scanner.values)


def format_path(path: KeyPath) -> str:
    """Write a key path as people do: ``unit[0].select.address[1]``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            key = part if _BARE_KEY.fullmatch(part) else quote(part)
            text += f".{key}" if text else key
    return text


class _Scanner:
    """One pass over the text, with the offset of what comes next."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.offset = 0
        self.keys: dict[KeyPath, int] = {}
        self.values: dict[KeyPath, int] = {}
        self._array_lengths: dict[KeyPath, int] = {}

    def document(self) -> None:
        table: KeyPath = ()
        self._skip(_BLANK)
        while self.offset < len(self.text):
            if self.text[self.offset] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip(_BLANK)

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self.text, self.offset)
        self.offset = match.end() if match else self.offset

    def _header(self) -> KeyPath:
        start = self.offset
        in_array = self.text.startswith("[[", start)
        self.offset += 2 if in_array else 1
        self._skip(_SPACE)
        parts = self._key()
        self.offset += 2 if in_array else 1
        path: KeyPath = ()
        for part, offset in parts[:-1]:
            path = (*path, part)
            self._note(path, offset, offset)
            if path in self._array_lengths:
                path = (*path, self._array_lengths[path] - 1)
        part, offset = parts[-1]
        path = (*path, part)
        self._note(path, offset, start)
        if in_array:
            index = self._array_lengths.get(path, 0)
            self._array_lengths[path] = index + 1
            path = (*path, index)
            self._note(path, start, start)
        return path

    def _pair(self, table: KeyPath) -> None:
        path = table
        parts = self._key()
        for part, offset in parts:
            path = (*path, part)
            self._note(path, offset, offset)
        self.offset += 1  # the equals sign
        self._skip(_SPACE)
        self._value(path)

    def _note(self, path: KeyPath, key: int, value: int) -> None:
        self.keys.setdefault(path, key)
        self.values.setdefault(path, value)

    def _key(self) -> list[tuple[str, int]]:
        """Read a possibly dotted key and the blanks after it."""
        parts: list[tuple[str, int]] = []
        while True:
            start = self.offset
            if self.text[start] in "\"'":
                self._string()
                parts.append((_unquote(self.text[start : self.offset]), start))
            else:
                self._skip(_BARE_KEY)
                parts.append((self.text[start : self.offset], start))
            self._skip(_SPACE)
            if self.text[self.offset] != ".":
                return parts
            self.offset += 1
            self._skip(_SPACE)

    def _value(self, path: KeyPath) -> None:
        start = self.offset
        self.values[path] = start
        first = self.text[start]
        if first in "\"'":
            self._string()
        elif first == "[":
            self._array(path)
        elif first == "{":
            self._inline_table(path)
        else:
            self._skip(_SCALAR)

    def _string(self) -> None:
        for mark, pattern in _STRINGS:
            if self.text.startswith(mark, self.offset):
                # Two quotes that are not three are an empty string, not the start of a long one.
                self._skip(pattern)
                return

    def _array(self, path: KeyPath) -> None:
        self.offset += 1
        index = 0
        self._skip(_BLANK)
        while self.text[self.offset] != "]":
            element = (*path, index)
            self.keys[element] = self.offset
            self._value(element)
            index += 1
            self._comma()
        self.offset += 1

    def _inline_table(self, path: KeyPath) -> None:
        self.offset += 1
        self._skip(_BLANK)
        while self.text[self.offset] != "}":
            self._pair(path)
            self._comma()
        self.offset += 1

    def _comma(self) -> None:
        self._skip(_BLANK)
        if self.text[self.offset] == ",":
            self.offset += 1
            self._skip(_BLANK)


def _unquote(quoted: str) -> str:
    body = quoted[1:-1]
    return body if quoted[0] == "'" else _ESCAPE.sub(_unescape, body)


def _unescape(match: re.Match[str]) -> str:
    code = match[1] or match[2] or match[3]
    return chr(int(code, 16)) if code else _SHORT_ESCAPES[match[4]]
