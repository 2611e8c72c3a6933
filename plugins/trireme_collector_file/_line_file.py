"""A file that holds whole lines only, whatever happens to the disk below it."""

from __future__ import annotations

import errno
import os
import re
import stat
from typing import TYPE_CHECKING, NamedTuple

from trireme_collector_file._disk import directory
from trireme_collector_file._tail import find_tail

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from trireme_collector_file._disk import Disk

__all__ = ["Cut", "HeldByAnotherError", "LineFile", "NotAFileError", "UnsafeError", "WriteError"]

_COUNTED_BYTES = 1 << 20  # how much is read at once to count lines
_STREAMS = re.compile(r"/dev/(?:stdout|stderr|fd/\d+)|/proc/self/fd/\d+")
# Not blocking: a pipe without a reader must not hold up the start.
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class NotAFileError(OSError):
    """The path names something that lines cannot be appended to."""


class HeldByAnotherError(OSError):
    """Another process writes to the file."""


class UnsafeError(OSError):
    """Somebody else may have put the file there, to read records or to have another one grow."""


class WriteError(OSError):
    """Not all lines could be written; the file ends with the last one that could.

    Attributes:
        written: How many of the lines are in the file.
    """

    def __init__(self, cause: OSError, written: int) -> None:
        """Keep how many lines were written."""
        super().__init__(cause.errno, cause.strerror)
        self.written = written


class Cut(NamedTuple):
    """Where a file has to end, when it could not be cut off at once.

    Attributes:
        identity: Which file it is.
        size: Its size in bytes.
    """

    identity: tuple[int, int]
    size: int


