"""What one reader has done with the records, and what it has still to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Account", "ReaderAccount", "SavedReader"]


class ReaderAccount(msgspec.Struct, frozen=True, kw_only=True):
    """The account of one reader.

    At any time ``accepted == delivered + dead_lettered + dropped + spooled``.

    Attributes:
        name: The name of the reader.
        accepted: Records given to the spool since the reader is there, refused ones included.
        delivered: Records that its receiver took.
        dead_lettered: Records that its receiver refused for good.
        dropped: Records that were given up, see `dropped_by_reason`.
        spooled: Records that wait for it, those being sent included.
        dropped_by_reason: The dropped records by reason.
        position: The sequence of the oldest record that is not settled.
    """

    name: str
    accepted: int
    delivered: int
    dead_lettered: int
    dropped: int
    spooled: int
    dropped_by_reason: dict[str, int]
    position: int


class SavedReader(msgspec.Struct, frozen=True, kw_only=True):
    """An account as it is kept on disk; the names are those of `Account`."""

    start: int
    position: int
    holes: list[tuple[int, int]]
    delivered: int
    dead_lettered: int
    refused: int
    dropped: dict[str, int]


class Account:
    """The account of one reader while the spool is open.

    Everything is reckoned from sequences: a record is settled when the position has passed it,
    or when it lies in a hole (it was lost behind records that are still being sent). So no
    interruption between two counters can unbalance them.

    Attributes:
        name: The name of the reader.
        start: The sequence with which it began.
        position: Every record below it is settled.
        holes: Ranges of lost records above the position, in order, as first and end.
        delivered: Records that were taken.
        dead_lettered: Records that were refused for good.
        refused: Records that the spool refused: they have no sequence.
        dropped: Records that were given up, by reason; refused ones included.
    """

    __slots__ = (
        "dead_lettered",
        "delivered",
        "dropped",
        "holes",
        "name",
        "position",
        "refused",
        "start",
    )

    def __init__(self, name: str, start: int) -> None:
        """Begin with nothing."""
        self.name = name
        self.start = self.position = start
        self.holes: list[tuple[int, int]] = []
        self.delivered = self.dead_lettered = self.refused = 0
        self.dropped: dict[str, int] = {}

    def lose(self, first: int, end: int, reason: str) -> int:
        """Give up the records from `first` to before `end`; those settled already stay so.

        Returns:
            How many were given up.
        """
        first = max(first, self.position)
        if first >= end:
            return 0
        count = end - first - self._in_holes(first, end)
        merged: list[tuple[int, int]] = []
        for hole in sorted((*self.holes, (first, end))):
            if merged and hole[0] <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(merged[-1][1], hole[1]))
            else:
                merged.append(hole)
        self.holes = merged
        self._skip()
        if count:
            self.dropped[reason] = self.dropped.get(reason, 0) + count
        return count

    def settle(
        self, sequence: int, *, dead_lettered: int = 0, dropped: Mapping[str, int] | None = None
    ) -> int:
        """Settle every record up to a sequence.

        Args:
            sequence: The last of them.
            dead_lettered: How many of them were refused for good.
            dropped: How many of them were given up, by reason.

        Returns:
            How many were settled.

        Raises:
            ValueError: More are said to be refused or given up than there are.
        """
        end = sequence + 1
        count = max(0, end - self.position - self._in_holes(self.position, end))
        others = dead_lettered + (sum(dropped.values()) if dropped else 0)
        if not 0 <= others <= count:
            msg = f"reader {self.name!r}: {others} of {count} records cannot be settled otherwise"
            raise ValueError(msg)
        self.position = max(self.position, end)
        self._skip()
        self.delivered += count - others
        self.dead_lettered += dead_lettered
        for reason, number in (dropped or {}).items():
            self.dropped[reason] = self.dropped.get(reason, 0) + number
        return count

    def refuse(self, count: int, reason: str) -> None:
        """Count records that the spool did not take."""
        self.refused += count
        self.dropped[reason] = self.dropped.get(reason, 0) + count

    def is_lost(self, sequence: int) -> bool:
        """Say whether a record is settled or given up."""
        return sequence < self.position or any(a <= sequence < b for a, b in self.holes)

    def spooled(self, next_sequence: int) -> int:
        """Say how many records wait when the next record gets the given sequence."""
        return next_sequence - self.position - sum(b - a for a, b in self.holes)

    def balance(self, next_sequence: int) -> ReaderAccount:
        """Give the account as it stands when the next record gets the given sequence."""
        return ReaderAccount(
            name=self.name,
            accepted=next_sequence - self.start + self.refused,
            delivered=self.delivered,
            dead_lettered=self.dead_lettered,
            dropped=sum(self.dropped.values()),
            spooled=self.spooled(next_sequence),
            dropped_by_reason=dict(self.dropped),
            position=self.position,
        )

    def save(self) -> SavedReader:
        """Give what has to be kept."""
        return SavedReader(
            start=self.start,
            position=self.position,
            holes=list(self.holes),
            delivered=self.delivered,
            dead_lettered=self.dead_lettered,
            refused=self.refused,
            dropped=dict(self.dropped),
        )

    @classmethod
    def restore(cls, name: str, saved: SavedReader) -> Account:
        """Go on from what was kept."""
        account = cls(name, saved.start)
        account.position = saved.position
        account.holes = [(first, end) for first, end in saved.holes]
        account.delivered = saved.delivered
        account.dead_lettered = saved.dead_lettered
        account.refused = saved.refused
        account.dropped = dict(saved.dropped)
        return account

    def _in_holes(self, first: int, end: int) -> int:
        return sum(max(0, min(b, end) - max(a, first)) for a, b in self.holes)

    def _skip(self) -> None:
        while self.holes and self.holes[0][0] <= self.position:
            self.position = max(self.position, self.holes.pop(0)[1])
