"""What a configuration means for each flow log, worked out once."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import UNSET

from trireme_collector.netobserv._go_values import as_float
from trireme_collector.netobserv._hash import SIGNED_FIELDS, UNSIGNED_FIELDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trireme_collector.netobserv._config import OutputField, Profile, TrackingConfig
    from trireme_collector.netobserv._hash import Numbers

__all__ = ["Extreme", "Output", "Plan", "Side", "Sum"]

DUPLICATE = "Duplicate"
PROTOCOL = "Proto"


class Sum(NamedTuple):
    """Sums of one field.

    Attributes:
        place: Where the field stands in a row.
        slots: What it is added to.
        report_missing: Whether its absence is an error.
        field: Its name.
    """

    place: int
    slots: tuple[int, ...]
    report_missing: bool
    field: str


class Extreme(NamedTuple):
    """A minimum or a maximum of one field; see `Sum`."""

    place: int
    slot: int
    report_missing: bool
    field: str
    is_maximum: bool


class Side(NamedTuple):
    """What a flow log of one direction changes.

    Attributes:
        sums: The sums.
        counted: The slots that count flow logs.
        extremes: The minima and maxima.
    """

    sums: tuple[Sum, ...]
    counted: tuple[int, ...]
    extremes: tuple[Extreme, ...]


class Output(NamedTuple):
    """A slot and the field it becomes.

    Attributes:
        name: The field of the record.
        slot: The slot.
        is_copy: Whether it is a value of a flow log, and not something added up.
        drops_zero: Whether a zero is left out.
    """

    name: str
    slot: int
    is_copy: bool
    drops_zero: bool


class Plan:
    """Rows, slots and what moves between them.

    A row holds the values of `names` of one flow log. Those before `key_width` tell flow logs of
    one conversation and direction from all others.

    Attributes:
        names: The fields of a row.
        key_width: How many of them make the key of the path cache.
        duplicate: Where ``Duplicate`` stands.
        protocol: Where ``Proto`` stands.
        flags: Where the TCP flags stand, or -1.
        ab: What a flow log from A to B changes.
        ba: What a flow log from B to A changes.
        firsts: Copies that the first flow log of a conversation leaves: row index and slot.
        lasts: Copies that every flow log leaves.
        initial: The slots of a new conversation.
        absent: What stands in a row where there is no value.
        outputs: Which slots become which fields.
        swapped: The order of the key fields when the sides change places.
    """

    def __init__(self, config: TrackingConfig, profile: Profile, numbers: Numbers) -> None:
        """Lay out rows and slots."""
        keys = config.key_definition.fields
        cached = keys if PROTOCOL in keys else (*keys, PROTOCOL)
        flags = config.tcp_flags.field_name
        sources = [f.source for f in config.output_fields if f.operation != "count"]
        names: dict[str, None] = dict.fromkeys(
            [*cached, DUPLICATE, *([flags] if flags else []), *sources]
        )
        place = {name: index for index, name in enumerate(names)}
        self.names = tuple(names)
        self.keys = keys
        self.key_width = len(cached)
        self.duplicate = place[DUPLICATE]
        self.protocol = place[PROTOCOL]
        self.flags = place[flags] if flags else -1
        self.is_strict = profile == "strict"
        self._integers = UNSIGNED_FIELDS | SIGNED_FIELDS if numbers == "agent" else frozenset()
        self._place = place

        every = [name for field in config.output_fields for name in field.names]
        slots = {name: slot for slot, name in enumerate(every)}
        self.absent = UNSET
        self.initial: list[Any] = [self._initial(f) for f in config.output_fields for _ in f.names]
        # A key field of the same name wins, so such an output would never be seen.
        self.outputs = tuple(
            self._output(field, name, slots[name])
            for field in config.output_fields
            for name in field.names
            if name not in keys
        )
        self.ab = self._side(config.output_fields, slots, 0)
        self.ba = self._side(config.output_fields, slots, 1)
        self.firsts = self._copies(config.output_fields, slots, "first")
        self.lasts = self._copies(config.output_fields, slots, "last")
        self.swapped = _swapped(config)

    def copy_flow_log(self, flow: Mapping[str, object]) -> dict[str, object]:
        """Copy a flow log; strictly, numbers are those that floats can hold."""
        if not self.is_strict:
            return dict(flow)
        return {name: self.as_held(name, value) for name, value in flow.items()}

    def is_float(self, name: str) -> bool:
        """Say whether numbers of a field are floats, whatever they look like."""
        return name not in self._integers

    def as_held(self, name: str, value: object) -> object:
        """Give a value as it is after it was held in the type that its field has."""
        return value if not self.is_strict or name in self._integers else as_float(value)

    def _initial(self, field: OutputField) -> float | int | None:
        match field.operation:
            case "sum" | "count":
                return 0.0 if self.is_strict else 0
            case "min":
                return sys.float_info.max if self.is_strict else math.inf
            case "max":
                return -sys.float_info.max if self.is_strict else -math.inf
            case _:
                return None

    def _output(self, field: OutputField, name: str, slot: int) -> Output:
        is_copy = field.operation in ("first", "last")
        if self.is_strict:
            # The original leaves out zeros of one type only: that of everything added up.
            drops_zero = not (is_copy and field.source in self._integers)
        else:
            drops_zero = field.operation in ("sum", "count")
        return Output(name, slot, is_copy, drops_zero)

    def _side(self, fields: tuple[OutputField, ...], slots: dict[str, int], side: int) -> Side:
        sums: dict[tuple[str, bool], list[int]] = {}
        counts: list[int] = []
        extremes: list[Extreme] = []
        for field in fields:
            slot = slots[field.names[side if field.split_ab else 0]]
            source, report = field.source, field.report_missing
            if field.operation == "sum":
                sums.setdefault((source, report), []).append(slot)
            elif field.operation == "count":
                counts.append(slot)
            elif field.operation in ("min", "max"):
                is_maximum = field.operation == "max"
                extremes.append(Extreme(self._place[source], slot, report, source, is_maximum))
        return Side(
            tuple(
                Sum(self._place[source], tuple(added), report, source)
                for (source, report), added in sums.items()
            ),
            tuple(counts),
            tuple(extremes),
        )

    def _copies(
        self, fields: tuple[OutputField, ...], slots: dict[str, int], operation: str
    ) -> tuple[tuple[int, int], ...]:
        return tuple(
            (self._place[field.source], slots[field.name])
            for field in fields
            if field.operation == operation
        )


def _swapped(config: TrackingConfig) -> tuple[int, ...]:
    """Say which key field's value each key field gets when the sides change places."""
    definition = config.key_definition
    keys = definition.fields
    place = {name: index for index, name in enumerate(keys)}
    order = dict(place)
    a = definition.side(definition.hash.field_group_a_ref)
    b = definition.side(definition.hash.field_group_b_ref)
    for one, other in zip(a, b, strict=False):
        order[one], order[other] = place[other], place[one]
    return tuple(order[name] for name in keys)
