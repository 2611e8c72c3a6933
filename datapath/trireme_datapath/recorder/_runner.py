"""The thread of one recording: from its source to its output until it ends."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING, Final

from trireme_datapath.recorder._recording import Recording, RecordingStatistics, StopReason
from trireme_datapath.recorder.capture_formats import CaptureStatistics

if TYPE_CHECKING:
    from collections.abc import Callable

    from trireme_datapath.recorder._output import Output, Written
    from trireme_datapath.recorder._source import PacketSource

__all__ = ["RecordingRunner"]

_TURN_SECONDS: Final = 0.25
_TURN_NS: Final = 250_000_000


class RecordingRunner:
    """Carries packets from a source to an output.

    Args:
        recording: Counts and decides when it ends.
        source: Where packets come from; closed at the end.
        output: Where they go; closed at the end.
        max_bytes: The recording ends when its files have so many bytes; 0 is off.
        has_space: Whether the disk still has room; asked now and then.
        on_end: Called from the thread when all is closed.

    Attributes:
        error: What broke it.
    """

    def __init__(
        self,
        recording: Recording,
        source: PacketSource,
        output: Output,
        *,
        max_bytes: int = 0,
        has_space: Callable[[], bool] = lambda: True,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        """Join the parts; nothing runs yet."""
        self._recording = recording
        self._source = source
        self._output = output
        self._max_bytes = max_bytes
        self._has_space = has_space
        self._on_end = on_end
        self._asked: StopReason | None = None
        self._known_loss = (0, 0)
        self._next_turn_ns = 0
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self.run, name="recording", daemon=True)
        self._lock = threading.RLock()  # a signal handler may interrupt its own thread in `stop`
        self.error: Exception | None = None
        source.register(self._wake)

    @property
    def statistics(self) -> RecordingStatistics:
        """What was counted so far."""
        return self._recording.statistics

    @property
    def lost_by_cause(self) -> dict[str, int]:
        """How many packets were lost so far, by where that was."""
        return dict(self._recording.lost_by_cause)

    @property
    def reason(self) -> StopReason | None:
        """Why it ended; None while it runs."""
        return self._recording.ended

    def start(self) -> None:
        """Run in a thread of its own."""
        self._thread.start()

    def stop(self, reason: StopReason = StopReason.ASKED) -> None:
        """End soon, with all packets that were taken until now; as often as one likes."""
        self._asked = self._asked or reason
        with self._lock:
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)

    def join(self, seconds: float | None = None) -> bool:
        """Wait for the end; tell whether it came."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def run(self) -> None:
        """Record until the end."""
        try:
            self._record()
        except Exception as error:  # noqa: BLE001  whoever waits for the recording gets it
            self._fail(error)
        try:
            self._close()
        except Exception as error:  # noqa: BLE001  as above
            self._fail(error)
        finally:
            self._on_end()

    def _record(self) -> None:
        recording, source, output = self._recording, self._source, self._output
        ending = False
        while not (recording.is_full() or (ending and source.is_over())):
            now_ns = time.monotonic_ns()
            recording.turn(now_ns)
            if recording.ended is None and self._asked is not None:
                recording.end(self._asked)
            if recording.ended is not None and not ending:
                ending = True
                source.end()
                continue
            for frames, interface, comments in source.read(self._wait(now_ns)):
                kept = recording.admit(frames)
                if kept:
                    output.add(kept, interface, comments, now_ns)
                    self._count(output.flush(now_ns))
                if recording.is_full() or self._has_failed() or self._is_due(now_ns):
                    break
            self._count(output.flush(now_ns))
            if now_ns >= self._next_turn_ns:
                self._turn(now_ns)
            if self._has_failed():
                break
            if source.is_over() and recording.ended is None:
                recording.end(StopReason.SOURCE_END)

    def _has_failed(self) -> bool:
        return self.error is not None

    def _is_due(self, now_ns: int) -> bool:
        """Whether the loop must turn although packets wait: to end, for example."""
        if self._asked is not None and self._recording.ended is None:
            return True
        return time.monotonic_ns() >= min(self._recording.deadline_ns, now_ns + _TURN_NS)

    def _wait(self, now_ns: int) -> float:
        left = (self._recording.deadline_ns - now_ns) / 1_000_000_000
        return max(0.0, min(_TURN_SECONDS / 5 if self._recording.ended else _TURN_SECONDS, left))

    def _turn(self, now_ns: int) -> None:
        self._next_turn_ns = now_ns + _TURN_NS
        self._count_losses()
        if self._max_bytes and self._output.bytes_written >= self._max_bytes:
            self._recording.end(StopReason.SIZE)
        elif not self._has_space():
            self._recording.end(StopReason.SPACE)

    def _count(self, written: Written) -> None:
        if written.packets:
            self._recording.written(written.packets, written.size)
        if written.lost_packets:
            self._recording.lost(written.lost_packets, written.lost_bytes)
        if written.error is not None:
            self._fail(written.error)

    def _count_losses(self) -> None:
        packets, size = self._source.losses()
        known, known_size = self._known_loss
        self._recording.lost(packets - known, size - known_size, cause=self._source.loss_cause)
        self._known_loss = packets, size

    def _fail(self, error: Exception) -> None:
        if self.error is None:
            self.error = error
            # Whatever it was about to end with: it broke.
            self._recording.ended = StopReason.FAILED

    def _close(self) -> None:
        """Close everything, each whatever comes of the others."""
        with contextlib.ExitStack() as stack:
            stack.callback(self._close_wake)
            stack.callback(self._close_output)
            stack.callback(self._source.close)
            self._count_losses()

    def _close_output(self) -> None:
        counted = self.statistics
        seen = counted.packets_captured + counted.packets_lost
        statistics = CaptureStatistics(seen, counted.packets_lost)
        self._count(self._output.close(statistics, time.monotonic_ns(), time.time_ns()))

    def _close_wake(self) -> None:
        with self._lock:
            os.close(self._wake)
            self._wake = -1
