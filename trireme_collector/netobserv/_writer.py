"""Writing records of the format as JSON."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from trireme_collector.netobserv._flow import FLOW_FIELDS, Flow
from trireme_collector.netobserv._go_values import float_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trireme_collector.netobserv._config import Profile

__all__ = ["encode_flow", "encode_record", "flow_fields", "go_json", "in_order"]

_ORDER = {name: place for place, name in enumerate(FLOW_FIELDS)}
_LAST = len(_ORDER)
_ESCAPED = {
    ord("<"): "\\u003c",
    ord(">"): "\\u003e",
    ord("&"): "\\u0026",
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}
_encode = msgspec.json.Encoder().encode


def flow_fields(flow: Flow) -> dict[str, object]:
    """Give a typed record as a mapping by the names of the format."""
    fields: dict[str, object] = msgspec.to_builtins(flow)
    # As JSON would give them back.
    return {n: list(v) if isinstance(v, tuple) else v for n, v in fields.items()}


def in_order(fields: Mapping[str, object]) -> dict[str, object]:
    """Put fields into the order of the format; unknown ones come last, by name."""
    return dict(sorted(fields.items(), key=lambda item: (_ORDER.get(item[0], _LAST), item[0])))


def encode_record(record: Mapping[str, object]) -> bytes:
    """Write a mapping as JSON, as it is.

    A value that nests deeper than the interpreter can follow is left out: whoever sent it must
    not be able to end the program.
    """
    try:
        return _encode(record)
    except RecursionError:
        return _encode(_flat(record))


def _flat(record: Mapping[str, object]) -> dict[str, object]:
    return {k: v for k, v in record.items() if not isinstance(v, (dict, list, tuple))}


def encode_flow(flow: Flow | Mapping[str, object], *, profile: Profile = "default") -> bytes:
    """Write a record as one line of JSON, without a line end.

    Args:
        flow: A typed record, or a mapping such as a tracker gives.
        profile: By default the fields stand in the order of the format; ``strict`` writes the
            very text that the original sends to Kafka.
    """
    if profile == "strict":
        fields = flow_fields(flow) if isinstance(flow, Flow) else flow
        try:
            return go_json(fields).encode()
        except RecursionError:
            return go_json(_flat(fields)).encode()
    try:
        return _encode(flow) if isinstance(flow, Flow) else encode_record(in_order(flow))
    except UnicodeEncodeError:
        # Half a character, which UTF-8 has no bytes for.
        fields = flow_fields(flow) if isinstance(flow, Flow) else in_order(flow)
        return _encode(_whole_characters(fields))


def _whole_characters(value: object) -> object:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case dict():
            return {_whole_characters(k): _whole_characters(v) for k, v in value.items()}
        case list() | tuple():
            return [_whole_characters(item) for item in value]
        case _:
            return value


def go_json(value: object) -> str:
    """Write a value as Go's encoder does: keys sorted, numbers short, and safe inside HTML."""
    match value:
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case int():
            # There are no integers that way: whatever is larger loses its last digits.
            return str(value) if -(2**53) <= value <= 2**53 else _number(float(value))
        case float():
            return _number(value)
        case str():
            return _encode(value.encode("utf-8", "replace").decode()).decode().translate(_ESCAPED)
        case dict():
            members = sorted(
                value.items(), key=lambda item: str(item[0]).encode("utf-8", "replace")
            )
            return f"{{{','.join(f'{go_json(str(k))}:{go_json(v)}' for k, v in members)}}}"
        case list() | tuple():
            return f"[{','.join(map(go_json, value))}]"
        case _:
            msg = f"a value of type {type(value).__name__} has no JSON"
            raise TypeError(msg)


def _number(number: float) -> str:
    if not math.isfinite(number):
        return "null"
    if number == 0:
        return "-0" if math.copysign(1, number) < 0 else "0"
    if 1e-6 <= abs(number) < 1e21:
        return float_text(number)
    mantissa, _, exponent = repr(number).partition("e")
    return f"{mantissa.removesuffix('.0')}e{exponent[0]}{exponent[1:].lstrip('0')}"
