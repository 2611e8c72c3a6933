"""Answers of pure functions over texts that come again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["TextCache"]

_MAX_ENTRIES = 4096
_MAX_CHARACTERS = 128  # longer texts come from peers and rarely twice


class TextCache(dict[str, str]):
    """``cache[text]`` is ``function(text)``; a hit costs no call.

    Its size is bounded whatever the network sends. Threads may share it: two that miss at once
    work out the same answer.
    """

    def __init__(self, function: Callable[[str], str]) -> None:
        """Start empty."""
        super().__init__()
        self._function = function

    def __missing__(self, text: str) -> str:
        """Work out an answer, and keep it if it is short."""
        if type(text) is not str:
            return self._function(
                str(text)
            )  # nobody checks the fields of records that are made here
        answer = self._function(text)
        if len(text) <= _MAX_CHARACTERS:
            if len(self) >= _MAX_ENTRIES:
                self.clear()
            self[text] = answer
        return answer
