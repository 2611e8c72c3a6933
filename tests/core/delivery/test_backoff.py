"""Pauses grow, spread, and obey the receiver."""

from __future__ import annotations

import math

import pytest

from trireme_collector.delivery import LONGEST_RETRY_AFTER_SECONDS, retry_delay_seconds


def delay(attempt: int, *, random: float = 1.0, retry_after: float | None = None) -> float:
    return retry_delay_seconds(
        attempt, initial=0.5, longest=60.0, retry_after=retry_after, random=lambda: random
    )


def test_it_doubles_up_to_the_longest() -> None:
    assert [delay(n) for n in range(1, 10)] == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]
    assert delay(1_000_000) == 60


def test_it_spreads_over_the_upper_half() -> None:
    assert delay(3, random=0.0) == 1.0
    assert delay(3, random=0.5) == 1.5


@pytest.mark.parametrize("random", [0.0, 0.5, 1.0])
def test_the_receiver_is_obeyed(random: float) -> None:
    assert 10 <= delay(1, retry_after=10, random=random) <= 12
    assert delay(1, retry_after=0, random=random) == 0
    longest = delay(1, retry_after=1e9, random=random)
    assert LONGEST_RETRY_AFTER_SECONDS <= longest <= LONGEST_RETRY_AFTER_SECONDS * 1.2


@pytest.mark.parametrize("nonsense", [-1.0, math.nan, math.inf])
def test_nonsense_from_the_receiver_is_ignored(nonsense: float) -> None:
    assert delay(2, retry_after=nonsense) == 1.0
