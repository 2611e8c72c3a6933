"""A disk that fails, or a process that is killed, at a chosen call."""

from __future__ import annotations

import errno
import os

from tests.call_faults import SHORT_WRITE, CallFaults
from trireme_collector_file._disk import SystemDisk

KILL = "kill"
"""The process ends within the call, after half of a write and before anything else."""

EVERY_CALL = frozenset(
    (
        *("open", "close", "read_at", "write", "truncate", "sync", "describe", "status", "lock"),
        *("set_mode", "set_owner", "set_modified", "rename", "unlink", "names"),
    )
)
MAKES_FULL = frozenset(("open", "write", "sync", "rename"))
"""The calls for which a full disk is a reason to fail."""


class KilledError(BaseException):
    """The process is gone."""


class FaultyDisk(SystemDisk):
    """Lets some calls fail.

    Attributes:
        faults: Which.
        descriptors: What is open.
    """

    def __init__(self) -> None:
        self.faults = CallFaults()
        self.descriptors: set[int] = set()

    def bury(self) -> None:
        """Close what a killed process had open, as the kernel does."""
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors.clear()

    def _pass(self, kind: str) -> None:
        if self.faults.is_due(kind):
            self._raise(kind)

    def _raise(self, kind: str) -> None:
        fault = self.faults.fault
        if fault == KILL:
            self.faults.last = 10**9  # whatever a dying process does, it does nothing more
            raise KilledError
        if isinstance(fault, int):
            raise OSError(fault, os.strerror(fault), kind)

    def open(self, path: str, flags: int, mode: int) -> int:
        self._pass("open")
        descriptor = super().open(path, flags, mode)
        self.descriptors.add(descriptor)
        return descriptor

    def close(self, descriptor: int) -> None:
        faults = self.faults
        if faults.fault != KILL or faults.calls < faults.first:
            # As Linux does: the descriptor is gone, whatever the call says.
            self.descriptors.discard(descriptor)
            super().close(descriptor)
        self._pass("close")

    def read_at(self, descriptor: int, size: int, offset: int) -> bytes:
        self._pass("read_at")
        return super().read_at(descriptor, size, offset)

    def write(self, descriptor: int, data: bytes | memoryview) -> int:
        faults = self.faults
        if faults.is_due("write"):
            half = memoryview(data)[: len(data) // 2]
            if faults.fault == KILL:
                if faults.calls == faults.first:
                    super().write(descriptor, half)
                self._raise("write")
            if faults.fault == SHORT_WRITE and half:
                return super().write(descriptor, half)
            if faults.fault != errno.EINTR and half and faults.calls == faults.first:
                # A disk becomes full in the midst of a write, and the next one finds it so.
                faults.last += 1
                return super().write(descriptor, half)
            self._raise("write")
        return super().write(descriptor, data)

    def truncate(self, descriptor: int, size: int) -> None:
        self._pass("truncate")
        super().truncate(descriptor, size)

    def sync(self, descriptor: int) -> None:  # noqa: ARG002  nothing here outlives a loss of power
        self._pass("sync")

    def describe(self, descriptor: int) -> os.stat_result:
        self._pass("describe")
        return super().describe(descriptor)

    def status(self, path: str) -> os.stat_result:
        self._pass("status")
        return super().status(path)

    def lock(self, descriptor: int) -> None:
        self._pass("lock")
        super().lock(descriptor)

    def set_mode(self, descriptor: int, mode: int) -> None:
        self._pass("set_mode")
        super().set_mode(descriptor, mode)

    def set_owner(self, descriptor: int, user: int, group: int) -> None:
        self._pass("set_owner")
        super().set_owner(descriptor, user, group)

    def set_modified(self, descriptor: int, time_ns: int) -> None:
        self._pass("set_modified")
        super().set_modified(descriptor, time_ns)

    def rename(self, source: str, target: str) -> None:
        self._pass("rename")
        super().rename(source, target)

    def unlink(self, path: str) -> None:
        self._pass("unlink")
        super().unlink(path)

    def names(self, path: str) -> list[str]:
        self._pass("names")
        return super().names(path)
