"""Reading records of the format from JSON that others wrote."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from trireme_collector.netobserv._flow import FLOW_FIELDS, Flow
from trireme_collector.netobserv._go_values import float_of, integral

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DEFAULT_MAX_LINE_BYTES", "FlowReader", "UnknownFields", "add_counts"]

UnknownFields: TypeAlias = Literal["keep", "drop"]
"""What becomes of fields that the format does not know."""

DEFAULT_MAX_LINE_BYTES = 1024 * 1024
"""No flow log comes near: what is longer is no line of this format."""

# So many names are counted one by one; a stream of ever new ones must not fill the memory.
_MAX_COUNTED_NAMES = 256
_OTHERS = "(others)"
# The format nests twice. Deeper than this, other programs may not be able to follow.
_MAX_NESTING = 32
_KNOWN = frozenset(FLOW_FIELDS)


class FlowReader:
    """Reads lines, keeps what can be kept, and counts what cannot.

    A line that is no JSON object is lost. A field of a wrong type is repaired if it is text that
    says a number, and left out otherwise; the rest of the record stays. Null is absent.

    Attributes:
        lines: How many lines were read.
        broken: How many were no JSON object, nested too deeply, or too long.
        wrong: Fields with a value of a wrong type, by name.
        unknown: Fields that the format does not know, by name.
    """

    def __init__(
        self,
        *,
        unknown_fields: UnknownFields = "keep",
        max_line_bytes: int = DEFAULT_MAX_LINE_BYTES,
    ) -> None:
        """Set what becomes of unknown fields, and how long a line may be."""
        self.lines = 0
        self.broken = 0
        self.wrong: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()
        self._keeps = unknown_fields == "keep"
        self._max_line_bytes = max_line_bytes
        self._decode = msgspec.json.Decoder().decode

    def read(self, line: bytes | bytearray | str) -> dict[str, object] | None:
        """Read one line as a mapping, known fields first and in their order.

        Returns:
            None if there is nothing to keep.
        """
        self.lines += 1
        flow = self._object(line)
        if flow is None:
            self.broken += 1
            return None
        return self.tidy(flow)

    def read_flow(self, line: bytes | bytearray | str) -> Flow | None:
        """Read one line as a typed record, without fields that the format does not know."""
        fields = self.read(line)
        if fields is None:
            return None
        return msgspec.convert({k: v for k, v in fields.items() if k in _KNOWN}, Flow)

    def tidy(self, flow: Mapping[str, object]) -> dict[str, object]:
        """Put the fields into order and leave out what does not belong there."""
        if deep := [name for name, value in flow.items() if _is_deep(value)]:
            for name in deep:
                self._count(self.wrong, name)
            flow = {name: value for name, value in flow.items() if name not in deep}
        known = {
            name: flow[name] for name in FLOW_FIELDS if name in flow and flow[name] is not None
        }
        try:
            msgspec.convert(known, Flow)
        except (msgspec.ValidationError, RecursionError):
            known = self._repaired(known)
        strangers = flow.keys() - _KNOWN
        if strangers:
            for name in strangers:
                self._count(self.unknown, name)
            if self._keeps:
                known |= {name: flow[name] for name in sorted(strangers) if flow[name] is not None}
        return known

    def _object(self, line: bytes | bytearray | str) -> dict[str, object] | None:
        if len(line) > self._max_line_bytes:
            return None
        if not isinstance(line, str) and not line.isascii():
            line = line.decode("utf-8", "replace")
        try:
            flow = self._decode(line)
        except (ValueError, RecursionError):
            return None
        return flow if isinstance(flow, dict) else None

    def _repaired(self, fields: dict[str, object]) -> dict[str, object]:
        kept: dict[str, object] = {}
        for name, value in fields.items():
            for candidate in (value, _as_number(value)):
                try:
                    msgspec.convert({name: candidate}, Flow)
                except (msgspec.ValidationError, RecursionError):
                    continue
                kept[name] = candidate
                break
            if name not in kept or kept[name] is not value:
                self._count(self.wrong, name)
        return kept

    def _count(self, counter: Counter[str], name: str) -> None:
        add_counts(counter, {name: 1})


def add_counts(counter: Counter[str], more: Mapping[str, int]) -> None:
    """Add counts by name to others; names beyond the first 256 are counted together."""
    for name, count in more.items():
        is_new = name not in counter and len(counter) >= _MAX_COUNTED_NAMES
        counter[_OTHERS if is_new else name] += count


def _is_deep(value: object) -> bool:
    level = [value]
    for _ in range(_MAX_NESTING):
        inner: list[object] = []
        for item in level:
            if isinstance(item, dict):
                inner += item.values()
            elif isinstance(item, (list, tuple)):
                inner += item
        if not inner:
            return False
        level = inner
    return True


def _as_number(value: object) -> object:
    """Read the number in a text, such as the direction where it was a label."""
    number = float_of(value) if isinstance(value, (str, float)) else None
    # Neither infinite nor undefined: those have no place in JSON.
    return value if number is None or number - number != 0 else integral(number)
