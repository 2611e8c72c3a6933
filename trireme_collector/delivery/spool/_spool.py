"""A spool: records on disk between those who report them and those who deliver them."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from trireme_collector.delivery._spool_config import FsyncMode, SpoolConfig
from trireme_collector.delivery.spool import crash_points
from trireme_collector.delivery.spool._account import Account
from trireme_collector.delivery.spool._damage import DamageKeeper
from trireme_collector.delivery.spool._directory import lock_directory, prepare_directory
from trireme_collector.delivery.spool._files import NO_SPACE, Files
from trireme_collector.delivery.spool._frames import encode_frames
from trireme_collector.delivery.spool._ledger import Ledger
from trireme_collector.delivery.spool._log import SegmentLog
from trireme_collector.delivery.spool._portions import split_payloads
from trireme_collector.delivery.spool._reader import LOST_MISSING, SpoolReader, StartAt
from trireme_collector.delivery.spool._recovery import Recovery, recover
from trireme_collector.delivery.spool._room import Room
from trireme_collector.delivery.spool._status import (
    DROPPED_IO_ERROR,
    DROPPED_NO_SPACE,
    DROPPED_OVERSIZE,
    Appended,
    SpoolStatus,
)
from trireme_collector.delivery.spool._storage import Storage, SystemStorage
from trireme_collector.delivery.spool.crash_points import CrashPoint, reach
from trireme_collector.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

    from trireme_collector.delivery.spool._account import ReaderAccount
    from trireme_collector.delivery.spool._segment import Segment

__all__ = ["Spool"]

_NANOSECONDS = 1_000_000_000
_RETRY_NS = _NANOSECONDS


class Spool:
    """Records in one directory, between one intake and any number of readers.

    Build it with `Spool.open`. Appending and reading may be done from different threads. The
    owner calls `tick` at least as often as `SpoolConfig.fsync_interval_seconds` says, best from
    a thread that nobody waits for: it is what syncs.

    Attributes:
        files: The files of the directory.
        log: The segments.
        lock: Held around every change.
        recovery: What the start found.
    """

    def __init__(self, files: Files, config: SpoolConfig, lock_descriptor: int, epoch: int) -> None:
        """Recover; `open` is the way in."""
        self.files = files
        self.lock = threading.RLock()
        self._config = config
        self._lock_descriptor = lock_descriptor
        self._keeper = DamageKeeper(files, config.damaged_bytes)
        found = recover(files, config, self._keeper, int.from_bytes(os.urandom(7), "little"))
        self.recovery: Recovery = found.recovery
        self.log = SegmentLog(files, config, self.lock, found.state.seed, epoch)
        self.log.adopt(found.segments, found.next_sequence, found.generation)
        self.log.durable = found.durable
        if config.fsync is not FsyncMode.NEVER and found.durable < found.next_sequence:
            self.log.doubtful_end = found.next_sequence
        self._interval_ns = round(config.fsync_interval_seconds * _NANOSECONDS)
        self._syncs = config.fsync is not FsyncMode.NEVER
        self._ledger = Ledger(files, self.log, self.lock, found.state, syncs=self._syncs)
        self._readers: dict[str, SpoolReader] = {}
        self._room = Room(self.log, self._ledger, self._readers, config)
        self._sync_at_ns: int | None = None
        self._retry_at_ns = 0
        self._write_failures = self._sync_failures = 0
        self._last_error = ""
        self._closed = False
        oldest = self.log.segments[0].first if self.log.segments else self.log.next_sequence
        for account in self._ledger.accounts.values():
            account.lose(account.position, oldest, LOST_MISSING)
        if not self.recovery.created:
            self._ledger.save()

    @classmethod
    def open(
        cls,
        directory: str | os.PathLike[str],
        config: SpoolConfig | None = None,
        *,
        epoch: int = 0,
        storage: Storage | None = None,
    ) -> Spool:
        """Open a directory, or make it, and recover what is in it.

        Args:
            directory: Where the spool lies; nothing else may.
            config: Bounds and durability.
            epoch: The start of the program, nanoseconds since 1970 UTC; it is noted in segments.
            storage: The system, or what stands for it in tests.

        Raises:
            ConfigError: The directory cannot be used, another instance uses it, or a newer
                version wrote it; nothing was changed.
        """
        config = config or SpoolConfig()
        config.check()
        crash_points.arm_from_environment()
        path = str(Path(directory).absolute())
        storage = storage or SystemStorage()
        prepare_directory(storage, path)
        files = Files(storage, path)
        descriptor = lock_directory(files)
        reach(CrashPoint.OPEN_LOCKED)
        try:
            spool = cls(files, config, descriptor, epoch)
        except OSError as error:
            files.close(descriptor)
            msg = f"spool {path}: cannot be made ready: {error.strerror or error}; check the disk"
            raise ConfigError(msg) from error
        except BaseException:
            files.close(descriptor)
            raise
        reach(CrashPoint.OPEN_RECOVERED)
        return spool

    def __enter__(self) -> Self:
        """Do nothing: it is open."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def append(self, payloads: Sequence[bytes], now_ns: int) -> Appended:
        """Take records: what is counted as taken lies on disk, in the hands of the kernel at least.

        Args:
            payloads: The bytes of each record.
            now_ns: The time of a clock that does not jump.

        Raises:
            ValueError: The spool is closed.
        """
        with self.lock:
            self.check_open()
            first = self.log.next_sequence
            portions, oversize = split_payloads(payloads, self._config.segment_bytes)
            if oversize:
                self._ledger.refuse(oversize, DROPPED_OVERSIZE)
            for portion in portions:
                self._append(portion)
            end = self.log.next_sequence
        if self._config.fsync is FsyncMode.ALWAYS and end > first:
            self._sync(now_ns)
        return Appended(
            first=first,
            count=end - first,
            refused=len(payloads) - (end - first),
            durable=self.log.durable >= end,
        )

    def refuse(self, count: int, reason: str) -> None:
        """Count records that were given up before they came here, as accepted and dropped.

        Args:
            count: How many.
            reason: Why.

        Raises:
            ValueError: The spool is closed.
        """
        with self.lock:
            self.check_open()
            self._ledger.refuse(count, reason)

    def reader(self, name: str, start: StartAt = StartAt.OLDEST) -> SpoolReader:
        """Give the reader of a name; it goes on where it was.

        Args:
            name: Its name; each has one position.
            start: Where it begins if it was never there before.
        """
        with self.lock:
            self.check_open()
            if name in self._readers:
                return self._readers[name]
            account = self._ledger.accounts.get(name)
            if account is None:
                log = self.log
                at_end = start is StartAt.END or not log.segments
                position = log.next_sequence if at_end else log.segments[0].first
                self._ledger.accounts[name] = account = Account(name, position)
                self._ledger.save()
            reader = self._readers[name] = SpoolReader(self, account)
            return reader

    @property
    def reader_names(self) -> tuple[str, ...]:
        """The readers that segments are kept for, opened or not."""
        with self.lock:
            return tuple(self._ledger.accounts)

    def remove_reader(self, name: str) -> ReaderAccount | None:
        """Forget a reader: nothing is kept for it any more.

        Returns:
            Its last account, or None if there is no such reader.
        """
        with self.lock:
            self.check_open()
            reader = self._readers.pop(name, None)
            if reader is not None:
                reader.release()
            account = self._ledger.accounts.pop(name, None)
            if account is None:
                return None
            self._ledger.save()
            return account.balance(self.log.next_sequence)

    def tick(self, now_ns: int) -> int:
        """Do what is due: sync, keep the positions, remove what everybody has passed.

        Failures of the disk are counted, shown in `status`, and tried again.

        Args:
            now_ns: The time of a clock that does not jump.

        Returns:
            When to come again.

        Raises:
            ValueError: The spool is closed.
        """
        self.check_open()
        if self._sync_at_ns is not None and now_ns < self._sync_at_ns:
            return self._sync_at_ns
        self._sync_at_ns = now_ns + self._interval_ns
        if self._syncs:
            self._sync(now_ns)
        self._ledger.save_synced()
        with self.lock:
            self.log.retry_removals()
            self._room.remove_before(min(self._ledger.lowest(), self._ledger.synced_lowest))
            self.log.settle_doubt(self._ledger.lowest())
        return self._sync_at_ns

    def status(self) -> SpoolStatus:
        """Give the state of everything, consistent in itself."""
        with self.lock:
            log = self.log
            return SpoolStatus(
                next_sequence=log.next_sequence,
                durable_sequence=log.durable,
                size_bytes=log.total_bytes,
                segments=len(log.segments),
                refused=dict(self._ledger.refused),
                damage=msgspec.structs.replace(self._ledger.damage),
                write_failures=self._write_failures,
                sync_failures=self._sync_failures,
                state_failures=self._ledger.failures,
                rewrites=log.rewrites,
                last_error=self._last_error or self._ledger.last_error,
                readers=tuple(a.balance(log.next_sequence) for a in self._ledger.accounts.values()),
            )

    def close(self) -> None:
        """Sync, keep the positions, and let go of the directory; a second call does nothing."""
        with self.lock:
            if self._closed:
                return
            self._closed = True
        reach(CrashPoint.CLOSE_BEGUN)
        if self._syncs:
            self._retry_at_ns = 0
            self._sync(0)
        with self.lock:
            for reader in self._readers.values():
                reader.release()
            self._ledger.save()
        self._ledger.save_synced()
        with self.lock:
            self.log.close()
            self._ledger.close()
            self.files.close(self._lock_descriptor)
        reach(CrashPoint.CLOSE_DONE)

    def check_open(self) -> None:
        """Refuse to go on after `close`: the directory may be somebody else's by now.

        Raises:
            ValueError: The spool is closed.
        """
        if self._closed:
            raise ValueError("the spool is closed")

    def save_positions(self) -> None:
        """Keep the accounts as they are now; a reader calls it."""
        reach(CrashPoint.ACKNOWLEDGE_BEGUN)
        self._ledger.save()

    def note_damage(self, segment: Segment, ranges: list[tuple[int, int]]) -> None:
        """Count damaged ranges and keep them aside; a reader calls it."""
        for begin, end in ranges:
            kept = self._keeper.keep(segment, begin, end)
            if kept is None:
                continue
            self._ledger.damage.ranges += 1
            self._ledger.damage.range_bytes += end - begin
            self._ledger.damage.unkept += not kept
        self._ledger.changed = True

    def _append(self, portion: Sequence[bytes]) -> None:
        log = self.log
        data = encode_frames(portion, log.next_sequence, log.seed)
        if not self._room.is_enough(len(data)):
            portion = self._room.fit(portion, len(data))
            if not portion:
                return
            data = encode_frames(portion, log.next_sequence, log.seed)
        while True:
            try:
                log.append(data, len(portion))
            except OSError as error:
                self._write_failures += 1
                self._last_error = str(error)
                full = error.errno in NO_SPACE
                if full and self._room.make():
                    continue
                self._ledger.refuse(len(portion), DROPPED_NO_SPACE if full else DROPPED_IO_ERROR)
            return

    def _sync(self, now_ns: int) -> None:
        if self.log.is_synced:
            return
        if self._retry_at_ns and now_ns < self._retry_at_ns:
            return
        try:
            self.log.sync()
        except OSError as error:
            self._sync_failures += 1
            self._last_error = str(error)
            self._retry_at_ns = now_ns + _RETRY_NS
        else:
            self._retry_at_ns = 0
