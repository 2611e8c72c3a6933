"""The collector that writes JSON lines to a file."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from trireme_collector import ConfigError, RetryableDeliveryError
from trireme_collector.formats import render_json_line
from trireme_collector_file._line_file import (
    HeldByAnotherError,
    LineFile,
    NotAFileError,
    WriteError,
)
from trireme_collector_file._options import FileOptions, Fsync
from trireme_collector_file._rotation import period_of, prune, rotate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trireme_collector import Record

__all__ = ["FileCollector"]

_NANOSECONDS = 1_000_000_000
_ROTATE_AGAIN_NS = 60 * _NANOSECONDS
# What only a change by the operator mends; anything else may pass by itself.
_CONFIGURED_WRONG = {
    errno.EACCES: "give the agent's user the right to write there",
    errno.EISDIR: "name a file, not a directory",
    errno.ELOOP: "remove the loop of symbolic links",
    errno.ENAMETOOLONG: "choose a shorter path",
    errno.ENOENT: "create its directory, or set another path",
    errno.ENOTDIR: "a part of the path is not a directory; set another path",
    errno.ENXIO: "name a file, not a pipe or a socket",
    errno.EPERM: "give the agent's user the right to write there",
    errno.EROFS: "the file system is read-only; set another path",
}
_DISK = {
    errno.ENOSPC: "the disk is full; free some space, writing goes on by itself",
    errno.EDQUOT: "the quota is used up; free some space, writing goes on by itself",
    errno.EFBIG: "the file is as large as the system allows; set rotate_bytes",
    errno.EIO: "the disk reports an error; check it, writing is tried again",
}


class FileCollector:
    """Appends records to a file, one line of JSON each.

    Whatever goes wrong, the file holds whole lines, and a record that counts as delivered is in
    it once. Losing power may still lose what was not forced to the disk; see `Fsync`.

    Args:
        options: Path, rotation and permissions.
        name: What messages call the collector.
        time_ns: The time of day, nanoseconds since 1970 UTC.
    """

    def __init__(
        self, options: FileOptions, *, name: str = "file", time_ns: Callable[[], int] = time.time_ns
    ) -> None:
        """Keep the options; open nothing."""
        self._options = options
        self._name = name
        self._time_ns = time_ns
        self._path = Path(options.path)
        self._mode = int(options.mode, base=8)
        self._file: LineFile | None = None
        self._period = 0
        self._rotate_not_before_ns = 0
        self._rotation_error: OSError | None = None
        self._sync_error: OSError | None = None
        self._unsynced = False
        self._synced_ns = 0

    def open(self) -> None:
        """Open the file.

        Raises:
            ConfigError: It cannot be written as it is configured.
            RetryableDeliveryError: It cannot be written now; the disk may be full.
        """
        try:
            self._open()
        except (NotAFileError, HeldByAnotherError) as error:
            raise ConfigError(self._explain(error)) from error
        except OSError as error:
            message = self._explain(error)
            if error.errno in _CONFIGURED_WRONG:
                raise ConfigError(message) from error
            raise RetryableDeliveryError(message) from error

    def deliver(self, batch: Sequence[Record]) -> None:
        """Append the records.

        Raises:
            RetryableDeliveryError: Some or all could not be written; ``delivered`` says how many
                were, and the others left no trace in the file.
        """
        lines = [render_json_line(record) for record in batch]
        delivered = 0
        try:
            while delivered < len(lines):
                file = self._ready(len(lines[delivered]))
                portion = lines[delivered : delivered + self._room(file, lines, delivered)]
                self._append(file, portion)
                delivered += len(portion)
        except WriteError as error:
            delivered += error.written
            if self._file is not None and self._file.is_torn:
                self._drop_file()
            raise RetryableDeliveryError(self._explain(error), delivered=delivered) from error
        except OSError as error:
            self._drop_file()
            raise RetryableDeliveryError(self._explain(error), delivered=delivered) from error
        rotation_error, self._rotation_error = self._rotation_error, None
        if rotation_error is not None:
            message = (
                f"cannot rotate {str(self._path)!r}: {rotation_error.strerror}; the records are"
                " in the old file. Give the agent's user the right to rename files there"
            )
            raise RetryableDeliveryError(message, delivered=delivered)

    def flush(self) -> None:
        """Force what was written to the disk, unless that is left to the kernel.

        Raises:
            RetryableDeliveryError: The disk refused; the records may be lost with the power.
        """
        if self._file is None or not self._unsynced:
            return
        try:
            self._sync(self._file)
        except OSError as error:
            raise RetryableDeliveryError(self._explain(error)) from error
        finally:
            noted, self._sync_error = self._sync_error, None
        if noted is not None:
            # A second fsync succeeds although the kernel has thrown the pages away.
            raise RetryableDeliveryError(self._explain(noted)) from noted

    def reopen(self) -> None:
        """Open the path anew, after something else has moved the file.

        Raises:
            RetryableDeliveryError: It cannot be opened; the next delivery tries again.
        """
        try:
            if self._file is not None and self._unsynced:
                self._sync(self._file)
            self._drop_file()
            self._open()
        except OSError as error:
            raise RetryableDeliveryError(self._explain(error)) from error

    def close(self) -> None:
        """Close the file."""
        self._drop_file()

    def _open(self) -> LineFile:
        file = LineFile(self._path, self._mode)
        self._file = file
        if file.created and self._options.fsync is not Fsync.NEVER:
            self._sync_directory()
        # An old file keeps its own period: it is rotated before anything is added.
        seconds = file.modified_seconds if file.size else self._time_ns() // _NANOSECONDS
        self._period = period_of(seconds, self._options.rotate_seconds)
        return file

    def _drop_file(self) -> None:
        file, self._file = self._file, None
        self._unsynced = False
        if file is not None:
            file.close()

    def _ready(self, next_size: int) -> LineFile:
        """Give the file that the next line belongs into."""
        file = self._file
        if file is not None and file.is_regular and not file.is_in_place():
            self._drop_file()
            file = None
        if file is None:
            file = self._open()
        now_ns = self._time_ns()
        if not self._is_due(file, next_size, now_ns):
            return file
        try:
            if self._options.fsync is not Fsync.NEVER:
                file.sync()
            rotate(self._path, now_ns)
        except OSError as error:
            # Better in the old file than nowhere.
            self._rotation_error = error
            self._rotate_not_before_ns = now_ns + _ROTATE_AGAIN_NS
            return file
        self._drop_file()
        file = self._open()
        try:
            prune(self._path, self._options.keep)
        except OSError as error:
            self._rotation_error = error
        return file

    def _is_due(self, file: LineFile, next_size: int, now_ns: int) -> bool:
        options = self._options
        if not file.is_regular or not file.size or now_ns < self._rotate_not_before_ns:
            return False
        if options.rotate_bytes and file.size + next_size > options.rotate_bytes:
            return True
        return period_of(now_ns // _NANOSECONDS, options.rotate_seconds) != self._period

    def _room(self, file: LineFile, lines: Sequence[bytes], start: int) -> int:
        """Count the lines that still belong into the file, at least one."""
        limit = self._options.rotate_bytes
        if not limit or not file.is_regular or self._time_ns() < self._rotate_not_before_ns:
            return len(lines) - start
        size = file.size + len(lines[start])
        count = 1
        while start + count < len(lines) and size + len(lines[start + count]) <= limit:
            size += len(lines[start + count])
            count += 1
        return count

    def _append(self, file: LineFile, lines: Sequence[bytes]) -> None:
        before = file.size
        self._unsynced = self._options.fsync is not Fsync.NEVER
        file.append(lines)
        if self._options.fsync is Fsync.ALWAYS:
            try:
                self._sync(file)
            except OSError:
                # The kernel may have thrown the pages away: they are written again, once.
                file.take_back(before)
                raise
        elif self._options.fsync is Fsync.INTERVAL:
            interval_ns = round(self._options.fsync_interval_seconds * _NANOSECONDS)
            if self._time_ns() - self._synced_ns >= interval_ns:
                self._sync_or_note(file)

    def _sync_or_note(self, file: LineFile) -> None:
        # The records are in the file and stay there; flush() says that they may not be durable.
        try:
            self._sync(file)
        except OSError as error:
            self._sync_error = error
            self._synced_ns = self._time_ns()

    def _sync(self, file: LineFile) -> None:
        file.sync()
        self._unsynced = False
        self._synced_ns = self._time_ns()

    def _sync_directory(self) -> None:
        descriptor = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _explain(self, error: OSError) -> str:
        path = str(self._path)
        start = f"collector {self._name!r} cannot write to {path!r}"
        if isinstance(error, NotAFileError):
            return f"{start}: it is neither a file nor a terminal; name a file"
        if isinstance(error, HeldByAnotherError):
            return f"{start}: another process writes to it; give each agent a path of its own"
        if error.errno == errno.ENOENT and not self._path.parent.exists():
            parent = str(self._path.parent)
            return f"{start}: the directory {parent!r} does not exist; create it or set path"
        number = error.errno or 0
        remedy = _DISK.get(number) or _CONFIGURED_WRONG.get(number) or "it is tried again"
        return f"{start}: {error.strerror or error}; {remedy}"
