"""The function that adds a flow log to its conversation, written out for one configuration.

A loop over what the configuration asks for takes twice the time of the additions themselves, for
each of millions of flow logs. So the loop is unrolled once: the text of the function is made of
indexes alone, nothing that anybody configured stands in it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trireme_collector.netobserv._plan import Extreme, Plan, Side, Sum

    Convert: TypeAlias = Callable[[object, Sum | Extreme], float | int | None]

__all__ = ["Adder", "compile_adder"]

Adder: TypeAlias = "Callable[[list[Any], Sequence[Any]], None]"
"""Takes the slots of a conversation and the row of a flow log."""


def compile_adder(
    plan: Plan, side: Side, *, sums: range, extremes: range, convert: Convert
) -> Adder:
    """Write the function for flow logs of one direction.

    Args:
        plan: Where everything stands.
        side: What flow logs of this direction change.
        sums: The integers that can be added without a closer look.
        extremes: The integers that can be compared without one.
        convert: Makes a number of anything else, or None if it does not count.
    """
    lines = ["def add(slots, row):"]
    # Each line is indented by as many blanks as it is deep.
    for number, total in enumerate(side.sums):
        lines += _guarded(total.place, sums, f"sums[{number}]")
        lines += [f"  slots[{slot}] += value" for slot in total.slots]
    lines += [f" slots[{slot}] += 1" for slot in side.counted]
    for number, extreme in enumerate(side.extremes):
        sign = ">" if extreme.is_maximum else "<"
        lines += [
            *_guarded(extreme.place, extremes, f"extremes[{number}]"),
            f"  current = slots[{extreme.slot}]",
            f"  if value {sign} current: slots[{extreme.slot}] = value",
            "  elif value != value or current != current:",
            f"   slots[{extreme.slot}] = without_order(value, current, {extreme.is_maximum})",
        ]
    for index, slot in plan.lasts:
        lines += [
            f" value = row[{index}]",
            f" if value is not UNSET and value is not None: slots[{slot}] = value",
        ]
    lines.append(" return None")
    names: dict[str, Any] = {
        "UNSET": plan.absent,
        "convert": convert,
        "sums": side.sums,
        "extremes": side.extremes,
        "without_order": _extreme_without_order,
    }
    exec("\n".join(lines), names)  # noqa: S102  of indexes alone; see above
    adder: Adder = names["add"]
    return adder


def _guarded(index: int, plain: range, of: str) -> list[str]:
    """Read a value; what follows is done if it counts."""
    return [
        f" value = row[{index}]",
        f" if not (type(value) is int and {plain.start} <= value < {plain.stop}):",
        f"  value = convert(value, {of})",
        " if value is not None:",
    ]


def _extreme_without_order(value: float, current: float, is_maximum: bool) -> float:  # noqa: FBT001  one caller
    """Compare with what is not a number: that wins, but for the end of all numbers."""
    end = math.inf if is_maximum else -math.inf
    return end if end in (value, current) else math.nan
