"""How long to wait before sending again."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LONGEST_RETRY_AFTER_SECONDS", "retry_delay_seconds"]

LONGEST_RETRY_AFTER_SECONDS = 3600.0
"""What a receiver may ask for at most: a wrong clock over there must not silence us for days."""


def retry_delay_seconds(
    attempt: int,
    *,
    initial: float,
    longest: float,
    retry_after: float | None,
    random: Callable[[], float],
) -> float:
    """Work out the pause before the next attempt.

    Args:
        attempt: How many attempts have failed in a row, from 1.
        initial: The pause after the first failure, in seconds.
        longest: The longest pause of our own choice, in seconds.
        retry_after: What the receiver asked for, in seconds; it is obeyed, up to an hour.
        random: Gives numbers from 0 to 1; the spread keeps many senders from coming at once.

    Returns:
        Seconds: never less than asked and at most a fifth more, or half to all of our own pause.
    """
    if retry_after is not None and math.isfinite(retry_after) and retry_after >= 0:
        return min(retry_after, LONGEST_RETRY_AFTER_SECONDS) * (1 + random() / 5)
    # The exponent is bounded: 2.0 ** 1100 does not exist, and a receiver may be down for weeks.
    pause = min(longest, initial * 2.0 ** min(attempt - 1, 60))
    return pause * (0.5 + random() / 2)
