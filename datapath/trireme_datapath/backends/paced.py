"""A queue of which only so many packets are judged in a second; the rest waits, or does not fit in.

Packets that open connections cost the most of all, and anybody can send them. What the kernel
drops because their queue is full costs next to nothing, so a limit leaves the processor to the
connections that are there already.
"""

from __future__ import annotations

import ctypes
import os
import select
import time
from typing import TYPE_CHECKING, Final

from trireme_collector.errors import DatapathError

if TYPE_CHECKING:
    from collections.abc import Callable

    from trireme_collector.records import Record
    from trireme_datapath.backends._queue_statistics import QueueStatistics
    from trireme_datapath.backends.netlink import NetlinkBackend
    from trireme_datapath.packets import JudgedPackets

__all__ = ["PacedBackend"]

_SECOND_NS: Final = 1_000_000_000
_BURST_SECONDS: Final = 0.1  # what may be judged at once after a quiet time
_PAUSE_SECONDS: Final = 0.01
_CLOCK_MONOTONIC: Final = 1
_FLAGS: Final = os.O_NONBLOCK | os.O_CLOEXEC  # TFD_NONBLOCK and TFD_CLOEXEC are the same bits
_TIMES: Final = ctypes.c_long * 4  # struct itimerspec: period, then delay, seconds and nanoseconds

_libc = ctypes.CDLL(None, use_errno=True)


class _Alarm:
    """A descriptor that is readable some time later; the standard library has it from 3.13 on."""

    def __init__(self) -> None:
        self._descriptor: int = _libc.timerfd_create(_CLOCK_MONOTONIC, _FLAGS)
        if self._descriptor < 0:
            number = ctypes.get_errno()
            raise DatapathError(f"cannot make a timer: {os.strerror(number)}")

    def fileno(self) -> int:
        return self._descriptor

    def set(self, delay_ns: int) -> None:
        """Become readable then; at once not readable any more."""
        times = _TIMES(0, 0, delay_ns // _SECOND_NS, delay_ns % _SECOND_NS)
        _libc.timerfd_settime(self._descriptor, 0, ctypes.byref(times), None)

    def close(self) -> None:
        os.close(self._descriptor)


class PacedBackend:
    """Feeds one queue to an engine, no more than so many packets in a second.

    Args:
        backend: The queue; closed with this one.
        packets_per_second: How many, more than 0. A tenth of that may come at once.
        clock: Gives nanoseconds of a clock that does not jump.

    Raises:
        DatapathError: The kernel gives no timer.
    """

    def __init__(
        self,
        backend: NetlinkBackend,
        packets_per_second: int,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Begin with a quiet time behind it."""
        self._backend = backend
        self._rate = packets_per_second
        self._clock = clock
        self._most = self._credit = packets_per_second * _BURST_SECONDS
        self._counted_ns = clock()
        self._paused = False
        self._alarm = _Alarm()
        self._epoll = select.epoll()
        self._epoll.register(self._alarm.fileno(), select.EPOLLIN)
        self._epoll.register(backend.fileno(), select.EPOLLIN)

    def fileno(self) -> int:
        """Give the descriptor: readable when packets wait that may be judged now."""
        return self._epoll.fileno()

    def drain(self, now_ns: int) -> list[Record]:
        """Judge what waits, as far as it may be judged now.

        Args:
            now_ns: Nanoseconds since 1970 UTC.

        Raises:
            OSError: The socket is of no use any more.
        """
        steady_ns = self._clock()
        earned = (steady_ns - self._counted_ns) * self._rate / _SECOND_NS
        self._credit = min(self._most, self._credit + earned)
        self._counted_ns = steady_ns
        if self._credit < 1:
            self._pause()
            return []
        if self._paused:
            self._paused = False
            self._alarm.set(0)
            self._epoll.modify(self._backend.fileno(), select.EPOLLIN)
        counters = self._backend.counters
        before = counters["packets"]
        records = self._backend.drain(now_ns)
        self._credit -= counters["packets"] - before
        if self._credit < 1:
            self._pause()
        return records

    def _pause(self) -> None:
        """Look at the queue again when there is credit for some packets."""
        wanted = max(1.0, self._rate * _PAUSE_SECONDS)
        self._paused = True
        self._epoll.modify(self._backend.fileno(), 0)
        self._alarm.set(max(1, round((wanted - self._credit) / self._rate * _SECOND_NS)))

    @property
    def judged(self) -> JudgedPackets | None:
        """Is shown every batch of packets with their verdicts, while somebody watches."""
        return self._backend.judged

    @judged.setter
    def judged(self, judged: JudgedPackets | None) -> None:
        self._backend.judged = judged

    def statistics(self) -> QueueStatistics | None:
        """Read the kernel's own counters of the queue."""
        return self._backend.statistics()

    def close(self) -> None:
        """Give the queue back."""
        self._epoll.close()
        self._alarm.close()
        self._backend.close()
