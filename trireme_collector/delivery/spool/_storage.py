"""Every call that a spool makes to the system, behind one interface that a test can let fail."""

# One call here is one call of the system, so that each can be made to fail: no pathlib.
# ruff: noqa: PTH102, PTH104, PTH108, PTH123, PTH208

from __future__ import annotations

import fcntl
import os
from typing import Protocol

__all__ = ["Storage", "SystemStorage"]


class Storage(Protocol):
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

    def write_at(self, descriptor: int, data: bytes | memoryview, offset: int) -> int:
        """Write at an offset; give how many bytes were taken."""
        ...

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut a file, or lengthen it with zeros."""
        ...

    def allocate(self, descriptor: int, size: int) -> None:
        """Take the space for a file, filled with zeros."""
        ...

    def sync(self, descriptor: int) -> None:
        """Make a file, or the names in a directory, outlive a loss of power."""
        ...

    def status(self, path: str) -> os.stat_result:
        """Look at a name without following a link."""
        ...

    def lock(self, descriptor: int) -> None:
        """Lock a file for this process, without waiting."""
        ...

    def rename(self, source: str, target: str) -> None:
        """Give a file another name, in the place of what had it."""
        ...

    def unlink(self, path: str) -> None:
        """Remove a file."""
        ...

    def make_directory(self, path: str, mode: int) -> None:
        """Make a directory."""
        ...

    def names(self, path: str) -> list[str]:
        """List a directory."""
        ...

    def filesystem(self, path: str) -> str:
        """Name the kind of file system that holds a path; empty when that cannot be known."""
        ...


class SystemStorage:
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

    def write_at(self, descriptor: int, data: bytes | memoryview, offset: int) -> int:
        """Write at an offset; give how many bytes were taken."""
        return os.pwrite(descriptor, data, offset)

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut a file, or lengthen it with zeros."""
        os.ftruncate(descriptor, size)

    def allocate(self, descriptor: int, size: int) -> None:
        """Take the space for a file, filled with zeros."""
        os.posix_fallocate(descriptor, 0, size)

    def sync(self, descriptor: int) -> None:
        """Make a file, or the names in a directory, outlive a loss of power."""
        os.fsync(descriptor)

    def status(self, path: str) -> os.stat_result:
        """Look at a name without following a link."""
        return os.lstat(path)

    def lock(self, descriptor: int) -> None:
        """Lock a file for this process, without waiting."""
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def rename(self, source: str, target: str) -> None:
        """Give a file another name, in the place of what had it."""
        os.rename(source, target)

    def unlink(self, path: str) -> None:
        """Remove a file."""
        os.unlink(path)

    def make_directory(self, path: str, mode: int) -> None:
        """Make a directory."""
        os.mkdir(path, mode)

    def names(self, path: str) -> list[str]:
        """List a directory."""
        return os.listdir(path)

    def filesystem(self, path: str) -> str:
        """Name the kind of file system that holds a path; empty when that cannot be known.

        The table of mounts names it without the numbers of every architecture's ``statfs``.
        """
        device = os.lstat(path).st_dev
        wanted = f"{os.major(device)}:{os.minor(device)}"
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as mounts:
            for line in mounts:
                left, _, right = line.partition(" - ")
                if left.split(" ", 3)[2] == wanted:
                    return right.split(" ", 1)[0]
        return ""
