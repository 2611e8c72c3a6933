"""Where records wait for their collector.

`RecordQueue` is the seam: a queue on disk has the same methods, and nothing around it changes.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

from trireme_collector.delivery._config import WhenFull

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trireme_collector.records import Record

__all__ = ["DROPPED_BYTES", "DROPPED_RECORDS", "MemoryQueue", "RecordQueue"]

DROPPED_RECORDS = "queue_records"
"""The reason of a drop: the queue held as many records as it may."""
DROPPED_BYTES = "queue_bytes"
"""The reason of a drop: the queue held as many bytes as it may."""

_NOTHING: Mapping[str, int] = {}


class RecordQueue(Protocol):
    """Records between acceptance and acknowledgement, in order.

    Its owner calls it under one lock.
    """

    @property
    def records(self) -> int:
        """How many records it holds, taken ones included, acknowledged ones not."""
        ...

    @property
    def size_bytes(self) -> int:
        """How many bytes they take, estimated."""
        ...

    def put(self, records: Sequence[Record], sizes: Sequence[int]) -> Mapping[str, int]:
        """Append records.

        Args:
            records: The records.
            sizes: Their estimated sizes in bytes, one each.

        Returns:
            How many records were given up for them, or of them, by reason; mostly empty.
        """
        ...

    def take(self, limit: int, limit_bytes: int) -> Sequence[Record]:
        """Give the oldest records, which stay in the queue.

        At most `limit` of them, and no more than take `limit_bytes`, but one in any case. What
        was taken and is not acknowledged yet is given again, alone: a batch that is sent again
        is the same batch. Taken records are never dropped.
        """
        ...

    def acknowledge(self, count: int) -> None:
        """Remove the first records of those that were taken: they are done with."""


class MemoryQueue:
    """A queue in memory, bounded by records and by bytes.

    Args:
        max_records: How many records it may hold.
        max_bytes: How many bytes they may take.
        when_full: Which records are given up beyond that.
    """

    def __init__(
        self,
        max_records: int,
        max_bytes: int,
        when_full: WhenFull = WhenFull.DROP_NEWEST,
    ) -> None:
        """Start empty."""
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._drop_oldest = when_full is WhenFull.DROP_OLDEST
        self._waiting: deque[tuple[Record, int]] = deque()
        self._taken: deque[tuple[Record, int]] = deque()
        self._bytes = 0

    @property
    def records(self) -> int:
        """How many records it holds, taken ones included, acknowledged ones not."""
        return len(self._waiting) + len(self._taken)

    @property
    def size_bytes(self) -> int:
        """How many bytes they take, estimated."""
        return self._bytes

    def put(self, records: Sequence[Record], sizes: Sequence[int]) -> Mapping[str, int]:
        """Append records; see `RecordQueue.put`."""
        more = sum(sizes)
        if (
            self.records + len(records) <= self._max_records
            and self._bytes + more <= self._max_bytes
        ):
            self._waiting.extend(zip(records, sizes, strict=True))
            self._bytes += more
            return _NOTHING
        dropped = {DROPPED_RECORDS: 0, DROPPED_BYTES: 0}
        for record, size in zip(records, sizes, strict=True):
            self._put_one(record, size, dropped)
        return {reason: count for reason, count in dropped.items() if count}

    def take(self, limit: int, limit_bytes: int) -> Sequence[Record]:
        """Give the oldest records; see `RecordQueue.take`."""
        if not self._taken:
            waiting, taken = self._waiting, self._taken
            size = 0
            while waiting and len(taken) < limit:
                size += waiting[0][1]
                if size > limit_bytes and taken:
                    break
                taken.append(waiting.popleft())
        return tuple(record for record, _ in self._taken)

    def acknowledge(self, count: int) -> None:
        """Remove the first records of those that were taken."""
        for _ in range(count):
            self._bytes -= self._taken.popleft()[1]

    def _put_one(self, record: Record, size: int, dropped: dict[str, int]) -> None:
        while reason := self._full(size):
            dropped[reason] += 1
            # A record that cannot fit even alone must not push the others out.
            if not self._drop_oldest or not self._waiting or size > self._max_bytes:
                return
            self._bytes -= self._waiting.popleft()[1]
        self._waiting.append((record, size))
        self._bytes += size

    def _full(self, size: int) -> str:
        if self.records >= self._max_records:
            return DROPPED_RECORDS
        return DROPPED_BYTES if self._bytes + size > self._max_bytes else ""
