"""Reading one segment frame by frame, over whatever damage lies in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trireme_collector.delivery.spool._frames import (
    HEAD_BYTES,
    MAX_PAYLOAD_BYTES,
    NextFrame,
    find_frame,
    read_frames,
)
from trireme_collector.delivery.spool._segment import HEADER_BYTES

if TYPE_CHECKING:
    from trireme_collector.delivery.spool._files import Files
    from trireme_collector.delivery.spool._segment import Segment

__all__ = ["Scanner"]

_PORTION = 256 * 1024


class Scanner:
    """Reads a segment in order.

    Attributes:
        segment: What it reads.
        offset: Where the next frame begins.
        damage: The ranges passed over since they were last taken away, as offset and end. The
            last one ends at the limit when nothing sound followed it.

    Args:
        files: The directory.
        segment: What to read.
        offset: Where a frame begins.

    Raises:
        OSError: The file cannot be opened.
    """

    def __init__(self, files: Files, segment: Segment, offset: int = HEADER_BYTES) -> None:
        """Open the file."""
        self.segment = segment
        self.offset = offset
        self.damage: list[tuple[int, int]] = []
        self._files = files
        self._descriptor = files.open_read(segment.name)
        self._data = b""
        self._data_offset = offset

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            self._files.close(descriptor)

    def seek(self, offset: int) -> None:
        """Go to where a frame begins."""
        self.offset = offset

    def read(
        self, expected: int, limit: int, max_records: int, max_bytes: int, *, is_first: bool = True
    ) -> tuple[list[int], list[bytes]]:
        """Take frames up to a limit of the file.

        Args:
            expected: The lowest sequence of interest.
            limit: Where the sound part of the file ends.
            max_records: How many to take at most.
            max_bytes: How many bytes to take at most.
            is_first: Whether the first record is taken however long it is.

        Returns:
            Sequences and payloads. Without a bound in the way, all up to the limit.

        Raises:
            OSError: The file cannot be read.
        """
        sequences: list[int] = []
        payloads: list[bytes] = []
        wanted = _PORTION
        while self.offset < limit and len(sequences) < max_records:
            data, start = self._load(wanted, limit)
            position, taken, stop = read_frames(
                data,
                start,
                self.segment.seed,
                expected,
                max_records - len(sequences),
                max_bytes,
                is_first=is_first and not sequences,
                into=(sequences, payloads),
            )
            moved = position > start
            self.offset += position - start
            max_bytes -= taken
            if sequences:
                expected = sequences[-1] + 1
            if stop == NextFrame.LIMIT:
                break
            at_end = self._data_offset + len(data) >= limit
            if stop == NextFrame.BAD or (at_end and self.offset < limit):
                self._pass_damage(limit)
                wanted = _PORTION
            elif stop == NextFrame.MORE and not moved:
                wanted *= 4
            else:
                wanted = _PORTION
        return sequences, payloads

    def peek(self, begin: int, end: int) -> bytes:
        """Give the bytes of a range as they are."""
        return self._files.read(self._descriptor, end - begin, begin)

    def _load(self, wanted: int, limit: int) -> tuple[bytes, int]:
        """Give bytes that hold the place to read, and where in them it is."""
        start = self.offset - self._data_offset
        end = self._data_offset + len(self._data)
        fresh = start < 0 or start > len(self._data)
        # What is left of the portion is enough when a whole head is in it and more is not asked.
        if fresh or (end < limit and end - self.offset < max(wanted // 4, HEAD_BYTES)):
            size = min(wanted, limit - self.offset)
            self._data = self._files.read(self._descriptor, size, self.offset)
            self._data_offset = self.offset
            if len(self._data) < size:
                # The file is shorter than it was: what is not there reads as damage.
                self._data += bytes(size - len(self._data))
            start = 0
        return self._data, start

    def _pass_damage(self, limit: int) -> None:
        """Go to the next sound frame, or to the limit, and note what was passed over."""
        begin = self.offset
        self.offset = self._search(begin + 1, limit)
        self._data = b""
        self._data_offset = self.offset
        self.damage.append((begin, self.offset))

    def _search(self, start: int, limit: int) -> int:
        # Damage is mostly short: look near first, and never hold more than two of the longest.
        window = _PORTION // 4
        while start < limit:
            data = self._files.read(self._descriptor, min(window, limit - start), start)
            found = find_frame(data, 0, self.segment.seed)
            if found is not None:
                return start + found
            if len(data) < window:
                break
            if window < 2 * MAX_PAYLOAD_BYTES:
                window *= 4
            else:
                start += MAX_PAYLOAD_BYTES
        return limit
