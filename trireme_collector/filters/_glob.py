"""Texts with ``*`` and ``?``, matched without regular expressions.

The time grows with the length of the text, never with the ways to match it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["compile_glob"]


def compile_glob(pattern: str) -> Callable[[str], bool]:
    """Make a pattern a function; ``*`` is any text, ``?`` any character, all else itself."""
    pieces = pattern.split("*")
    first, last = _Piece(pieces[0]), _Piece(pieces[-1])
    if len(pieces) == 1:
        return lambda text: len(text) == first.length and first.is_at(text, 0)
    middle = tuple(_Piece(piece) for piece in pieces[1:-1] if piece)
    shortest = first.length + last.length

    if not middle and first.is_plain and last.is_plain:
        start, end = pieces[0], pieces[-1]
        if not end:
            return lambda text: text.startswith(start)
        return lambda text: len(text) >= shortest and text.startswith(start) and text.endswith(end)

    def match(text: str) -> bool:
        limit = len(text) - last.length
        if limit < first.length or not first.is_at(text, 0) or not last.is_at(text, limit):
            return False
        at = first.length
        for piece in middle:
            # The leftmost place leaves the most room for the others.
            at = piece.find(text, at, limit)
            if at < 0:
                return False
            at += piece.length
        return True

    return match


class _Piece:
    """What stands between two stars."""

    def __init__(self, pattern: str) -> None:
        self.length = len(pattern)
        self._parts: list[tuple[int, str]] = []
        at = 0
        for part in pattern.split("?"):
            if part:
                self._parts.append((at, part))
            at += len(part) + 1
        self.is_plain = "?" not in pattern

    def is_at(self, text: str, at: int) -> bool:
        return all(text.startswith(part, at + offset) for offset, part in self._parts)

    def find(self, text: str, start: int, limit: int) -> int:
        """Find the first place from `start` where it fits before `limit`, or -1."""
        if not self._parts:
            return start if start + self.length <= limit else -1
        offset, part = self._parts[0]
        at = start
        while at + self.length <= limit:
            at = text.find(part, at + offset, limit) - offset
            # Not found gives less than start.
            if at < start or at + self.length > limit:
                return -1
            if self.is_at(text, at):
                return at
            at += 1
        return -1
