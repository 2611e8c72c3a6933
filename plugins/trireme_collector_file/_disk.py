"""Every call that the collector makes to a disk, behind one interface that a test can let fail."""

# One call here is one call of the system, so that each can be made to fail: no pathlib.
# ruff: noqa: PTH104, PTH108, PTH208

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Disk", "SystemDisk", "directory"]


class Disk(Protocol):
    """Calls like those of `os`, each of which may raise `OSError` and do less than asked."""

    def open(self, path: str, flags: int, mode: int) -> int:
        """Open a file or directory."""
        ...

    def close(self, descriptor: int) -> None:
        """Close it."""
        ...

    def read_at(self, descriptor: int, size: int, offset: int) -> bytes:
        """Read up to so many bytes at an offset."""
        ...

    def write(self, descriptor: int, data: bytes | memoryview) -> int:
        """Write; give how many bytes were taken."""
        ...

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut a file."""
        ...

    def sync(self, descriptor: int) -> None:
        """Make a file, or the names in a directory, outlive a loss of power."""
        ...

    def describe(self, descriptor: int) -> os.stat_result:
        """Look at an open file."""
        ...

    def status(self, path: str) -> os.stat_result:
        """Look at a name without following a link."""
        ...

    def lock(self, descriptor: int) -> None:
        """Lock a file for this process, without waiting."""
        ...

    def set_mode(self, descriptor: int, mode: int) -> None:
        """Set the permissions of a file."""
        ...

    def set_owner(self, descriptor: int, user: int, group: int) -> None:
        """Give a file to a user and a group."""
        ...

    def set_modified(self, descriptor: int, time_ns: int) -> None:
        """Set when a file was last changed, nanoseconds since 1970 UTC."""
        ...

    def rename(self, source: str, target: str) -> None:
        """Give a file another name, in the place of what had it."""
        ...

    def unlink(self, path: str) -> None:
        """Remove a name."""
        ...

    def names(self, path: str) -> list[str]:
        """List a directory."""
        ...


class SystemDisk:
    """The calls of the operating system."""

    def open(self, path: str, flags: int, mode: int) -> int:
        """Open a file or directory."""
        return os.open(path, flags, mode)

    def close(self, descriptor: int) -> None:
        """Close it."""
        os.close(descriptor)

    def read_at(self, descriptor: int, size: int, offset: int) -> bytes:
        """Read up to so many bytes at an offset."""
        return os.pread(descriptor, size, offset)

    def write(self, descriptor: int, data: bytes | memoryview) -> int:
        """Write; give how many bytes were taken."""
        return os.write(descriptor, data)

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut a file."""
        os.ftruncate(descriptor, size)

    def sync(self, descriptor: int) -> None:
        """Make a file, or the names in a directory, outlive a loss of power."""
        os.fsync(descriptor)

    def describe(self, descriptor: int) -> os.stat_result:
        """Look at an open file."""
        return os.fstat(descriptor)

    def status(self, path: str) -> os.stat_result:
        """Look at a name without following a link."""
        return os.lstat(path)

    def lock(self, descriptor: int) -> None:
        """Lock a file for this process, without waiting."""
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def set_mode(self, descriptor: int, mode: int) -> None:
        """Set the permissions of a file."""
        os.fchmod(descriptor, mode)

    def set_owner(self, descriptor: int, user: int, group: int) -> None:
        """Give a file to a user and a group."""
        os.fchown(descriptor, user, group)

    def set_modified(self, descriptor: int, time_ns: int) -> None:
        """Set when a file was last changed, nanoseconds since 1970 UTC."""
        os.utime(descriptor, ns=(time_ns, time_ns))

    def rename(self, source: str, target: str) -> None:
        """Give a file another name, in the place of what had it."""
        os.rename(source, target)

    def unlink(self, path: str) -> None:
        """Remove a name."""
        os.unlink(path)

    def names(self, path: str) -> list[str]:
        """List a directory."""
        return os.listdir(path)


@contextlib.contextmanager
def directory(disk: Disk, path: Path) -> Iterator[int]:
    """Give the descriptor of a directory while something is done with it."""
    descriptor = disk.open(str(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, 0)
    try:
        yield descriptor
    finally:
        disk.close(descriptor)
