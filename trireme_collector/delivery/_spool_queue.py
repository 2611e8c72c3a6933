"""A queue on disk: what it has accepted outlives the process.

Records come in on any thread, and that thread must not wait for a disk. So they are handed over
in memory, and one thread (`SpoolWriter`) brings them to the disk. From then on they are accepted.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from msgspec.structs import replace

from trireme_collector.delivery._queue import RecordBuffer
from trireme_collector.delivery._reporter import FailureReporter
from trireme_collector.delivery._spool_config import WhenFull
from trireme_collector.delivery._spool_directory import make_parents, spool_directory
from trireme_collector.delivery._spool_hand import Hand
from trireme_collector.delivery._status import DROPPED_CLOSED, Account, Balance, SpoolHealth
from trireme_collector.delivery.spool import HEAD_BYTES, ReaderAccount, Spool
from trireme_collector.records import encode_msgpack

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trireme_collector.delivery._config import DeliveryConfig
    from trireme_collector.delivery.spool import SpoolReader, Storage
    from trireme_collector.records import Record

__all__ = ["DROPPED_MALFORMED", "DROPPED_UNDECODABLE", "SpoolQueue"]

DROPPED_MALFORMED = "malformed"
"""The reason of a drop: a field of the record had a value that cannot be written."""
DROPPED_UNDECODABLE = "undecodable"
"""The reason of a drop: another version of the program wrote a record that this one cannot read."""

_READER = "delivery"
_PORTION_RECORDS = 500
_PORTION_BYTES = 4 * 1024 * 1024
_EMPTY = ReaderAccount(
    name=_READER,
    accepted=0,
    delivered=0,
    dead_lettered=0,
    dropped=0,
    spooled=0,
    dropped_by_reason={},
    position=0,
)


class SpoolQueue:
    """A queue on disk; see `RecordQueue`.

    Args:
        collector: The name of the collector.
        config: Where it lies and how large it may become.
        storage: The system, or what stands for it in tests.

    Raises:
        ConfigError: The name of the collector cannot be that of a directory.
    """

    def __init__(
        self, collector: str, config: DeliveryConfig, *, storage: Storage | None = None
    ) -> None:
        """Take records, in memory; touch nothing on disk yet."""
        self.directory = spool_directory(config.state_directory, collector)
        self._collector = collector
        self._config = config
        self._storage = storage
        self._reporter = FailureReporter(collector, round(config.log_interval_seconds * 1e9))
        self._spool: Spool | None = None
        self._reader: SpoolReader | None = None
        self._hand: Hand | None = None
        self._wake: Callable[[], None] = _nobody
        # Held while records go to the disk and are counted there, never by those who put.
        self._order = threading.Lock()
        # Held for moments: around what is below.
        self._lock = threading.Lock()
        self._buffer = RecordBuffer(config.queue_records, config.queue_bytes, WhenFull.DROP_NEWEST)
        self._uncounted: dict[str, int] = {}
        self._late = Account()
        self._closed = False
        self._given = self._accepted_before = 0
        self._account = _EMPTY
        self._waiting_bytes = 0
        self._health = SpoolHealth()
        self._read_failures = 0

    def open(self, epoch: int, wake: Callable[[], None]) -> None:
        """Open the spool; what was left there can be taken.

        Args:
            epoch: The start of the program, nanoseconds since 1970 UTC.
            wake: Called when records were put.

        Raises:
            ConfigError: The directory cannot be used.
        """
        make_parents(self.directory)
        self._spool = Spool.open(
            self.directory, self._config.spool, epoch=epoch, storage=self._storage
        )
        self._reader = self._spool.reader(_READER)
        self._waiting_bytes = self._reader.spooled_bytes
        self._wake = wake
        self._count()
        self._accepted_before = self._account.accepted
        self._look_at_health()
        self._tell_recovery()

    @property
    def records(self) -> int:
        """How many records lie on disk and are not acknowledged."""
        return self._account.spooled

    @property
    def size_bytes(self) -> int:
        """How many bytes they take, estimated."""
        return self._waiting_bytes

    @property
    def settled(self) -> int:
        """The sequence of the oldest record that is not dealt with."""
        return self._account.position

    @property
    def unwritten(self) -> int:
        """How many records wait for the disk."""
        return len(self._buffer)

    def mark(self) -> int:
        """Mark everything that lies on disk now."""
        return self._spool.log.next_sequence if self._spool is not None else 0

    def put(
        self, records: Sequence[Record], sizes: Sequence[int], left_out: Mapping[str, int]
    ) -> bool:
        """Hand records over; the writer accepts them."""
        with self._lock:
            self._given += len(records) + sum(left_out.values())
            if self._closed:
                for reason, count in (*left_out.items(), (DROPPED_CLOSED, len(records))):
                    self._late.accepted += count
                    self._late.drop(reason, count)
                return False
            uncounted = self._uncounted
            for reason, count in left_out.items():
                uncounted[reason] = uncounted.get(reason, 0) + count
            if records:
                for reason, count in self._buffer.put(records, sizes).items():
                    uncounted[reason] = uncounted.get(reason, 0) + count
        self._wake()
        return False

    def write(self, now_ns: int) -> int:
        """Bring a portion of what was handed over to the disk; the writer calls it.

        Args:
            now_ns: The time of a clock that does not jump.

        Returns:
            How many records were dealt with.
        """
        with self._lock:
            spool = self._spool
            if spool is None or not (len(self._buffer) or self._uncounted):
                return 0
            records = self._buffer.take(_PORTION_RECORDS, _PORTION_BYTES)
            uncounted, self._uncounted = self._uncounted, {}
        payloads: list[bytes] = []
        for record in records:
            try:
                payloads.append(encode_msgpack(record))
            except Exception as error:  # noqa: BLE001  what was handed in may be no record at all
                uncounted[DROPPED_MALFORMED] = uncounted.get(DROPPED_MALFORMED, 0) + 1
                self._reporter.report("record_malformed", error, now_ns)
        with self._order:
            for reason, count in uncounted.items():
                spool.refuse(count, reason)
            refused = spool.append(payloads, now_ns).refused if payloads else 0
            size = sum(map(len, payloads)) + HEAD_BYTES * len(payloads)
            self._count(len(records), 0 if refused else size)
        if refused:
            self._look_at_health()
            why = OSError(self._health.last_error or "the spool is full")
            self._reporter.report(
                "records_not_spooled", why, now_ns, records=refused, spool=str(self.directory)
            )
        return len(records) or 1

    def tick(self, now_ns: int) -> None:
        """Sync what is due; the writer calls it several times a second."""
        if self._spool is None:
            return
        failures = self._health.sync_failures
        self._spool.tick(now_ns)
        self._look_at_health()
        if self._health.sync_failures > failures:
            why = OSError(self._health.last_error)
            self._reporter.report("spool_not_synced", why, now_ns, spool=str(self.directory))

    def take(self, limit: int, limit_bytes: int) -> Sequence[Record]:
        """Give the oldest records; see `RecordQueue.take`."""
        hand, reader = self._hand, self._reader
        while hand is None and reader is not None:
            try:
                batch = reader.read(limit, limit_bytes)
            except OSError:
                self._read_failures += 1
                raise
            except ValueError:
                break  # closed under the hands of a collector that was too late
            if not batch.sequences:
                self._recount()  # what is not there any more was counted as lost
                break
            hand = self._hand = Hand(batch.sequences, batch.payloads)
            if not hand.records:
                self._settle(hand, 0, 0, {})
                hand = None
        return () if hand is None else tuple(hand.records)

    def acknowledge(self, delivered: int, dead_lettered: int, dropped: Mapping[str, int]) -> None:
        """Settle the first records of those that were taken; see `RecordQueue.acknowledge`."""
        hand = self._hand
        if hand is not None:
            count = delivered + dead_lettered + sum(dropped.values())
            self._settle(hand, count, dead_lettered, dropped)

    def balance(self) -> Balance:
        """Give the account, consistent in itself; it never waits for the disk."""
        with self._lock:
            account, late = self._account, self._late
            dropped = dict(account.dropped_by_reason)
            for reason, count in late.dropped.items():
                dropped[reason] = dropped.get(reason, 0) + count
            accepted = account.accepted + late.accepted
            unwritten = self._accepted_before + self._given - accepted
            return Balance(
                accepted=accepted,
                given=self._given,
                delivered=account.delivered,
                dead_lettered=account.dead_lettered,
                dropped=dropped,
                queued=account.spooled,
                queued_bytes=self._waiting_bytes,
                spool=replace(self._health, unwritten=unwritten),
            )

    def close(self) -> None:
        """Take no more records: they are counted as dropped from now on."""
        with self._lock:
            self._closed = True

    def release(self) -> None:
        """Let go of the directory, when nobody writes any more."""
        if self._spool is not None:
            self._spool.close()

    def _settle(
        self, hand: Hand, count: int, dead_lettered: int, dropped: Mapping[str, int]
    ) -> None:
        end, unreadable, size = hand.settle(count)
        if not hand.records:
            self._hand = None
        if self._reader is None:
            return
        if unreadable:
            dropped = {**dropped, DROPPED_UNDECODABLE: unreadable}
        try:
            self._reader.acknowledge(end, dead_lettered=dead_lettered, dropped=dropped)
        except ValueError:
            if not self._closed:
                raise
            return  # the spool was closed before: these will be sent once more
        self._recount(-size)

    def _recount(self, more_bytes: int = 0) -> None:
        with self._order:
            self._count(0, more_bytes)

    def _count(self, written: int = 0, more_bytes: int = 0) -> None:
        """Take over the account of the disk, together with what left the memory for it."""
        if self._reader is None:
            return
        account = self._reader.account
        with self._lock:
            self._buffer.remove(written)
            self._account = account
            waiting = max(0, self._waiting_bytes + more_bytes)
            self._waiting_bytes = waiting if account.spooled else 0

    def _look_at_health(self) -> None:
        if self._spool is None:
            return
        status = self._spool.status()
        damage = status.damage
        self._health = SpoolHealth(
            size_bytes=status.size_bytes,
            undurable=min(status.next_sequence - status.durable_sequence, self.records),
            damaged=damage.ranges + damage.torn_tails + damage.files,
            write_failures=status.write_failures,
            sync_failures=status.sync_failures,
            state_failures=status.state_failures,
            read_failures=self._read_failures,
            last_error=status.last_error,
        )

    def _tell_recovery(self) -> None:
        if self._spool is None:
            return
        found = self._spool.recovery
        if found.torn_bytes or found.damaged_states or found.unreadable_segments:
            why = OSError("a part of the spool was damaged, and is kept aside")
            self._reporter.report(
                "spool_damaged",
                why,
                0,
                spool=str(self.directory),
                torn_bytes=found.torn_bytes,
                records=found.torn_records,
                unreadable_segments=found.unreadable_segments,
            )


def _nobody() -> None:
    """Wake nobody: the spool is not open yet."""
