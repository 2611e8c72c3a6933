"""Failures are logged once per interval, with a count of those that were not."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

__all__ = ["FailureReporter", "describe_error"]


def describe_error(error: BaseException | None) -> str:
    """Say what was raised, whatever its own text does."""
    kind = type(error).__name__
    try:
        return f"{kind}: {error}"
    except Exception as other:  # noqa: BLE001  a plugin's error may fail to tell what it is
        return f"{kind}: (its text failed: {type(other).__name__})"


class FailureReporter:
    """Logs the failures of one component without flooding.

    Args:
        collector: The name that stands in the log entries.
        interval_ns: How long an event is kept quiet after it was logged.
    """

    def __init__(self, collector: str, interval_ns: int) -> None:
        """Start with nothing logged."""
        self._collector = collector
        self._interval_ns = interval_ns
        self._last: dict[str, int] = {}
        self._quiet: dict[str, int] = {}

    def report(
        self,
        event: str,
        error: BaseException,
        now_ns: int,
        *,
        alarm: bool = False,
        **values: object,
    ) -> None:
        """Log a failure, or count it if one of its kind was logged a moment ago.

        Args:
            event: What happened.
            error: Why.
            now_ns: The time of a clock that does not jump.
            alarm: Whether it stays until somebody does something.
            values: What else is to be known.
        """
        last = self._last.get(event)
        if last is not None and now_ns - last < self._interval_ns:
            self._quiet[event] = self._quiet.get(event, 0) + 1
            return
        self._last[event] = now_ns
        try:
            log = _logger().error if alarm else _logger().warning
            log(
                event,
                collector=self._collector,
                error=describe_error(error),
                not_logged=self._quiet.pop(event, 0),
                **values,
            )
        except Exception:  # noqa: BLE001  the embedder's log may be broken; delivery goes on, status() tells
            self._quiet[event] = 1


@functools.cache
def _logger() -> FilteringBoundLogger:
    # Imported with the first failure: it would be the largest part of importing the library.
    import structlog  # noqa: PLC0415

    logger: FilteringBoundLogger = structlog.get_logger("trireme_collector.delivery")
    return logger
