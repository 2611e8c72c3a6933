"""Messages as protobuf writes them in JSON: read strictly, in the order of the schema.

What is read has the names of the schema, no defaults, and the types that it should have: whoever
looks into it needs no doubts. It is plain Python; nothing of protobuf is needed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from trireme_datapath.grpc_server import WELL_KNOWN
from trireme_datapath.observer._schemas import observer_schema
from trireme_datapath.observer._times import json_time, parse_rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trireme_datapath.grpc_server import FieldSchema

__all__ = ["FLOW", "FLOW_FILTER", "RESPONSE", "encode_json", "read_message"]

FLOW: Final = "flow.Flow"
FLOW_FILTER: Final = "flow.FlowFilter"
RESPONSE: Final = "observer.GetFlowsResponse"

_MAX_DEPTH: Final = 16
_RANGES: Final[Mapping[str, tuple[int, int]]] = {
    "int32": (-(1 << 31), (1 << 31) - 1),
    "int64": (-(1 << 63), (1 << 63) - 1),
    "uint32": (0, (1 << 32) - 1),
    "uint64": (0, (1 << 64) - 1),
}
_WRAPPED: Final[Mapping[str, str]] = {
    "google.protobuf.BoolValue": "bool",
    "google.protobuf.Int32Value": "int32",
    "google.protobuf.UInt32Value": "uint32",
}
_MAX_DIGITS: Final = 20
# As Go escapes in JSON what could be mistaken in a web page.
_ESCAPES: Final = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


def read_message(name: str, value: object) -> dict[str, object]:
    """Read a message.

    Args:
        name: Its full name.
        value: What JSON gave.

    Returns:
        It, with its fields in the order of the schema; unknown ones are left out.

    Raises:
        ValueError: Something is not of the type that it should have; the message says what.
    """
    return _message(name, value, 0)


def encode_json(value: object) -> str:
    """Write a message as one line, with the escapes of Go and without its end."""
    text = _ENCODER.encode(value).translate(_ESCAPES)
    # Half a surrogate pair is in no text of protobuf.
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _message(name: str, value: object, depth: int) -> dict[str, object]:
    if not isinstance(value, dict) or depth > _MAX_DEPTH:
        raise ValueError(f"expected {name}")
    found: dict[str, object] = {}
    for field in observer_schema().messages[name].fields.values():
        given = value.get(field.name)
        if given is None:
            given = value.get(_camel(field.name))
        if given is None:
            continue
        try:
            item = _field(field, given, depth)
        except ValueError as error:
            raise ValueError(f"{field.name}: {error}") from error
        if item or _has_presence(field):
            found[field.name] = item
    return found


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def _has_presence(field: FieldSchema) -> bool:
    if field.repeated:
        return False
    if field.type == "google.protobuf.Timestamp":
        return False  # an empty text stands for none
    return bool(field.oneof) or ("." in field.type and field.type not in observer_schema().enums)


def _field(field: FieldSchema, value: object, depth: int) -> object:
    if not field.repeated:
        return _one(field.type, value, depth)
    if not isinstance(value, list):
        raise ValueError("expected a list")  # noqa: TRY004  a type of JSON, not of Python
    return [_one(field.type, item, depth) for item in value]


def _one(kind: str, value: object, depth: int) -> object:
    schema = observer_schema()
    kind = _WRAPPED.get(kind, kind)
    if kind in _SCALARS:
        return _SCALARS[kind](kind, value)
    if kind in schema.enums:
        return _enum(kind, value)
    if kind in WELL_KNOWN:
        return _well_known(kind, value)
    return _message(kind, value, depth + 1)


def _text(kind: str, value: object) -> str:
    del kind
    if not isinstance(value, str):
        raise ValueError("expected a text")  # noqa: TRY004  as above
    return value


def _boolean(kind: str, value: object) -> bool:
    del kind
    if not isinstance(value, bool):
        raise ValueError("expected true or false")  # noqa: TRY004  as above
    return value


def _integer(kind: str, value: object) -> int | str:
    number = value
    if isinstance(value, str) and len(value) <= _MAX_DIGITS and value.isascii():
        digits = value.removeprefix("-")
        number = int(value) if digits.isdigit() else None
    elif isinstance(value, float) and value.is_integer():
        number = int(value)
    low, high = _RANGES[kind]
    if isinstance(number, bool) or not isinstance(number, int) or not low <= number <= high:
        raise ValueError(f"expected {kind}")
    # 64-bit numbers are texts in JSON, as not every reader has so many bits.
    return str(number) if kind.endswith("64") and number else number


def _double(kind: str, value: object) -> float:
    del kind
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("expected a number")  # noqa: TRY004  as above
    return float(value)


_SCALARS: Final[Mapping[str, Callable[[str, object], object]]] = {
    "bool": _boolean,
    "double": _double,
    "int32": _integer,
    "int64": _integer,
    "string": _text,
    "uint32": _integer,
    "uint64": _integer,
}


def _enum(kind: str, value: object) -> str | int:
    """Give the name of a value, its number if it has none, or 0."""
    numbers = observer_schema().enums[kind].numbers
    if isinstance(value, str):
        if value not in numbers:
            raise ValueError(f"found {value!r}, which is no {kind}")
        return value if numbers[value] else 0
    number = _integer("int32", value)
    for name, known in numbers.items():
        if known == number and known:
            return name
    return number


def _well_known(kind: str, value: object) -> object:
    if kind == "google.protobuf.Timestamp":
        time_ns = parse_rfc3339(value) if isinstance(value, str) else None
        text = "" if time_ns is None else json_time(time_ns)
        if not text:
            raise ValueError("expected a time of RFC 3339")
        return text
    if kind == "google.protobuf.Any":
        return value if isinstance(value, dict) else {}
    return _text(kind, value)
