"""How a recording goes: one line that is written over on a terminal, one a second elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from trireme_datapath.cli._record_quantities import duration_text, size_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from trireme_datapath.recorder import RecordingStatistics, StopCondition

__all__ = ["RecordProgress", "statistics_text"]


def statistics_text(statistics: RecordingStatistics) -> str:
    """Say what was counted."""
    text = (
        f"{statistics.packets_captured:,} packets ({size_text(statistics.bytes_captured)}) written"
    )
    if statistics.packets_lost:
        text += f", {statistics.packets_lost:,} lost"
        if statistics.bytes_lost:
            text += f" ({size_text(statistics.bytes_lost)})"
    return text


class RecordProgress:
    """Shows packets, bytes, losses, and how much of the limits is left.

    Args:
        stop: What ends the recording.
        stream: Where to write; standard error if not given.
        clock: A clock that does not jump, nanoseconds.
    """

    def __init__(
        self,
        stop: StopCondition,
        stream: TextIO | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Start the clock."""
        self._stop = stop
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._begin = clock()
        self._width = 0
        self._live = self._stream.isatty()

    def show(self, statistics: RecordingStatistics) -> None:
        """Show where it is."""
        line = f"{statistics_text(statistics)}; {self._time()}{self._left(statistics)}"
        if not self._live:
            self._stream.write(f"{line}\n")
        else:
            self._stream.write(f"\r{line.ljust(self._width)}")
            self._width = len(line)
        self._stream.flush()

    def finish(self) -> None:
        """Remove the line."""
        if self._width:
            self._stream.write(f"\r{' ' * self._width}\r")
            self._stream.flush()
            self._width = 0

    def _time(self) -> str:
        passed = self._clock() - self._begin
        limit = self._stop.time_elapsed_ns
        text = duration_text(passed)
        return f"{text} of {duration_text(limit)}" if limit else text

    def _left(self, statistics: RecordingStatistics) -> str:
        left = []
        if limit := self._stop.packets_captured_count:
            left.append(f"{max(0, limit - statistics.packets_captured):,} packets left")
        if limit := self._stop.bytes_captured_count:
            left.append(f"{size_text(max(0, limit - statistics.bytes_captured))} left")
        return "".join(f", {one}" for one in left)
