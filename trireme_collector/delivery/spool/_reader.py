"""One reader's way through the segments."""

from __future__ import annotations

import enum
from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple, Protocol

from trireme_collector.delivery.spool._scan import Scanner
from trireme_collector.delivery.spool._segment import HEADER_BYTES

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping, Sequence

    from trireme_collector.delivery.spool._account import Account, ReaderAccount
    from trireme_collector.delivery.spool._files import Files
    from trireme_collector.delivery.spool._log import SegmentLog
    from trireme_collector.delivery.spool._segment import Segment

__all__ = ["LOST_DAMAGED", "LOST_MISSING", "Batch", "ReaderOwner", "SpoolReader", "StartAt"]

LOST_DAMAGED = "damaged"
"""The reason of a drop: the bytes of the record were not what was written."""
LOST_MISSING = "missing"
"""The reason of a drop: nothing of the record was there."""

_BATCH_BYTES = 4 * 1024 * 1024


class StartAt(enum.StrEnum):
    """Where a reader that was never seen before begins."""

    OLDEST = "oldest"
    END = "end"


class Batch(NamedTuple):
    """Records in order.

    Attributes:
        sequences: The sequence of each; they rise, with a gap where records were lost.
        payloads: The bytes of each.
    """

    sequences: Sequence[int]
    payloads: Sequence[bytes]


class ReaderOwner(Protocol):
    """What a reader needs of its spool."""

    files: Files
    log: SegmentLog
    lock: threading.RLock

    def check_open(self) -> None:
        """Refuse to go on after the end."""
        ...

    def note_damage(self, segment: Segment, ranges: list[tuple[int, int]]) -> None:
        """Count damaged ranges and keep them aside."""
        ...

    def save_positions(self) -> None:
        """Keep the accounts as they are now."""
        ...


class _View(NamedTuple):
    scanner: Scanner
    limit: int
    until: int | None
    next_sequence: int
    cursor: int


