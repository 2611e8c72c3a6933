"""File operations that finish what they began, or say that they could not."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from trireme_collector.delivery.spool._storage import Storage

__all__ = ["NO_SPACE", "Files"]

NO_SPACE = frozenset((errno.ENOSPC, errno.EDQUOT))
"""What a call says when the disk, or the owner's part of it, is full."""

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")

_PAGE = 4096
_ALWAYS = os.O_CLOEXEC | os.O_NOFOLLOW
_MODE = 0o600
_DIRECTORY_MODE = 0o700
_NO_ALLOCATION = {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


class Files:
    """The files of one directory.

    Interrupted calls are made again, short writes are completed, and a name never leads through
    a link.

    Args:
        storage: The system, or what stands for it.
        directory: Where the files lie.
    """

    def __init__(self, storage: Storage, directory: str) -> None:
        """Touch nothing."""
        self.storage = storage
        self.directory = directory

    def path(self, name: str) -> str:
        """Give the whole path of a name."""
        return f"{self.directory}/{name}"

    def open_read(self, name: str) -> int:
        """Open a file for reading."""
        return _again(self.storage.open, self.path(name), os.O_RDONLY | _ALWAYS, 0)

    def open_write(self, name: str, *, create: bool = False) -> int:
        """Open a file for reading and writing; a created one must be new."""
        flags = os.O_RDWR | _ALWAYS | (os.O_CREAT | os.O_EXCL if create else 0)
        return _again(self.storage.open, self.path(name), flags, _MODE)

    def open_lock(self, name: str) -> int:
        """Open a file that is only there to be locked."""
        return _again(self.storage.open, self.path(name), os.O_RDWR | os.O_CREAT | _ALWAYS, _MODE)

    def close(self, descriptor: int) -> None:
        """Close a file; an error here changes nothing, for what mattered was synced before."""
        try:
            self.storage.close(descriptor)
        except OSError as error:
            # Linux has let go of it even when interrupted; other errors come before that too.
            if error.errno == errno.EBADF:
                raise

    def read(self, descriptor: int, size: int, offset: int) -> bytes:
        """Read so many bytes, fewer only at the end; what the disk cannot read is zeros."""
        parts: list[bytes] = []
        while size > 0:
            try:
                part = _again(self.storage.read_at, descriptor, size, offset)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                part = self._read_pages(descriptor, size, offset)
            if not part:
                break
            parts.append(part)
            size -= len(part)
            offset += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def write(self, descriptor: int, data: bytes, offset: int) -> None:
        """Write all of it.

        Raises:
            OSError: It was not all written; how much was is unknown.
        """
        done = _again(self.storage.write_at, descriptor, data, offset)
        if done < len(data):
            rest = memoryview(data)
            while done < len(data):
                taken = _again(self.storage.write_at, descriptor, rest[done:], offset + done)
                if not taken:
                    raise OSError(errno.EIO, "nothing more is taken by", self.directory)
                done += taken

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut a file."""
        _again(self.storage.truncate, descriptor, size)

    def allocate(self, descriptor: int, size: int) -> None:
        """Take the space for a file, where the file system can."""
        try:
            _again(self.storage.allocate, descriptor, size)
        except OSError as error:
            if error.errno not in _NO_ALLOCATION:
                raise

    def sync(self, descriptor: int) -> None:
        """Make a file outlive a loss of power."""
        _again(self.storage.sync, descriptor)

    def sync_directory(self) -> None:
        """Make the names in the directory outlive a loss of power."""
        flags = os.O_RDONLY | os.O_DIRECTORY | _ALWAYS
        descriptor = _again(self.storage.open, self.directory, flags, 0)
        try:
            _again(self.storage.sync, descriptor)
        finally:
            self.close(descriptor)

    def size(self, name: str) -> int:
        """Give the size of a file."""
        return _again(self.storage.status, self.path(name)).st_size

    def make_directory(self, name: str) -> None:
        """Make a directory in this one; one that is there already is no error."""
        try:
            _again(self.storage.make_directory, self.path(name), _DIRECTORY_MODE)
        except FileExistsError:
            return

    def names(self) -> list[str]:
        """List the directory."""
        return _again(self.storage.names, self.directory)

    def lock(self, descriptor: int) -> None:
        """Lock a file without waiting."""
        _again(self.storage.lock, descriptor)

    def unlink(self, name: str) -> None:
        """Remove a file; one that is gone already is no error."""
        try:
            _again(self.storage.unlink, self.path(name))
        except FileNotFoundError:
            return

    def put_in_place(self, name: str, target: str) -> None:
        """Put a file into the place of another: after a crash it is the old one or the new one."""
        _again(self.storage.rename, self.path(name), self.path(target))

    def read_whole(self, name: str, limit: int) -> bytes:
        """Read a small file, up to a limit."""
        descriptor = self.open_read(name)
        try:
            return self.read(descriptor, limit, 0)
        finally:
            self.close(descriptor)

    def _read_pages(self, descriptor: int, size: int, offset: int) -> bytes:
        """Read page by page, so that one bad place costs one page."""
        parts: list[bytes] = []
        end = offset + size
        while offset < end:
            wanted = min(_PAGE - offset % _PAGE, end - offset)
            try:
                part = _again(self.storage.read_at, descriptor, wanted, offset)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                part = bytes(wanted)
            if not part:
                break
            parts.append(part)
            offset += len(part)
        return b"".join(parts)


def _again(
    call: Callable[_Parameters, _Result], *args: _Parameters.args, **kwargs: _Parameters.kwargs
) -> _Result:
    """Make a call until no signal interrupts it."""
    while True:
        try:
            return call(*args, **kwargs)
        except InterruptedError:
            continue
