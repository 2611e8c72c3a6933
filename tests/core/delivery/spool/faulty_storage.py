"""A storage that fails when it is told to."""

from __future__ import annotations

import errno
import os

from tests.call_faults import SHORT_WRITE, CallFaults
from trireme_collector.delivery.spool import SystemStorage

EVERY_CALL = frozenset(
    (
        *("open", "close", "read_at", "write_at", "truncate", "allocate", "sync", "status"),
        *("lock", "rename", "unlink", "make_directory", "names", "filesystem"),
    )
)
MAKES_FULL = frozenset(("open", "write_at", "allocate", "sync", "rename", "make_directory"))
"""The calls for which a full disk is a reason to fail."""


class FaultyStorage(SystemStorage):
    """Lets some calls fail.

    Attributes:
        faults: Which.
        log: The names of all calls, in order.
    """

    def __init__(self) -> None:
        self.faults = CallFaults()
        self.log: list[str] = []

    def _is_due(self, kind: str) -> bool:
        self.log.append(kind)
        return self.faults.is_due(kind)

    def _pass(self, kind: str) -> None:
        fault = self.faults.fault
        if self._is_due(kind) and isinstance(fault, int):
            raise OSError(fault, os.strerror(fault), kind)

    def open(self, path: str, flags: int, mode: int) -> int:
        self._pass("open")
        return super().open(path, flags, mode)

    def close(self, descriptor: int) -> None:
        # As Linux does: the descriptor is gone, whatever the call says.
        super().close(descriptor)
        self._pass("close")

    def read_at(self, descriptor: int, size: int, offset: int) -> bytes:
        self._pass("read_at")
        return super().read_at(descriptor, size, offset)

    def write_at(self, descriptor: int, data: bytes | memoryview, offset: int) -> int:
        if self._is_due("write_at"):
            half = memoryview(data)[: len(data) // 2]
            fault = self.faults.fault
            if fault == SHORT_WRITE and half:
                return super().write_at(descriptor, half, offset)
            if isinstance(fault, int):
                if fault != errno.EINTR:
                    # Part of it may have got there before it failed.
                    super().write_at(descriptor, half, offset)
                raise OSError(fault, os.strerror(fault), "write_at")
        return super().write_at(descriptor, data, offset)

    def truncate(self, descriptor: int, size: int) -> None:
        self._pass("truncate")
        super().truncate(descriptor, size)

    def allocate(self, descriptor: int, size: int) -> None:
        self._pass("allocate")
        super().allocate(descriptor, size)

    def sync(self, descriptor: int) -> None:  # noqa: ARG002  nothing here outlives a loss of power
        self._pass("sync")

    def status(self, path: str) -> os.stat_result:
        self._pass("status")
        return super().status(path)

    def lock(self, descriptor: int) -> None:
        self._pass("lock")
        super().lock(descriptor)

    def rename(self, source: str, target: str) -> None:
        self._pass("rename")
        super().rename(source, target)

    def unlink(self, path: str) -> None:
        self._pass("unlink")
        super().unlink(path)

    def make_directory(self, path: str, mode: int) -> None:
        self._pass("make_directory")
        super().make_directory(path, mode)

    def names(self, path: str) -> list[str]:
        self._pass("names")
        return super().names(path)

    def filesystem(self, path: str) -> str:
        self._pass("filesystem")
        return super().filesystem(path)
