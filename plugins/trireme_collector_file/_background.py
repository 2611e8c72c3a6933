"""Work that nobody waits for, in a thread that is there as long as there is work."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Background"]

_LEAST_URGENT = 19


class Background:
    """Does one piece of work, again for each time that it was asked for meanwhile.

    Args:
        work: What to do; it is given a function that says whether to stop. It may not raise.
        name: The name of the thread.
    """

    def __init__(self, work: Callable[[Callable[[], bool]], None], name: str) -> None:
        """Start no thread yet."""
        self._work = work
        self._name = name
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._again = False

    def request(self) -> None:
        """Have it done, soon."""
        with self._lock:
            self._again = True
            self._stop.clear()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def stop(self, timeout_seconds: float) -> bool:
        """Begin nothing more; give whether it has ended within the time."""
        with self._lock:
            self._again = False
            self._stop.set()
            thread = self._thread
        if thread is not None:
            thread.join(timeout_seconds)
            return not thread.is_alive()
        return True

    def wait(self) -> None:
        """Wait until nothing is left to do."""
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        # Linux has a priority for each thread: packets and records go before this. A sandbox may
        # not allow even that; it is done all the same.
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LEAST_URGENT)
        while True:
            with self._lock:
                if not self._again or self._stop.is_set():
                    self._thread = None
                    return
                self._again = False
            self._work(self._stop.is_set)
