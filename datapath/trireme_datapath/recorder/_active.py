"""A recording that runs, or ran, as those see it who asked for it."""

from __future__ import annotations

import errno
import threading
from typing import TYPE_CHECKING, Final

from trireme_datapath.recorder._errors import RecorderError, Refusal
from trireme_datapath.recorder._recording import RecordingStatistics, StopReason

if TYPE_CHECKING:
    from collections.abc import Callable

    from trireme_datapath.recorder._output import FileOutput
    from trireme_datapath.recorder._runner import RecordingRunner

__all__ = ["FULL", "ActiveRecording"]

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What the system says when there is no room on a disk."""


class ActiveRecording:
    """A recording that runs, or ran."""

    def __init__(self, runner: RecordingRunner, output: FileOutput, who: str) -> None:
        """Keep the parts; the recorder makes it."""
        self._runner = runner
        self._output = output
        self.who = who
        self.ended = threading.Event()
        self._callbacks: list[Callable[[], object]] = []
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """The file that is written to, or was last."""
        return self._output.names[-1]

    @property
    def names(self) -> tuple[str, ...]:
        """All files that are left, the oldest first."""
        return tuple(self._output.names)

    @property
    def path(self) -> str:
        """The absolute path of the file."""
        return self._output.path

    @property
    def statistics(self) -> RecordingStatistics:
        """What was counted so far."""
        return self._runner.statistics

    @property
    def lost_by_cause(self) -> dict[str, int]:
        """How many packets were lost so far, by where that was."""
        return self._runner.lost_by_cause

    @property
    def reason(self) -> StopReason | None:
        """Why it ended; None while it runs."""
        return self._runner.reason

    @property
    def error(self) -> Exception | None:
        """What broke it."""
        return self._runner.error

    def stop(self, reason: StopReason = StopReason.ASKED) -> None:
        """End it soon; as often as one likes."""
        self._runner.stop(reason)

    def when_ended(self, callback: Callable[[], object]) -> None:
        """Call this once it ended and its file is closed; at once if that is so already."""
        with self._lock:
            if not self.ended.is_set():
                self._callbacks.append(callback)
                return
        callback()

    def conclude(self) -> None:
        """Tell everybody that it ended."""
        with self._lock:
            self.ended.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def raise_error(self) -> None:
        """Raise what broke it.

        Raises:
            RecorderError: It broke.
        """
        error = self.error
        if error is None:
            return
        full = isinstance(error, OSError) and error.errno in FULL
        reason = str(error)
        if isinstance(error, OSError):
            # Lower case for what the system says; our own words may hold a path.
            reason = error.strerror or reason
            reason = reason.lower() if error.errno else reason
        raise RecorderError(
            f"recorder recording error: {reason}", Refusal.EXHAUSTED if full else Refusal.FAILED
        ) from error
