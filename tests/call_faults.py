"""Which calls of a disk fail: chosen by their kinds, and counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["SHORT_WRITE", "CallFaults"]

SHORT_WRITE = "short write"
"""Not an error: a write takes half of what it was given."""


class CallFaults:
    """Counts calls, and says which of them fail.

    Attributes:
        calls: How many calls of the chosen kinds there were.
        kinds: The chosen kinds; None for all.
        fault: What happens in those that fail: the number of an error, or another word; None
            when nothing fails.
        first: The first call that fails.
        last: The last one.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.kinds: Collection[str] | None = None
        self.fault: int | str | None = None
        self.first = self.last = 0

    def begin(
        self,
        fault: int | str,
        *,
        first: int = 1,
        last: int | None = None,
        kinds: Collection[str] | None = None,
    ) -> None:
        """Let the calls from `first` to `last` fail, counted from now; only one by default."""
        self.fault = fault
        self.calls = 0
        self.first = first
        self.last = first if last is None else last
        self.kinds = kinds

    def end(self) -> None:
        """Let nothing fail any more."""
        self.fault = None

    def is_due(self, kind: str) -> bool:
        """Count a call; give whether it fails."""
        if self.kinds is not None and kind not in self.kinds:
            return False
        self.calls += 1
        return self.fault is not None and self.first <= self.calls <= self.last
