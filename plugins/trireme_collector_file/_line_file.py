"""A file that holds whole lines only, whatever happens to the disk below it."""

from __future__ import annotations

import fcntl
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["HeldByAnotherError", "LineFile", "NotAFileError", "WriteError"]


class NotAFileError(OSError):
    """The path names something that lines cannot be appended to."""


class HeldByAnotherError(OSError):
    """Another process writes to the file."""


class WriteError(OSError):
    """Not all lines could be written; the file ends with the last one that could.

    Attributes:
        written: How many of the lines are in the file.
    """

    def __init__(self, cause: OSError, written: int) -> None:
        """Keep how many lines were written."""
        super().__init__(cause.errno, cause.strerror)
        self.written = written


class LineFile:
    """An open file to which lines are appended.

    A file whose last line was torn by a crash gets the missing line end when it is opened, so
    the torn line stands alone and the next one is whole.

    Args:
        path: The file; it is created if it is not there.
        mode: The permissions of a created file, whatever the umask is.

    Attributes:
        created: Whether the file was not there before.
        is_torn: Whether it ends inside a line, and must be opened anew.
        modified_seconds: When it was last written before it was opened.
        size: How long it is, in bytes.

    Raises:
        NotAFileError: The path names a directory, a socket, a pipe or a block device.
        HeldByAnotherError: Another process has locked the file.
        OSError: It cannot be opened.
    """

    def __init__(self, path: Path, mode: int) -> None:
        """Open, lock and heal the file."""
        self.path = path
        # Not blocking: a pipe without a reader must not hold up the start.
        flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        try:
            self._descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, mode)
        except FileExistsError:
            self._descriptor = os.open(path, flags)
            self.created = False
        else:
            self.created = True
        try:
            if self.created:
                os.fchmod(self._descriptor, mode)
            self._prepare()
        except BaseException:
            os.close(self._descriptor)
            raise

    def _prepare(self) -> None:
        status = os.fstat(self._descriptor)
        self.is_torn = False
        self._is_regular = stat.S_ISREG(status.st_mode)
        self.size = 0
        self.modified_seconds = int(status.st_mtime)
        if self._is_regular:
            self._lock()
            self._heal()
        elif not stat.S_ISCHR(status.st_mode):
            raise NotAFileError(str(self.path))
        self._identity = (status.st_dev, status.st_ino)

    @property
    def is_regular(self) -> bool:
        """Whether it is a file on a disk, rather than a device such as ``/dev/stdout``."""
        return self._is_regular

    def is_in_place(self) -> bool:
        """Whether the path still names this file: others may have moved or removed it."""
        try:
            status = self.path.stat()
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self._identity

    def append(self, lines: Sequence[bytes]) -> None:
        """Append whole lines.

        Raises:
            WriteError: The disk took some of them only; what was torn is cut off again. If
                even that fails, `is_torn` is set, and opening the file anew heals it.
        """
        data = memoryview(b"".join(lines))
        done = 0
        try:
            while done < len(data):
                done += os.write(self._descriptor, data[done:])
        except OSError as error:
            raise WriteError(error, self._cut_back(lines, done)) from error
        self.size += done

    def take_back(self, size: int) -> None:
        """Shorten the file to an earlier size: what came after is to be written again."""
        if self._is_regular:
            os.ftruncate(self._descriptor, size)
            self.size = size

    def sync(self) -> None:
        """Force the file to the disk."""
        if self._is_regular:
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the file; the lock goes with it."""
        os.close(self._descriptor)

    def _cut_back(self, lines: Sequence[bytes], done: int) -> int:
        written = kept = 0
        for line in lines:
            if kept + len(line) > done:
                break
            kept += len(line)
            written += 1
        try:
            self.take_back(self.size + kept)
        except OSError:
            self.is_torn = True
        return written

    def _lock(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise HeldByAnotherError(str(self.path)) from error
        except OSError:
            # Some network file systems have no locks; that is no reason to write nothing.
            return

    def _heal(self) -> None:
        self.size = os.fstat(self._descriptor).st_size
        if self.size and os.pread(self._descriptor, 1, self.size - 1) != b"\n":
            self.size += os.write(self._descriptor, b"\n")
