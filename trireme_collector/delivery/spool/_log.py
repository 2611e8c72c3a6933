"""The segments in order: written at the end, synced, written again when a sync fails, removed."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from trireme_collector.delivery._spool_config import FsyncMode
from trireme_collector.delivery.spool._segment import (
    HEADER_BYTES,
    UNFINISHED,
    Segment,
    encode_header,
)
from trireme_collector.delivery.spool.crash_points import EXIT_CODE, CrashPoint, is_due, reach

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trireme_collector.delivery._spool_config import SpoolConfig
    from trireme_collector.delivery.spool._files import Files

__all__ = ["SegmentLog"]

_COPIES_BYTES = 16 * 1024 * 1024
"""How much is kept in memory until it is synced; normally it is what comes in 200 ms."""


class SegmentLog:
    """Framed records on disk. Its owner holds `lock` around every call but `sync`.

    After a failed ``fsync`` the kernel may forget what it could not write and call the next one a
    success. So a file that failed is never written or synced again: everything since the last
    good one is written to a new segment from the copies in memory, and only its sync counts.

    Attributes:
        segments: The segments in order.
        next_sequence: The sequence of the next record.
        durable: Every record below it outlives a loss of power.
        doubtful_end: Records from `durable` to before this can no longer be made durable: too
            many came while syncs failed. They are there, but nothing can be promised. 0: none.
        rewrites: How often records were written again.

    Args:
        files: The directory.
        config: Bounds and durability.
        lock: Its owner's lock.
        seed: Seeds the checks of new segments.
        epoch: The start of the owner, for the heads of segments.
    """

    def __init__(
        self, files: Files, config: SpoolConfig, lock: threading.RLock, seed: int, epoch: int
    ) -> None:
        """Start with no segment."""
        self.segments: list[Segment] = []
        self.next_sequence = self.durable = 1
        self.doubtful_end = 0
        self.rewrites = 0
        self.seed = seed
        self._files = files
        self._config = config
        self._lock = lock
        self._epoch = epoch
        self._syncs = config.fsync is not FsyncMode.NEVER
        self._sync_lock = threading.Lock()
        self._active: Segment | None = None
        self._generation = 0
        self._closed_bytes = 0
        self._names_changed = False
        # Open files of closed segments that are to be synced, and those whose sync failed.
        self._retired: list[Segment] = []
        self._suspect: list[Segment] = []
        self._removable: list[str] = []
        self._copies: list[bytes] = []
        self._copies_bytes = 0
        self._copies_first = 1
        self._copies_lost = False

    @property
    def total_bytes(self) -> int:
        """How much the segments take on disk."""
        return self._closed_bytes + (self._active.size if self._active else 0)

    @property
    def is_synced(self) -> bool:
        """Whether a sync would change nothing."""
        return self.durable == self.next_sequence and not (self._retired or self._names_changed)

    def adopt(self, segments: Sequence[Segment], next_sequence: int, generation: int) -> None:
        """Take over what was found at start; the last segment is written on if it is open."""
        self.segments = list(segments)
        self.next_sequence = self._copies_first = next_sequence
        self._generation = generation
        if self.segments and not self.segments[-1].closed:
            self._active = self.segments[-1]
        self._recount()

    def room_needed(self, size: int) -> int:
        """Say how much more disk an append of so many bytes takes."""
        return size + HEADER_BYTES if self._needs_segment(size) else size

    def append(self, data: bytes, count: int) -> None:
        """Write framed records behind the last one.

        Raises:
            OSError: None of them was taken.
        """
        if self._needs_segment(len(data)):
            self._retire()
            self._active = self._create(self.next_sequence)
            self.segments.append(self._active)
        segment = self._active
        if segment is None:
            return
        reach(CrashPoint.APPEND_BEGUN)
        if is_due(CrashPoint.APPEND_HALF_WRITTEN):
            part = data[: len(data) * 2 // 3]
            self._files.write(segment.descriptor, part, segment.end)
            os._exit(EXIT_CODE)
        try:
            self._files.write(segment.descriptor, data, segment.end)
        except OSError:
            self._cut(segment)
            raise
        reach(CrashPoint.APPEND_WRITTEN)
        segment.end += len(data)
        segment.size = max(segment.size, segment.end)
        self.next_sequence += count
        if self._syncs:
            self._remember(data)

    def sync(self) -> None:
        """Make everything that was appended before the call outlive a loss of power.

        Appends go on meanwhile.

        Raises:
            OSError: It could not be; `durable` has not moved.
        """
        with self._sync_lock:
            with self._lock:
                if self._suspect:
                    self._rewrite()
                segments = [*self._retired, *([self._active] if self._active else [])]
                ends = [segment.end for segment in segments]
                next_sequence = self.next_sequence
                uncopied = self._copies_lost
                if uncopied:
                    self._forget_copies()
                copies = len(self._copies)
                names_changed, self._names_changed = self._names_changed, False
            reach(CrashPoint.SYNC_BEGUN)
            try:
                for segment, end in zip(segments, ends, strict=True):
                    if segment.synced_end < end:
                        self._files.sync(segment.descriptor)
                reach(CrashPoint.SYNC_SEGMENTS_DONE)
                if names_changed:
                    self._files.sync_directory()
            except OSError:
                with self._lock:
                    self._names_changed = True
                    if uncopied:
                        self.doubtful_end = next_sequence
                    self._suspect_all()
                raise
            with self._lock:
                self._synced(segments, ends, next_sequence, copies)
            reach(CrashPoint.SYNC_DONE)

    def remove(self, segment: Segment) -> None:
        """Take a segment out of the spool and its file from the disk."""
        self.segments.remove(segment)
        segment.removed = True
        self._recount()
        self._unlink(segment.name)

    def retry_removals(self) -> None:
        """Try again to remove the files that could not be removed."""
        names, self._removable = self._removable, []
        for name in names:
            self._unlink(name)

    def settle_doubt(self, lowest: int) -> None:
        """Forget what could not be made durable once nobody needs it any more."""
        if self.doubtful_end and lowest >= self.doubtful_end:
            self.doubtful_end = 0
            self.durable = max(self.durable, self._copies_first)

    def close(self) -> None:
        """Close every file; nothing can be appended afterwards."""
        self._retire()
        for segment in (*self._retired, *self._suspect):
            self._close(segment)
        self._retired = []
        self._suspect = []

    def _needs_segment(self, size: int) -> bool:
        segment = self._active
        if segment is None:
            return True
        return segment.end > HEADER_BYTES and segment.end + size > self._config.segment_bytes

    def _create(self, first: int) -> Segment:
        """Begin a segment.

        Raises:
            OSError: It could not be; nothing is left of it, or nothing that would be read.
        """
        self._generation += 1
        segment = Segment(first, self._generation, self.seed)
        segment.descriptor = self._files.open_write(segment.name, create=True)
        reach(CrashPoint.SEGMENT_CREATED)
        try:
            self._files.write(segment.descriptor, encode_header(segment, self._epoch), 0)
            if self._config.preallocate:
                self._files.allocate(segment.descriptor, self._config.segment_bytes)
                segment.size = self._config.segment_bytes
        except OSError:
            self._close(segment)
            self._unlink(segment.name)
            raise
        reach(CrashPoint.SEGMENT_READY)
        self._names_changed = True
        return segment

    def _retire(self) -> None:
        """Write no more to the segment that was written."""
        segment, self._active = self._active, None
        if segment is None:
            return
        segment.closed = True
        if segment.size > segment.end:
            self._cut_to_end(segment)
        if self._syncs:
            self._retired.append(segment)
        else:
            self._close(segment)
        self._recount()

    def _cut(self, segment: Segment) -> None:
        """Take back what a failed write may have left; if that fails, write elsewhere."""
        try:
            self._files.truncate(segment.descriptor, segment.end)
            segment.size = segment.end
        except OSError:
            self._retire()

    def _cut_to_end(self, segment: Segment) -> None:
        try:
            self._files.truncate(segment.descriptor, segment.end)
        except OSError:
            return  # what lies behind the end is not read now, and passed over after a restart
        segment.size = segment.end

    def _remember(self, data: bytes) -> None:
        if self._copies_lost:
            return
        self._copies.append(data)
        self._copies_bytes += len(data)
        if self._copies_bytes > _COPIES_BYTES:
            self._forget_copies()
            self._copies_lost = True

    def _forget_copies(self) -> None:
        """Begin anew with what comes next."""
        self._copies = []
        self._copies_bytes = 0
        self._copies_first = self.next_sequence
        self._copies_lost = False

    def _synced(
        self, segments: list[Segment], ends: list[int], next_sequence: int, copies: int
    ) -> None:
        for segment, end in zip(segments, ends, strict=True):
            segment.synced_end = end
            if segment.closed and segment in self._retired:
                self._retired.remove(segment)
                self._close(segment)
        if not self._copies_lost:
            self._copies_bytes -= sum(map(len, self._copies[:copies]))
            del self._copies[:copies]
            self._copies_first = next_sequence
        if not self.doubtful_end:
            self.durable = next_sequence

    def _suspect_all(self) -> None:
        """Never write to or sync again what is open now."""
        self._retire()
        self._suspect += self._retired
        self._retired = []

    def _rewrite(self) -> None:
        """Write everything since the last good sync to a new segment."""
        if self._copies_lost:
            self.doubtful_end = self.next_sequence
            self._forget_copies()
        elif self._copies:
            segment = self._create_from_copies()
            reach(CrashPoint.REWRITE_WRITTEN)
            self._replace_with(segment)
            self.rewrites += 1
            reach(CrashPoint.REWRITE_DONE)
        for suspect in self._suspect:
            self._close(suspect)
        self._suspect = []

    def _create_from_copies(self) -> Segment:
        """Write a segment whole, under another name first: what it repeats may be lost after it."""
        self._generation += 1
        segment = Segment(self._copies_first, self._generation, self.seed)
        data = b"".join((encode_header(segment, self._epoch), *self._copies))
        name = f"{segment.name}{UNFINISHED}"
        self._files.unlink(name)
        segment.descriptor = self._files.open_write(name, create=True)
        try:
            self._files.write(segment.descriptor, data, 0)
            self._files.sync(segment.descriptor)
            self._files.put_in_place(name, segment.name)
        except OSError:
            self._close(segment)
            self._unlink(name)
            raise
        self._names_changed = True
        segment.end = segment.size = segment.synced_end = len(data)
        return segment

    def _replace_with(self, segment: Segment) -> None:
        """Put the rewritten segment in the place of what it repeats."""
        self._retire()
        for other in self.segments[:]:
            # An earlier one may hold a part of it, too: it is read up to this one's first.
            if other.first >= segment.first:
                self.remove(other)
        # All that is open holds nothing but what was written again.
        for other in self._retired:
            self._close(other)
        self._retired = []
        self.segments.append(segment)
        self._active = segment
        self._recount()

    def _unlink(self, name: str) -> None:
        try:
            self._files.unlink(name)
        except OSError:
            self._removable.append(name)

    def _close(self, segment: Segment) -> None:
        if segment.descriptor >= 0:
            descriptor, segment.descriptor = segment.descriptor, -1
            self._files.close(descriptor)

    def _recount(self) -> None:
        self._closed_bytes = sum(s.size for s in self.segments if s is not self._active)
