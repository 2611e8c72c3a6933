"""Records as log records of OpenTelemetry: a time, a severity, a body and attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import msgspec
from msgspec import UNSET

from trireme_collector import FlowRecord
from trireme_collector.formats import escape_text, protocol_name, record_time_ns, render_json_line
from trireme_collector.formats.json_lines import printable_json
from trireme_collector.netobserv import encode_flow, flow_fields, flows_from_record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trireme_collector import Record

__all__ = ["Log", "Value", "log_form"]

Scalar: TypeAlias = str | bool | int | float
Value: TypeAlias = Scalar | tuple[Scalar, ...]
Enrich: TypeAlias = "Callable[[Mapping[str, object]], dict[str, object]]"

_INFO, _WARN = 9, 13  # SeverityNumber in logs.proto
_PREFIX = "trireme."
# Where the semantic conventions have a name; everything else is ours.
_CONVENTIONS = {
    "source.ip": "source.address",
    "source.port": "source.port",
    "destination.ip": "destination.address",
    "destination.port": "destination.port",
    "interface": "network.interface.name",
}
_DIRECTIONS = {"ingress": "receive", "egress": "transmit"}
_INT64 = range(-(2**63), 2**63)
_TIMES = range(1, 2**64)
_KNOWN_PATHS = 1024


class Log(NamedTuple):
    """One log record.

    Attributes:
        time_ns: When it happened, nanoseconds since 1970 UTC; 0 when nobody knows.
        is_warning: Whether a flow was rejected.
        body: The JSON.
        attributes: What it says, by name.
    """

    time_ns: int
    is_warning: bool
    body: str
    attributes: dict[str, Value]

    @property
    def severity(self) -> tuple[int, str]:
        """The number and the text of the severity."""
        return (_WARN, "WARN") if self.is_warning else (_INFO, "INFO")


def log_form(
    layout: str, *, agent_ip: str = "", enrich: Enrich | None = None
) -> Callable[[Record], list[Log]]:
    """Give the function that makes the log records of a record.

    Args:
        layout: ``json`` or ``netobserv``.
        agent_ip: The address of this host, for flow logs.
        enrich: Adds to flow logs what is known of their ends.
    """
    if layout == "json":
        return lambda record: [_native(record)]

    def render(record: Record) -> list[Log]:
        if not isinstance(record, FlowRecord):
            return []
        return _flow_logs(record, agent_ip, enrich)

    return render


def _flow_logs(record: FlowRecord, agent_ip: str, enrich: Enrich | None) -> list[Log]:
    found = []
    for flow in flows_from_record(record, agent_ip=agent_ip or UNSET):
        whole = flow if enrich is None else enrich(flow_fields(flow))
        line = printable_json(encode_flow(whole))
        attributes = {name: _value(value) for name, value in msgspec.json.decode(line).items()}
        attributes.update(_identity(record))
        found.append(Log(_time_ns(record), record.action.rejected, line.decode(), attributes))
    return found


def _native(record: Record) -> Log:
    body = render_json_line(record)[:-1]
    fields: dict[str, object] = msgspec.json.decode(body)
    attributes: dict[str, Value] = {"event.name": f"{_PREFIX}{fields.pop('type')}"}
    _take(attributes, fields, "")
    is_warning = False
    if isinstance(record, FlowRecord):
        is_warning = record.action.rejected
        attributes["network.transport"] = protocol_name(record.l4_protocol)
        if record.direction:
            attributes["network.io.direction"] = _DIRECTIONS[record.direction.value]
    return Log(_time_ns(record), is_warning, body.decode(), attributes)


def _take(attributes: dict[str, Value], fields: Mapping[str, object], above: str) -> None:
    """Take what has a value, by its path; records are two levels deep."""
    for name, value in fields.items():
        if isinstance(value, dict):
            _take(attributes, value, f"{above}{name}.")
        elif value or value in (0, False):
            attributes[_names[above + name]] = _value(value)


class _Names(dict[str, str]):
    """The names of attributes by the path of the field; there are some hundred."""

    def __missing__(self, path: str) -> str:
        name = _CONVENTIONS.get(path) or _PREFIX + path
        if len(self) < _KNOWN_PATHS:
            self[path] = name
        return name


_names = _Names()


def _time_ns(record: Record) -> int:
    time_ns = record_time_ns(record) or 0
    return time_ns if time_ns in _TIMES else 0


def _identity(record: Record) -> dict[str, Value]:
    if not record.instance:
        return {}
    return {
        "trireme.instance": escape_text(record.instance),
        "trireme.epoch": record.epoch or 0,
        "trireme.sequence": record.sequence or 0,
    }


def _value(value: object) -> Value:
    if isinstance(value, str):
        # It is shown as it is, by whoever shows logs.
        return value if value.isprintable() else escape_text(value)
    match value:
        case list() | tuple() if all(isinstance(v, (str, bool, int, float)) for v in value):
            return tuple(map(_scalar, value))
        case bool() | int() | float():
            return _scalar(value)
        case _:
            return printable_json(msgspec.json.encode(value)).decode()


def _scalar(value: Scalar) -> Scalar:
    match value:
        case str():
            return value if value.isprintable() else escape_text(value)
        case int() if value not in _INT64:
            return str(value)
        case _:
            return value
