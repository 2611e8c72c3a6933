"""Where records wait for their collector, with the account of them.

`RecordQueue` is the seam: records wait in memory (`MemoryQueue`) or on disk (`SpoolQueue`), and
nothing around them changes.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Protocol

from trireme_collector.delivery._spool_config import WhenFull
from trireme_collector.delivery._status import DROPPED_CLOSED, Account, Balance

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trireme_collector.records import Record

__all__ = ["DROPPED_BYTES", "DROPPED_RECORDS", "MemoryQueue", "RecordBuffer", "RecordQueue"]

DROPPED_RECORDS = "queue_records"
"""The reason of a drop: the queue held as many records as it may."""
DROPPED_BYTES = "queue_bytes"
"""The reason of a drop: the queue held as many bytes as it may."""

_NOTHING: Mapping[str, int] = {}


class RecordQueue(Protocol):
    """Records between acceptance and acknowledgement, in order, and the account of them.

    Any thread may put and look; one thread takes and acknowledges.
    """

    @property
    def records(self) -> int:
        """How many records can be taken or are taken and not acknowledged."""
        ...

    @property
    def size_bytes(self) -> int:
        """How many bytes they take, estimated."""
        ...

    @property
    def settled(self) -> int:
        """A count that passes a `mark` when everything that waited then was dealt with."""
        ...

    def mark(self) -> int:
        """Mark everything that waits now."""
        ...

    def put(
        self, records: Sequence[Record], sizes: Sequence[int], left_out: Mapping[str, int]
    ) -> bool:
        """Take records; never waits.

        Args:
            records: The records.
            sizes: Their estimated sizes in bytes, one each.
            left_out: How many others were given and are only counted, by reason.

        Returns:
            Whether there may be something to take now; otherwise it comes later.
        """
        ...

    def take(self, limit: int, limit_bytes: int) -> Sequence[Record]:
        """Give the oldest records, which stay in the queue.

        At most `limit` of them, and no more than take `limit_bytes`, but one in any case. What
        was taken and is not acknowledged yet is given again, alone: a batch that is sent again
        is the same batch. Taken records are never dropped.

        Raises:
            OSError: They cannot be read now.
        """
        ...

    def acknowledge(self, delivered: int, dead_lettered: int, dropped: Mapping[str, int]) -> None:
        """Remove the first records of those that were taken: they are done with.

        Args:
            delivered: How many of them the collector took.
            dead_lettered: How many are kept as dead letters.
            dropped: How many are lost, by reason.
        """
        ...

    def balance(self) -> Balance:
        """Give the account, consistent in itself."""
        ...

    def close(self) -> None:
        """Take no more records: they are counted as dropped from now on."""


class RecordBuffer:
    """Records with their sizes in memory, bounded by records and by bytes.

    Its owner calls it under one lock.

    Args:
        max_records: How many records it may hold.
        max_bytes: How many bytes they may take.
        when_full: Which records are given up beyond that.

    Attributes:
        size_bytes: How many bytes all records take, estimated.
        left: How many records were in it and are no longer, for whatever reason.
    """

    def __init__(self, max_records: int, max_bytes: int, when_full: WhenFull) -> None:
        """Start empty."""
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._drop_oldest = when_full is WhenFull.DROP_OLDEST
        self._waiting: deque[tuple[Record, int]] = deque()
        self._taken: deque[tuple[Record, int]] = deque()
        self.size_bytes = self.left = 0

    def __len__(self) -> int:
        """Count the records, taken ones included."""
        return len(self._waiting) + len(self._taken)

    def put(self, records: Sequence[Record], sizes: Sequence[int]) -> Mapping[str, int]:
        """Append records; give how many were given up for them, or of them, by reason."""
        more = sum(sizes)
        if (
            len(self) + len(records) <= self._max_records
            and self.size_bytes + more <= self._max_bytes
        ):
            self._waiting.extend(zip(records, sizes, strict=True))
            self.size_bytes += more
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

    def remove(self, count: int) -> None:
        """Remove the first records of those that were taken."""
        for _ in range(count):
            self.size_bytes -= self._taken.popleft()[1]
        self.left += count

    def _put_one(self, record: Record, size: int, dropped: dict[str, int]) -> None:
        while reason := self._full(size):
            dropped[reason] += 1
            # A record that cannot fit even alone must not push the others out.
            if not self._drop_oldest or not self._waiting or size > self._max_bytes:
                return
            self.size_bytes -= self._waiting.popleft()[1]
            self.left += 1
        self._waiting.append((record, size))
        self.size_bytes += size

    def _full(self, size: int) -> str:
        if len(self) >= self._max_records:
            return DROPPED_RECORDS
        return DROPPED_BYTES if self.size_bytes + size > self._max_bytes else ""


class MemoryQueue:
    """A queue in memory: what waits when the process is killed is lost.

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
        self._lock = threading.Lock()
        self._buffer = RecordBuffer(max_records, max_bytes, when_full)
        self._account = Account()
        self._closed = False

    @property
    def records(self) -> int:
        """How many records it holds, taken ones included, acknowledged ones not."""
        return len(self._buffer)

    @property
    def size_bytes(self) -> int:
        """How many bytes they take, estimated."""
        return self._buffer.size_bytes

    @property
    def settled(self) -> int:
        """How many records were in it and are no longer, for whatever reason."""
        return self._buffer.left

    def mark(self) -> int:
        """Mark everything that waits now."""
        with self._lock:
            return self._buffer.left + len(self._buffer)

    def put(
        self, records: Sequence[Record], sizes: Sequence[int], left_out: Mapping[str, int]
    ) -> bool:
        """Append records; see `RecordQueue.put`."""
        with self._lock:
            account = self._account
            account.accepted += len(records)
            for reason, count in left_out.items():
                account.accepted += count
                account.drop(reason, count)
            if self._closed:
                account.drop(DROPPED_CLOSED, len(records))
                return False
            if records:
                for reason, count in self._buffer.put(records, sizes).items():
                    account.drop(reason, count)
        return bool(records)

    def take(self, limit: int, limit_bytes: int) -> Sequence[Record]:
        """Give the oldest records; see `RecordQueue.take`."""
        with self._lock:
            return self._buffer.take(limit, limit_bytes)

    def acknowledge(self, delivered: int, dead_lettered: int, dropped: Mapping[str, int]) -> None:
        """Remove the first records of those that were taken; see `RecordQueue.acknowledge`."""
        with self._lock:
            account = self._account
            self._buffer.remove(delivered + dead_lettered + sum(dropped.values()))
            account.delivered += delivered
            account.dead_lettered += dead_lettered
            for reason, count in dropped.items():
                account.drop(reason, count)

    def balance(self) -> Balance:
        """Give the account, consistent in itself."""
        account = self._account
        with self._lock:
            return Balance(
                accepted=account.accepted,
                given=account.accepted,
                delivered=account.delivered,
                dead_lettered=account.dead_lettered,
                dropped=dict(account.dropped),
                queued=len(self._buffer),
                queued_bytes=self._buffer.size_bytes,
            )

    def close(self) -> None:
        """Take no more records."""
        with self._lock:
            self._closed = True
