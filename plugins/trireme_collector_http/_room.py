"""How large a body the receiver takes, as far as its answers tell."""

from __future__ import annotations

__all__ = ["Room"]

_SMALLEST_BYTES = 65_536  # what is refused below that is one long record, not a long batch
_GROWTH = 64


class Room:
    """Shrinks when a body is refused for its size and grows slowly again.

    Without it, each batch beyond a receiver's limit would be sent in vain before it is divided.

    Args:
        max_bytes: What the configuration allows.

    Attributes:
        size_bytes: The largest body to try.
    """

    def __init__(self, max_bytes: int) -> None:
        """Begin with all that is allowed."""
        self._max_bytes = max_bytes
        self.size_bytes = max_bytes

    def was_too_much(self, half_bytes: int) -> None:
        """Note that twice as much was refused, and that this was taken."""
        smallest = min(_SMALLEST_BYTES, self._max_bytes)
        self.size_bytes = max(smallest, min(self.size_bytes, half_bytes))

    def was_enough(self, taken_bytes: int) -> None:
        """Note that so much was taken; try a little more from now on if it was near the limit."""
        if taken_bytes * 2 > self.size_bytes:
            grown = self.size_bytes + self.size_bytes // _GROWTH
            self.size_bytes = min(self._max_bytes, grown)
