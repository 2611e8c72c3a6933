"""Whether the disk serves the spools: it may fail for a while, and be well again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Protocol

from trireme_collector.metrics._model import HealthCheck

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trireme_collector.delivery import CollectorStatus
    from trireme_collector.pipeline import PipelineStatus

__all__ = ["SpoolWatch"]

_SECOND_NS: Final = 1_000_000_000
_LOOK_NS: Final = 5 * _SECOND_NS
_TROUBLE_NS: Final = 60 * _SECOND_NS  # a check that comes and goes faster is seen by nobody
# Records that were lost because of the disk; `delivery.spool` names them so.
_LOSSES: Final = ("no_space", "io_error")


class _HasStatus(Protocol):
    def status(self) -> PipelineStatus: ...


class SpoolWatch:
    """Looks whether calls of the disk failed in the last minute.

    Args:
        pipeline: Whose spools.
        clock: A clock that does not jump, nanoseconds.
    """

    def __init__(self, pipeline: _HasStatus, clock: Callable[[], int] = time.monotonic_ns) -> None:
        """Look at nothing yet."""
        self._pipeline = pipeline
        self._clock = clock
        self._looked_ns = -_LOOK_NS
        self._failures: dict[str, int] = {}
        self._troubles: dict[str, tuple[int, str]] = {}

    def turn(self) -> None:
        """Look again, if it is time to."""
        if self._clock() - self._looked_ns >= _LOOK_NS:
            self.look()

    def look(self) -> None:
        """Compare what has failed with what had failed at the last look."""
        self._looked_ns = now_ns = self._clock()
        for account in self._pipeline.status().collectors:
            failures = _failures(account)
            if failures > self._failures.get(account.name, 0):
                error = "" if account.spool is None else account.spool.last_error
                self._troubles[account.name] = now_ns, error
            self._failures[account.name] = failures

    def health(self) -> Iterator[HealthCheck]:
        """Tell whose spool had trouble; nothing where records wait in memory."""
        self.look()
        now_ns = self._clock()
        if not any(account.spool for account in self._pipeline.status().collectors):
            return
        said = [
            f"{name} ({error})" if error else name
            for name, (since_ns, error) in sorted(self._troubles.items())
            if now_ns - since_ns < _TROUBLE_NS
        ]
        detail = f"the disk failed for {', '.join(said)}" if said else "the disk serves all spools"
        yield HealthCheck("spool", ok=not said, detail=detail, essential=False)


def _failures(account: CollectorStatus) -> int:
    spool = account.spool
    if spool is None:
        return 0
    lost = sum(account.dropped_by_reason.get(reason, 0) for reason in _LOSSES)
    calls = spool.write_failures + spool.sync_failures + spool.state_failures + spool.read_failures
    return lost + calls
