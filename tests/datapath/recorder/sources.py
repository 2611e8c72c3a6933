"""A source of packets that a test feeds."""

from __future__ import annotations

import contextlib
import os
import select
import threading
from typing import TYPE_CHECKING

from trireme_datapath.recorder._source import Batch
from trireme_datapath.recorder.capture_formats import CaptureInterface, Frame, LinkType

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def frames(count: int, size: int = 60, original: int = 0) -> list[Frame]:
    return [
        (1_700_000_000, number * 1000, size, original or size, bytes([number & 255]) * size)
        for number in range(count)
    ]


class ScriptedSource:
    """Gives what was put in; it is over when `end` was called and everything came out."""

    loss_cause = "kernel"

    def __init__(self, *batches: Sequence[Frame], ends: bool = False) -> None:
        self.interfaces = (CaptureInterface("test0", LinkType.ETHERNET),)
        self.lost: tuple[int, int] = (0, 0)
        self.closed = self.ended = False
        self._ends = ends
        self._batches = [Batch(one) for one in batches]
        self._lock = threading.Lock()
        self._event = os.eventfd(len(batches), os.EFD_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(self._event, select.POLLIN)

    def put(self, batch: Sequence[Frame], comments: Sequence[str] | None = None) -> None:
        with self._lock:
            self._batches.append(Batch(batch, 0, comments))
            if not self.closed:
                os.eventfd_write(self._event, 1)

    @property
    def waits(self) -> int:
        """How many batches were not asked for yet."""
        with self._lock:
            return len(self._batches)

    def register(self, descriptor: int) -> None:
        self._poll.register(descriptor, select.POLLIN)

    def read(self, timeout_seconds: float) -> Iterator[Batch]:
        self._poll.poll(int(timeout_seconds * 1000))
        while True:
            with self._lock:
                if not self._batches:
                    if not self.closed:
                        with contextlib.suppress(BlockingIOError):
                            os.eventfd_read(self._event)
                    return
                batch = self._batches.pop(0)
            yield batch

    def losses(self) -> tuple[int, int]:
        return self.lost

    def end(self) -> None:
        self.ended = True

    def is_over(self) -> bool:
        with self._lock:
            return (self.ended or self._ends) and not self._batches

    def close(self) -> None:
        with self._lock:
            if not self.closed:
                self.closed = True
                os.close(self._event)