class SpoolReader:
    """Reads every record once, in order, and remembers which are settled.

    One thread reads and acknowledges; others may append meanwhile.

    Args:
        owner: The spool.
        account: The account of this reader.
    """

    def __init__(self, owner: ReaderOwner, account: Account) -> None:
        """Begin with the oldest record that is not settled."""
        self._owner = owner
        self._account = account
        self._cursor = account.position
        self._scanner: Scanner | None = None
        self._damaged = False

    @property
    def name(self) -> str:
        """The name under which its position is kept."""
        return self._account.name

    @property
    def cursor(self) -> int:
        """The sequence of the next record to read; those before are settled or being sent."""
        return self._cursor

    @property
    def account(self) -> ReaderAccount:
        """The account, consistent in itself."""
        with self._owner.lock:
            return self._account.balance(self._owner.log.next_sequence)

    @property
    def spooled(self) -> int:
        """How many records wait, those being sent included."""
        with self._owner.lock:
            return self._account.spooled(self._owner.log.next_sequence)

    @property
    def spooled_bytes(self) -> int:
        """How many bytes they take on disk at most: whole segments are counted."""
        with self._owner.lock:
            position, segments = self._account.position, self._owner.log.segments
            if position >= self._owner.log.next_sequence:
                return 0
            index = bisect_right(segments, position, key=lambda segment: segment.first) - 1
            return sum(segment.end - HEADER_BYTES for segment in segments[max(0, index) :])

    def read(self, max_records: int, max_bytes: int = _BATCH_BYTES) -> Batch:
        """Give the next records; they stay in the spool until they are acknowledged.

        Args:
            max_records: How many to give at most.
            max_bytes: How many bytes to give at most, but one record in any case.

        Returns:
            The records; none when there are none.

        Raises:
            OSError: The disk does not give them now; nothing is lost by trying again.
            ValueError: The spool is closed.
        """
        sequences: list[int] = []
        payloads: list[bytes] = []
        while len(sequences) < max_records:
            try:
                with self._owner.lock:
                    self._owner.check_open()
                    view = self._look()
                if view is None:
                    break
                scanner = view.scanner
                some, some_payloads = scanner.read(
                    view.cursor,
                    view.limit,
                    max_records - len(sequences),
                    max_bytes,
                    is_first=not sequences,
                )
            except OSError:
                # How far it got in the file is unknown: the next reading finds the place again.
                self.release()
                if sequences:
                    break
                raise
            with self._owner.lock:
                if self._cursor != view.cursor or scanner.segment.removed:
                    # Records were given up meanwhile: what was read may be among them.
                    self.release()
                    continue
                if scanner.damage:
                    self._damaged = True
                    self._owner.note_damage(scanner.segment, scanner.damage)
                    scanner.damage = []
                if view.until is not None and some and some[-1] >= view.until:
                    # The next segment repeats these, or replaces what was never accepted.
                    keep = bisect_right(some, view.until - 1)
                    del some[keep:], some_payloads[keep:]
                    scanner.seek(view.limit)
                self._take(some, some_payloads, sequences, payloads)
                max_bytes -= sum(map(len, some_payloads))
                if scanner.offset < view.limit:
                    break
                self._leave(view)
                if view.until is None:
                    break
        return Batch(sequences, payloads)

    def acknowledge(
        self, sequence: int, *, dead_lettered: int = 0, dropped: Mapping[str, int] | None = None
    ) -> int:
        """Settle every record up to a sequence; they are never given again.

        Args:
            sequence: The last of them.
            dead_lettered: How many of them were refused for good.
            dropped: How many of them were given up, by reason. The others are delivered.

        Returns:
            How many were settled.

        Raises:
            ValueError: The sequence was not read yet, the numbers are too high, or the spool is
                closed: whoever has it now would not know of this.
        """
        with self._owner.lock:
            self._owner.check_open()
            if sequence >= self._cursor:
                msg = f"reader {self.name!r}: record {sequence} was not read yet"
                raise ValueError(msg)
            count = self._account.settle(sequence, dead_lettered=dead_lettered, dropped=dropped)
            self._owner.save_positions()
            return count

    def rewind(self) -> None:
        """Read again from the oldest record that is not settled.

        What was being sent and given up on disk meanwhile is lost now, and counted as missing.
        """
        with self._owner.lock:
            segments = self._owner.log.segments
            oldest = segments[0].first if segments else self._owner.log.next_sequence
            self._account.lose(self._account.position, oldest, LOST_MISSING)
            self._cursor = self._account.position
            self.release()

    def lose_oldest(self, end: int, reason: str) -> None:
        """Give up what was not read yet and lies before a sequence."""
        first = max(self._cursor, self._account.position)
        self._account.lose(first, end, reason)
        self._cursor = max(self._cursor, end, self._account.position)

    def release(self) -> None:
        """Close the file that is being read; reading opens it again."""
        scanner, self._scanner = self._scanner, None
        self._damaged = False
        if scanner is not None:
            scanner.close()

    def _look(self) -> _View | None:
        """Find where to read next; None when there is nothing."""
        log = self._owner.log
        self._cursor = max(self._cursor, self._account.position)
        while self._cursor < log.next_sequence:
            if self._scanner is not None and self._scanner.segment.removed:
                self.release()
            if self._scanner is None:
                self._open(log)
            scanner = self._scanner
            if scanner is None:
                continue
            segment = scanner.segment
            index = log.segments.index(segment)
            following = log.segments[index + 1] if index + 1 < len(log.segments) else None
            return _View(
                scanner,
                segment.end,
                following.first if following else None,
                log.next_sequence,
                self._cursor,
            )
        return None

    def _open(self, log: SegmentLog) -> None:
        """Open the segment that holds the next record, or give up what is in none."""
        segments = log.segments
        index = bisect_right(segments, self._cursor, key=lambda segment: segment.first) - 1
        if index < 0:
            end = segments[0].first if segments else log.next_sequence
            self._lose(end, LOST_MISSING)
            return
        try:
            self._scanner = Scanner(self._owner.files, segments[index])
        except FileNotFoundError:
            last = index + 1 == len(segments)
            self._lose(log.next_sequence if last else segments[index + 1].first, LOST_MISSING)

    def _take(
        self,
        some: list[int],
        some_payloads: list[bytes],
        sequences: list[int],
        payloads: list[bytes],
    ) -> None:
        if not some:
            return
        if some[-1] - self._cursor + 1 != len(some):
            for sequence in some:
                if sequence > self._cursor:
                    self._lose(sequence, LOST_DAMAGED if self._damaged else LOST_MISSING)
                self._cursor = sequence + 1
        self._cursor = some[-1] + 1
        if self._account.holes or some[0] < self._account.position:
            is_lost = self._account.is_lost
            kept = [pair for pair in zip(some, some_payloads, strict=True) if not is_lost(pair[0])]
            sequences += [pair[0] for pair in kept]
            payloads += [pair[1] for pair in kept]
        else:
            sequences += some
            payloads += some_payloads

    def _leave(self, view: _View) -> None:
        """Go on to the next segment; what lies between was lost."""
        end = view.next_sequence if view.until is None else view.until
        if self._cursor < end:
            self._lose(end, LOST_DAMAGED if self._damaged else LOST_MISSING)
        if view.until is not None:
            self.release()

    def _lose(self, end: int, reason: str) -> None:
        self._account.lose(self._cursor, end, reason)
        self._cursor = max(self._cursor, end)
