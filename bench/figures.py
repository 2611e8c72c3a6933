"""Medians, ratios and the lines that show them."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["interleave", "paired_ratio", "show", "show_ratio"]


def interleave(runs: int, contenders: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Run every contender in turn, so that a drift of the machine meets all of them alike."""
    figures: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(runs):
        for name, run in contenders.items():
            figures[name].append(run())
    return figures


def show(name: str, values: Sequence[float], unit: str) -> float:
    """Print a figure's median with its range, and give the median."""
    median = statistics.median(values)
    print(f"  {name:<46} {median:9.3f} {unit:<3} ({min(values):.3f} to {max(values):.3f})")
    return median


def show_ratio(name: str, ratio: float, target: float, *, at_least: bool = False) -> bool:
    """Print a ratio beside its target, and say whether it was met."""
    met = ratio >= target if at_least else ratio <= target
    bound = f"at least {target}" if at_least else f"{target}"
    print(f"  {name:<46} {ratio:9.2f} x   (target {bound}) {'met' if met else 'MISSED'}")
    return met


def paired_ratio(ones: Sequence[float], others: Sequence[float]) -> float:
    """Give the median of the ratios of what was measured one right after the other."""
    return statistics.median(one / other for one, other in zip(ones, others, strict=True))
