"""Keeps what was recorded from filling the memory of the host.

Nobody reads a recording while it is written, yet the kernel keeps its pages until memory runs
short: those of everybody else go then, too, and each new one costs several times what a page
costs that was in use before. Pages are let go as soon as they are on the disk. Asking for that
may wait for the disk, so that a thread does it that nobody waits for.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from typing import Final

__all__ = ["PageRelease"]

_STEP_BYTES: Final = 4 * 1024 * 1024
# Far enough back for what was still on its way to the disk when it was asked for last.
_WINDOW_BYTES: Final = 64 * 1024 * 1024


class PageRelease:
    """Lets go of the pages of one file while it grows.

    Args:
        descriptor: The file; it may be closed before this is.
    """

    def __init__(self, descriptor: int) -> None:
        """Do nothing until the file has grown."""
        self._descriptor = descriptor
        self._own = -1
        self._next_bytes = _STEP_BYTES
        self._size = 0
        self._closed = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def grown(self, size: int) -> None:
        """Hear how large the file is by now; never waits."""
        if size < self._next_bytes:
            return
        self._next_bytes = size + _STEP_BYTES
        with self._changed:
            self._size = size
            self._changed.notify_all()
        if self._thread is None:
            self._start()

    def _start(self) -> None:
        try:
            self._own = os.dup(self._descriptor)
        except OSError:  # no descriptor is free: the pages stay, and the recording goes on
            self._next_bytes = sys.maxsize
            return
        thread = threading.Thread(target=self._run, name="recording-pages", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no thread either
            os.close(self._own)
            self._next_bytes = sys.maxsize
            return
        self._thread = thread

    def close(self) -> None:
        """End; the thread lets go of the rest on its own."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def join(self, seconds: float | None = None) -> None:
        """Wait until the thread has ended, if there ever was one."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _run(self) -> None:
        changed, done = self._changed, 0
        try:
            while True:
                with changed:
                    while not (self._closed or self._size > done):
                        changed.wait()
                    if self._closed:
                        break
                    done = self._size
                _let_go(self._own, max(0, done - _WINDOW_BYTES), done)
            _let_go(self._own, 0, 0)
        finally:
            os.close(self._own)


def _let_go(descriptor: int, begin: int, end: int) -> None:
    """Begin to write what is not on the disk yet, and let go of what is; 0 as end is the end."""
    with contextlib.suppress(OSError):  # not every file system knows how: then nothing is gained
        os.posix_fadvise(descriptor, begin, end - begin, os.POSIX_FADV_DONTNEED)
