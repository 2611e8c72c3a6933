"""Whether the thread that judges may still tell the kernel what it decided."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from trireme_collector.metrics import HealthCheck

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PrivilegeCheck"]

_NET_ADMIN: Final = 1 << 12  # CAP_NET_ADMIN of linux/capability.h
_TASKS: Final = Path("/proc/self/task")


class PrivilegeCheck:
    """Looks at the capabilities of a thread; each thread has its own.

    Args:
        tasks: Where the kernel tells of the threads of this process.
    """

    def __init__(self, tasks: Path = _TASKS) -> None:
        """Look at nobody yet."""
        self._tasks = tasks
        self._thread = 0

    def watch_this_thread(self) -> None:
        """Look at the thread that calls this."""
        self._thread = threading.get_native_id()

    def health(self) -> Iterator[HealthCheck]:
        """Say whether the thread has CAP_NET_ADMIN; nothing if nobody can tell."""
        if not self._thread:
            return
        try:
            status = (self._tasks / str(self._thread) / "status").read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError):
            return
        held = next((line for line in status.splitlines() if line.startswith("CapEff:")), "")
        if not held:
            return
        ok = bool(int(held.split()[1], 16) & _NET_ADMIN)
        detail = "held" if ok else "not enforcing: CAP_NET_ADMIN was lost, start the agent anew"
        yield HealthCheck("privileges", ok=ok, detail=detail)