class LineFile:
    """An open file to which lines are appended.

    A last line that was torn by a crash is cut off when the file is opened, so that every line
    is whole.

    Args:
        path: The file; it is created if it is not there.
        mode: The permissions of a created file, whatever the umask is.
        disk: Where it is.
        cut: Where it has to end, if it is the file that this speaks of.
        counted: Whether the lines that it holds are counted.

    Attributes:
        created: Whether the file was not there before.
        torn: Where it would have to end, when what is torn could not be cut off: it must be
            opened anew. None otherwise.
        modified_seconds: When it was last written before it was opened.
        size: How long it is, in bytes.
        lines: How many lines were appended, and, if they are counted, were there before.

    Raises:
        NotAFileError: The path names a directory, a socket, a pipe or a block device.
        HeldByAnotherError: Another process has locked the file.
        UnsafeError: Everybody may write to the directory, and the file is not ours alone.
        OSError: It cannot be opened.
    """

    def __init__(
        self,
        path: Path,
        mode: int,
        disk: Disk,
        *,
        cut: Cut | None = None,
        counted: bool = False,
    ) -> None:
        """Open, check, lock and mend the file."""
        self.path = path
        self.torn: Cut | None = None
        self.size = self.lines = self._start = 0
        self._disk = disk
        self._open(mode)
        try:
            self._prepare(mode, cut, counted=counted)
        except BaseException:
            disk.close(self._descriptor)
            raise

    def _open(self, mode: int) -> None:
        path = str(self.path)
        self._is_stream = _STREAMS.fullmatch(path) is not None
        # Whoever may put a link there could have any file of the system grow.
        flags = _FLAGS if self._is_stream else _FLAGS | os.O_NOFOLLOW
        try:
            self._descriptor = self._disk.open(path, flags | os.O_CREAT | os.O_EXCL, mode)
        except FileExistsError:
            self._descriptor = self._disk.open(path, flags, mode)
            self.created = False
        else:
            self.created = True

    def _prepare(self, mode: int, cut: Cut | None, *, counted: bool) -> None:
        disk = self._disk
        if self.created:
            disk.set_mode(self._descriptor, mode)
        status = disk.describe(self._descriptor)
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISCHR(status.st_mode)):
            raise NotAFileError(str(self.path))
        self._identity = (status.st_dev, status.st_ino)
        self.modified_seconds = int(status.st_mtime)
        # What standard output goes to belongs to whoever started us, and keeps its name.
        self._is_regular = stat.S_ISREG(status.st_mode) and not self._is_stream
        self._ends_inside = False
        if self._is_regular:
            self._check(status)
            self._lock()
            self.size = disk.describe(self._descriptor).st_size
            self._mend(cut)
            if counted:
                self.lines = self._count()

    @property
    def is_regular(self) -> bool:
        """Whether it is a file on a disk, rather than a device such as ``/dev/stdout``."""
        return self._is_regular

    def is_in_place(self) -> bool:
        """Whether the path still names this file: others may have moved or removed it."""
        try:
            status = self._disk.status(str(self.path))
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self._identity

    def append(self, lines: Sequence[bytes]) -> None:
        """Append whole lines.

        Raises:
            WriteError: The disk took some of them only; what was torn is cut off again. If
                even that fails, `torn` is set, and opening the file anew mends it.
        """
        data = memoryview(b"".join((b"\n", *lines) if self._ends_inside else lines))
        self._start = self._find_end()
        done = 0
        try:
            while done < len(data):
                count = self._disk.write(self._descriptor, data[done:])
                if not count:
                    # A file system that is full may say so by taking nothing.
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                done += count
        except OSError as error:
            raise WriteError(error, self._cut_back(lines, done)) from error
        self._ends_inside = False
        self.size = self._start + done
        self.lines += len(lines)

    def take_back(self, count: int) -> None:
        """Cut off what the last `append` has written: so many lines are to be written again.

        Raises:
            OSError: They cannot be cut off; `torn` is set.
        """
        if not self._is_regular:
            return
        self.torn = Cut(self._identity, self._start)
        self._disk.truncate(self._descriptor, self._start)
        self.torn = None
        self.size = self._start
        self.lines -= count

    def sync(self) -> None:
        """Force the file to the disk."""
        if self._is_regular:
            self._disk.sync(self._descriptor)

    def close(self) -> None:
        """Close the file; the lock goes with it."""
        self._disk.close(self._descriptor)

    def _find_end(self) -> int:
        """Ask for the size: another program may have emptied the file (``copytruncate``)."""
        if not self._is_regular:
            return 0
        try:
            size = self._disk.describe(self._descriptor).st_size
        except OSError as error:
            raise WriteError(error, 0) from error
        if size < self.size:
            self.lines = 0
        return size

    def _cut_back(self, lines: Sequence[bytes], done: int) -> int:
        """Cut off what is torn; give how many lines are in the file."""
        kept = written = 0
        left = done - self._ends_inside
        for line in lines:
            if kept + len(line) > left:
                break
            kept += len(line)
            written += 1
        self.lines += written
        self.size = self._start + kept
        if not self._is_regular:
            # A terminal has shown it: what comes next begins a line of its own.
            self._ends_inside = kept < left or (self._ends_inside and not done)
        elif kept < done:
            self.torn = Cut(self._identity, self.size)
            try:
                if self._disk.describe(self._descriptor).st_size == self._start + done:
                    self._disk.truncate(self._descriptor, self.size)
                    self.torn = None
            except OSError:
                return written
        return written

    def _check(self, status: os.stat_result) -> None:
        if self.created or (status.st_uid == os.geteuid() and status.st_nlink == 1):
            return
        with directory(self._disk, self.path.parent) as names:
            is_shared = self._disk.describe(names).st_mode & stat.S_IWOTH
        if is_shared:
            raise UnsafeError(str(self.path))

    def _lock(self) -> None:
        try:
            self._disk.lock(self._descriptor)
        except BlockingIOError as error:
            raise HeldByAnotherError(error.errno, str(self.path)) from error
        except OSError as error:
            # Some network file systems have no locks; that is no reason to write nothing.
            if error.errno not in {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}:
                raise

    def _mend(self, cut: Cut | None) -> None:
        if cut is not None and cut.identity == self._identity and cut.size < self.size:
            self._shorten(cut.size)
        tail = find_tail(self._disk, self._descriptor, self.size)
        if not tail.size:
            return
        if tail.is_torn and self._shorten(self.size - tail.size):
            return
        if self._disk.write(self._descriptor, b"\n"):
            self.size += 1

    def _shorten(self, size: int) -> bool:
        try:
            self._disk.truncate(self._descriptor, size)
        except PermissionError:
            # The file may only grow (chattr +a): then the torn line has to stand alone.
            return False
        self.size = size
        return True

    def _count(self) -> int:
        lines = offset = 0
        while data := self._disk.read_at(self._descriptor, _COUNTED_BYTES, offset):
            lines += data.count(b"\n")
            offset += len(data)
        return lines
