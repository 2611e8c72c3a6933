"""What goes wrong with one collector: remembered for its status, and logged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trireme_collector.delivery._reporter import describe_error

if TYPE_CHECKING:
    from trireme_collector.delivery._adapter import Outcome
    from trireme_collector.delivery._reporter import FailureReporter
    from trireme_collector.delivery.dead_letters import DeadLetters

__all__ = ["Failures"]


class Failures:
    """The failures of one collector.

    Args:
        reporter: Logs them.
        dead_letters: Where refused records are kept, if they are.

    Attributes:
        attempts: How often it could not take a batch for now.
        last_error: What it failed with last, or ``""``.
    """

    def __init__(self, reporter: FailureReporter, dead_letters: DeadLetters | None) -> None:
        """Start without a failure."""
        self._reporter = reporter
        self._dead_letters = dead_letters
        self.attempts = 0
        self.last_error = ""

    def note(self, error: Exception) -> None:
        """Remember an error."""
        self.last_error = describe_error(error)

    def report(self, event: str, error: Exception, now_ns: int) -> None:
        """Remember an error that is about no batch, and log it."""
        self.note(error)
        self._reporter.report(event, error, now_ns)

    def report_batch(
        self,
        outcome: Outcome,
        error: Exception,
        now_ns: int,
        *,
        delay_seconds: float,
        left: int,
        gave_up: bool,
    ) -> None:
        """Log why a batch was not taken whole.

        Args:
            outcome: What became of it.
            error: Why.
            now_ns: The time of a clock that does not jump.
            delay_seconds: How long it waits until it is tried again.
            left: How many of its records were not delivered.
            gave_up: Whether it is refused because it failed for too long.
        """
        report = self._reporter.report
        if outcome.retry:
            event = "credentials_refused" if outcome.refused else "delivery_failed"
            pause = round(delay_seconds, 3)
            report(event, error, now_ns, alarm=outcome.refused, retry_in_seconds=pause)
        elif outcome.split:
            # The single records will tell; a mistake of the plugin is told with its first sign.
            if outcome.is_bug:
                report("collector_raised", error, now_ns, records=0)
            else:
                report("batch_divided", error, now_ns, records=left)
        else:
            event = "collector_raised" if outcome.is_bug else "records_rejected"
            event = "delivery_given_up" if gave_up else event
            kept_in = (
                self._dead_letters.place
                if self._dead_letters is not None
                else "nowhere: set delivery.state_directory to keep them"
            )
            report(event, error, now_ns, records=outcome.rejected, kept_in=kept_in)
