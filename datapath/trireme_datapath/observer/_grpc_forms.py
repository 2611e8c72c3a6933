"""Messages of protobuf and their JSON forms, one made of the other."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from google.protobuf.unknown_fields import UnknownFieldSet

from trireme_datapath.grpc_server import Messages
from trireme_datapath.observer._schemas import observer_schema
from trireme_datapath.observer._times import json_time, parse_rfc3339
from trireme_datapath.observer.json_form import RESPONSE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from google.protobuf.message import Message

    from trireme_datapath.grpc_server import FieldSchema
    from trireme_datapath.observer.seen import FlowMaker, LostEvents, SeenFlow

__all__ = [
    "encode_flow",
    "encode_lost",
    "encode_masked",
    "messages",
    "read_form",
    "unknown_field",
    "write_form",
]

_SECOND: Final = 1_000_000_000
_TIMESTAMP: Final = "google.protobuf.Timestamp"
_MASK: Final = "google.protobuf.FieldMask"
_WRAPPERS: Final = frozenset(
    {"google.protobuf.BoolValue", "google.protobuf.Int32Value", "google.protobuf.UInt32Value"}
)


@functools.cache
def messages() -> Messages:
    """Give the messages of the observer."""
    return Messages(observer_schema())


def encode_flow(seen: SeenFlow, maker: FlowMaker) -> bytes:
    """Encode the response with a flow, once for all who read it.

    Returns:
        It; empty if protobuf cannot hold the flow.
    """
    if seen.response is None:
        seen.response = _encode(seen.flow, seen.time_ns, maker)
    return seen.response


def _encode(flow: dict[str, object] | None, time_ns: int, maker: FlowMaker) -> bytes:
    if flow is None:
        return b""
    moment = _moment(time_ns)
    try:
        # The flows that we make have few fields whose form differs.
        fields = {**flow, "time": moment}
        if "is_reply" in flow:
            fields["is_reply"] = {"value": flow["is_reply"]}
        for name in ("socket_cookie", "cgroup_id"):
            if name in flow:
                fields[name] = int(str(flow[name]))
        response = messages()[RESPONSE](flow=fields, node_name=flow["node_name"], time=moment)
        return response.SerializeToString()
    except (KeyError, TypeError, ValueError):
        pass
    tidy = maker.tidy(flow)
    return b"" if tidy is None else encode_masked(tidy)


def encode_masked(flow: Mapping[str, object]) -> bytes:
    """Encode the response with a flow that lacks some of its fields."""
    response: dict[str, object] = {"flow": flow}
    for name in ("node_name", "time"):
        if flow.get(name):
            response[name] = flow[name]
    return write_form(RESPONSE, response).SerializeToString()


def encode_lost(lost: LostEvents, node_name: str) -> bytes:
    """Encode the response that tells of lost events."""
    response: dict[str, object] = {
        "lost_events": lost.fields(),
        "node_name": node_name,
        "time": json_time(lost.time_ns),
    }
    return write_form(RESPONSE, response).SerializeToString()


def write_form(name: str, form: Mapping[str, object]) -> Message:
    """Make a message of its JSON form.

    Raises:
        ValueError: The form is none of this message.
        TypeError: The same.
    """
    return messages()[name](**_fields(name, form))


def _fields(name: str, form: Mapping[str, object]) -> dict[str, object]:
    known = observer_schema().messages[name].fields
    fields: dict[str, object] = {}
    for key, value in form.items():
        field = known[key]
        if isinstance(value, list) and field.repeated:
            fields[key] = [_value(field, item) for item in value]
        else:
            fields[key] = _value(field, value)
    return fields


def _value(field: FieldSchema, value: object) -> object:
    kind = field.type
    if kind in observer_schema().messages and isinstance(value, dict):
        return _fields(kind, value)
    if kind == _TIMESTAMP:
        return _moment(parse_rfc3339(str(value)) or 0)
    if kind in _WRAPPERS:
        return {"value": value}
    if kind == _MASK:
        return {"paths": str(value).split(",")}
    if kind.endswith("64"):
        return int(str(value))
    if kind.startswith("google."):
        return {}
    return value


def _moment(time_ns: int) -> dict[str, int]:
    seconds, nanos = divmod(time_ns, _SECOND)
    return {"seconds": seconds, "nanos": nanos}


def read_form(message: Message) -> dict[str, object]:
    """Give the JSON form of a message, with its fields in the order of the schema."""
    readers = _readers(message.DESCRIPTOR.full_name)
    present = [(readers[field.name], value) for field, value in message.ListFields()]
    present.sort(key=_by_order)
    return {reader.name: reader.read(value) for reader, value in present}


class _Reader(NamedTuple):
    """Reads one field; fields are sorted by their place in the schema."""

    order: int
    name: str
    read: Callable[[Any], object]


def _by_order(item: tuple[_Reader, object]) -> int:
    return item[0].order


@functools.cache
def _readers(name: str) -> dict[str, _Reader]:
    fields = observer_schema().messages[name].fields
    found = {}
    for order, field in enumerate(fields.values()):
        read = _reader_of(field.type)
        found[field.name] = _Reader(order, field.name, _each(read) if field.repeated else read)
    return found


def _each(read: Callable[[Any], object]) -> Callable[[Any], object]:
    return lambda values: [read(value) for value in values]


def _reader_of(kind: str) -> Callable[[Any], object]:
    schema = observer_schema()
    if kind in schema.enums:
        names = {number: name for name, number in schema.enums[kind].numbers.items()}
        return lambda value: names.get(value, value)
    if kind in schema.messages:
        return read_form
    if kind == _TIMESTAMP:
        return lambda value: json_time(value.seconds * _SECOND + value.nanos)
    if kind in _WRAPPERS:
        return lambda value: value.value
    if kind == _MASK:
        return lambda value: ",".join(value.paths)
    if kind.endswith("64"):
        return str
    if kind.startswith("google."):
        return lambda _: {}
    return lambda value: value


def unknown_field(message: Message) -> int:
    """Give the number of a field that the schema does not have, or 0."""
    found = UnknownFieldSet(message)
    return int(found[0].field_number) if len(found) else 0
