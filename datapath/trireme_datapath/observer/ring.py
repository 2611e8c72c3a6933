"""The last flows, for one writer who never waits and any number of readers."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from trireme_datapath.observer.seen import LostEvents, SeenFlow

    Entry: TypeAlias = SeenFlow | LostEvents

__all__ = ["FlowRing"]


class FlowRing:
    """Keeps as many entries as it has places; the oldest makes room for the newest.

    There is no lock: an entry knows its number, so a reader sees whether it found the one that it
    looked for. Only one thread may write.

    Args:
        capacity: How many places there are.

    Attributes:
        capacity: The same.
        next: The number of the entry that comes next; the first one is 0.
    """

    __slots__ = ("_slots", "capacity", "next")

    def __init__(self, capacity: int) -> None:
        """Make the places."""
        if capacity < 1:
            raise ValueError(f"a ring has at least one place, not {capacity}")
        self._slots: list[Entry | None] = [None] * capacity
        self.capacity = capacity
        self.next = 0

    def __len__(self) -> int:
        """Count the entries."""
        return min(self.next, self.capacity)

    @property
    def oldest(self) -> int:
        """The number of the oldest entry that is there."""
        return max(0, self.next - self.capacity)

    def write(self, entry: Entry) -> None:
        """Put an entry in place of the oldest."""
        number = self.next
        entry.sequence = number
        self._slots[number % self.capacity] = entry
        self.next = number + 1

    def get(self, number: int) -> Entry | None:
        """Give an entry by its number; None if it is not there any more, or not yet."""
        entry = self._slots[number % self.capacity]
        return entry if entry is not None and entry.sequence == number else None
