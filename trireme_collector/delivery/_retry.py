"""When a collector that failed is tried again, and when its batch is given up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trireme_collector.delivery._backoff import retry_delay_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from trireme_collector.delivery._adapter import Outcome
    from trireme_collector.delivery._config import DeliveryConfig

__all__ = ["Retry"]

_NANOSECONDS = 1_000_000_000


class Retry:
    """The failures of one collector in a row.

    Args:
        config: How long to wait, and how long to go on.
        random: Spreads the attempts; numbers from 0 to 1.

    Attributes:
        at_ns: When to try again, None when nothing failed.
        asked_to_wait: Whether the receiver named that time.
        refused: Whether it was the credentials that were refused.
    """

    def __init__(self, config: DeliveryConfig, random: Callable[[], float]) -> None:
        """Start without a failure."""
        self._config = config
        self._random = random
        self._attempt = 0
        self._since_ns: int | None = None
        self.at_ns: int | None = None
        self.asked_to_wait = False
        self.refused = False

    def gives_up(self, outcome: Outcome, now_ns: int) -> bool:
        """Whether a batch that fails now has failed for too long.

        Refused credentials never use up that time: they are mended here, not over there.
        """
        limit_seconds = self._config.give_up_seconds
        if not limit_seconds or outcome.refused or outcome.delivered or self._since_ns is None:
            return False
        return now_ns - self._since_ns >= limit_seconds * _NANOSECONDS

    def fail(self, outcome: Outcome, now_ns: int) -> float:
        """Note a failure; give the seconds until the next attempt."""
        config = self._config
        self.asked_to_wait = outcome.retry_after is not None
        self.refused = outcome.refused
        self._attempt = 1 if outcome.delivered else self._attempt + 1
        if outcome.refused:
            self._since_ns = None
        elif outcome.delivered or self._since_ns is None:
            self._since_ns = now_ns
        delay_seconds = retry_delay_seconds(
            self._attempt,
            # Who is refused does not knock again at once: some servers lock the account.
            initial=config.retry_max_seconds if outcome.refused else config.retry_initial_seconds,
            longest=config.retry_max_seconds,
            retry_after=outcome.retry_after,
            random=self._random,
        )
        self.at_ns = now_ns + round(delay_seconds * _NANOSECONDS)
        return delay_seconds

    def succeed(self) -> None:
        """Note that the collector answered, whatever it said."""
        self._attempt = 0
        self._since_ns = self.at_ns = None
        self.asked_to_wait = self.refused = False

    def hurry(self) -> None:
        """Try again at once, as after the first failure."""
        self._attempt = 0
        self.at_ns = None
