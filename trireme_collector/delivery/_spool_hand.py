"""A batch that was read from a spool and is being sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from trireme_collector.delivery.spool import HEAD_BYTES
from trireme_collector.records import decode_msgpack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trireme_collector.records import Record

__all__ = ["Hand"]


class Hand:
    """The records of a batch, each with what has to be said when it is settled.

    Args:
        sequences: The sequence of each in the spool, at least one.
        payloads: The bytes of each.

    Attributes:
        records: Those that can be read and are not settled.
    """

    def __init__(self, sequences: Sequence[int], payloads: Sequence[bytes]) -> None:
        """Decode them."""
        self.records: list[Record] = []
        self._ends: list[int] = []
        self._sizes: list[int] = []
        self._unreadable: list[int] = []  # how many could not be read from the one before to this
        self._last = sequences[-1]
        self._rest_unreadable = self._rest_size = 0
        for sequence, payload in zip(sequences, payloads, strict=True):
            self._rest_size += len(payload) + HEAD_BYTES
            try:
                record = decode_msgpack(payload)
            except msgspec.MsgspecError:
                self._rest_unreadable += 1
                continue
            self.records.append(record)
            self._ends.append(sequence)
            self._sizes.append(self._rest_size)
            self._unreadable.append(self._rest_unreadable)
            self._rest_unreadable = self._rest_size = 0

    def settle(self, count: int) -> tuple[int, int, int]:
        """Forget the first records.

        Returns:
            The sequence that they end with, how many before it could not be read, and the bytes
            of them all.
        """
        end = self._ends[count - 1] if count else 0
        unreadable, size = sum(self._unreadable[:count]), sum(self._sizes[:count])
        for rows in (self.records, self._ends, self._sizes, self._unreadable):
            del rows[:count]
        if not self.records:
            end, unreadable, size = (
                self._last,
                unreadable + self._rest_unreadable,
                size + self._rest_size,
            )
        return end, unreadable, size
