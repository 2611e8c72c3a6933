"""Where recordings are written: files of the store, or a stream."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final, Protocol

from trireme_datapath.recorder._background_writer import BackgroundWriter, Piece, Written
from trireme_datapath.recorder._page_cache import PageRelease
from trireme_datapath.recorder._recording import NEVER_NS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trireme_datapath.recorder._store import RecordingStore
    from trireme_datapath.recorder.capture_formats import CaptureEncoder, CaptureStatistics, Frame

__all__ = ["FileOutput", "Output", "Rotation", "StreamOutput", "Written"]

_FLUSH_BYTES: Final = 1 << 18
_FLUSH_NS: Final = 250_000_000
_PIECE_BYTES: Final = 1 << 16
_MAX_PARTS: Final = 1024  # IOV_MAX of linux/uio.h


class Output(Protocol):
    """Takes the frames of one recording."""

    @property
    def bytes_written(self) -> int:
        """Bytes of the capture so far, in all files."""
        ...

    def add(
        self, frames: Sequence[Frame], interface: int, comments: Sequence[str] | None, now_ns: int
    ) -> None:
        """Take frames; they are written when there are enough, or after a while."""
        ...

    def flush(self, now_ns: int, *, force: bool = False) -> Written:
        """Write what waits if it is time, and say what became of it."""
        ...

    def close(self, statistics: CaptureStatistics, now_ns: int, wall_ns: int) -> Written:
        """Finish."""
        ...


class Rotation:
    """When a recording goes on in another file, and how many stay.

    Args:
        max_bytes: Begin another file from this size on; 0 never.
        every_ns: Begin another file after this time; 0 never.
        keep: How many files stay; 0 all.
    """

    def __init__(self, max_bytes: int = 0, every_ns: int = 0, keep: int = 0) -> None:
        """Keep the limits."""
        self.max_bytes = max_bytes or NEVER_NS
        self.every_ns = every_ns or NEVER_NS
        self.keep = keep


class _Buffered:
    """Gathers encoded frames, so that a write takes many."""

    def __init__(self, encoder: CaptureEncoder, now_ns: int) -> None:
        self._encoder = encoder
        self._parts: list[bytes] = []
        self._waiting = self._packets = self._size = 0
        self._due_ns = now_ns + _FLUSH_NS
        self.bytes_written = 0

    def add(
        self, frames: Sequence[Frame], interface: int, comments: Sequence[str] | None, now_ns: int
    ) -> None:
        """Encode frames."""
        if not self._parts:
            self._due_ns = now_ns + _FLUSH_NS
        count, size = len(frames), sum([frame[2] for frame in frames])
        self._packets += count
        self._size += size
        # In pieces for which the allocator need not ask the kernel for fresh memory each time.
        step = max(1, _PIECE_BYTES * count // (size + 32 * count + 1))
        for first in range(0, count, step):
            last = first + step
            some = comments[first:last] if comments else None
            data = self._encoder.encode(frames[first:last], interface, some)
            self._parts.append(data)
            self._waiting += len(data)

    def _is_due(self, now_ns: int) -> bool:
        return bool(self._parts) and (self._waiting >= _FLUSH_BYTES or now_ns >= self._due_ns)

    def _take(self) -> tuple[list[bytes], int, int]:
        taken = self._parts, self._packets, self._size
        self._parts = []
        self._waiting = self._packets = self._size = 0
        return taken


class FileOutput(_Buffered):
    """Writes to files of the store; each is valid up to the last write, whatever happens.

    Attributes:
        names: The files, in order; those that a ring let go of are not among them.
    """

    def __init__(
        self,
        store: RecordingStore,
        prefix: str,
        encoder: CaptureEncoder,
        now_ns: int,
        rotation: Rotation | None = None,
    ) -> None:
        """Make the first file.

        Raises:
            RecorderError: It cannot be made.
            OSError: Its beginning cannot be written.
        """
        super().__init__(encoder, now_ns)
        self._store = store
        self._prefix = prefix
        self._rotation = rotation or Rotation()
        self._file = -1
        self._file_bytes = 0
        self._file_since_ns = now_ns
        self.names: list[str] = []
        self._next_file(now_ns)
        self._writer = BackgroundWriter(self._put)

    @property
    def path(self) -> str:
        """The file that is written to, or was last."""
        return self._store.path_of(self.names[-1])

    def _next_file(self, now_ns: int) -> None:
        name, descriptor = self._store.create(self._prefix, self._encoder.suffix)
        try:
            begin = self._encoder.begin()
            _write_all(descriptor, [begin])
        except OSError:
            os.close(descriptor)
            self._store.remove(name)
            raise
        self._file, self._file_bytes, self._file_since_ns = descriptor, len(begin), now_ns
        self._pages = PageRelease(descriptor)
        self.bytes_written += len(begin)
        self.names.append(name)
        keep = self._rotation.keep
        while keep and len(self.names) > keep:
            self._store.remove(self.names.pop(0))

    def flush(self, now_ns: int, *, force: bool = False) -> Written:
        """Have what waits written if it is time, and say what became of it and of earlier pieces.

        Args:
            now_ns: A clock that does not jump.
            force: Whether it is time in any case; then it is also waited for.
        """
        if force or self._is_due(now_ns):
            data, packets, size = self._take()
            if data:
                self._writer.put(Piece(data, packets, size, now_ns))
        return self._writer.take(wait=force)

    def _put(self, piece: Piece) -> None:
        rotation = self._rotation
        if (
            self._file_bytes >= rotation.max_bytes
            or piece.now_ns - self._file_since_ns >= rotation.every_ns
        ):
            self._finish_file()
            self._next_file(piece.now_ns)
        self._write(piece.data)

    def _write(self, data: list[bytes]) -> None:
        try:
            size = _write_all(self._file, data)
        except OSError:
            # What came half into the file goes out again: it ends with a whole packet.
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._file_bytes)
            raise
        self._file_bytes += size
        self.bytes_written += size
        self._pages.grown(self._file_bytes)

    def _finish_file(self) -> None:
        if self._file >= 0:
            self._store.finished(self.names[-1])
            self._pages.close()
            os.close(self._file)
            self._file = -1

    def close(self, statistics: CaptureStatistics, now_ns: int, wall_ns: int) -> Written:
        """Write what waits and the end of the file, and close it."""
        written = self.flush(now_ns, force=True)
        self._writer.close()
        try:
            if written.error is None:
                total = statistics.packets + written.packets
                end = self._encoder.end(type(statistics)(total, statistics.lost), wall_ns)
                with contextlib.suppress(OSError):  # a file without it is as good
                    self._write([end])
        finally:
            self._finish_file()
        return written

    def discard(self) -> None:
        """Remove the files: nothing was ever recorded."""
        self._writer.close()
        self._finish_file()
        for name in self.names:
            self._store.remove(name)
        self.names.clear()


class StreamOutput(_Buffered):
    """Writes to a descriptor that somebody else opened: a file, a pipe, standard output."""

    def __init__(self, descriptor: int, encoder: CaptureEncoder, now_ns: int) -> None:
        """Write the beginning.

        Raises:
            OSError: It cannot be written.
        """
        super().__init__(encoder, now_ns)
        self._file = descriptor
        self._put([encoder.begin()])

    def _put(self, data: list[bytes]) -> None:
        self.bytes_written += _write_all(self._file, data)

    def flush(self, now_ns: int, *, force: bool = False) -> Written:
        """Write what waits if it is time, and say what became of it."""
        written = Written()
        if force or self._is_due(now_ns):
            data, packets, size = self._take()
            try:
                self._put(data)
                written.packets, written.size = packets, size
            except OSError as error:
                written.lost_packets, written.lost_bytes = packets, size
                written.error = error
        return written

    def close(self, statistics: CaptureStatistics, now_ns: int, wall_ns: int) -> Written:
        """Write what waits, and the end."""
        written = self.flush(now_ns, force=True)
        if written.error is None:
            total = statistics.packets + written.packets
            end = self._encoder.end(type(statistics)(total, statistics.lost), wall_ns)
            with contextlib.suppress(OSError):
                self._put([end])
        return written


def _write_all(descriptor: int, parts: list[bytes]) -> int:
    """Write everything, as it is in memory: nothing is joined, and so copied, before."""
    size = 0
    for first in range(0, len(parts), _MAX_PARTS):
        some = parts[first : first + _MAX_PARTS]
        whole = sum([len(part) for part in some])
        done = os.writev(descriptor, some)
        if done < whole:
            view = memoryview(b"".join(some))[done:]
            while view:
                view = view[os.write(descriptor, view) :]
        size += whole
    return size
