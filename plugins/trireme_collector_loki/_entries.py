"""Records as entries of streams: labels, a time, a line and metadata."""

from __future__ import annotations

import enum
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from msgspec import UNSET

from trireme_collector import FlowRecord
from trireme_collector.formats import record_time_ns, render_json_line
from trireme_collector.formats.json_lines import printable_json
from trireme_collector.netobserv import (
    LABELS,
    encode_flow,
    flow_fields,
    flows_from_record,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from trireme_collector import Record

__all__ = ["Entry", "Pairs", "entry_form", "flow_entry"]

Pairs: TypeAlias = tuple[tuple[str, str], ...]
Enrich: TypeAlias = "Callable[[Mapping[str, object]], dict[str, object]]"

_NATIVE_LABELS = ("type", "namespace")
_STATIC = {"netobserv": "netobserv-flowcollector", "json": "trireme-collector"}
_APP = "app"
_TIMES = range(1, 1 << 63)


class Entry(NamedTuple):
    """One line.

    Attributes:
        labels: The labels of its stream, by name.
        time_ns: Its time, nanoseconds since 1970 UTC.
        line: The line, JSON.
        metadata: The identity of its record.
    """

    labels: Pairs
    time_ns: int
    line: bytes
    metadata: Pairs = ()

    @property
    def size(self) -> int:
        """About how much of a body it takes."""
        return len(self.line) + sum(len(name) + len(value) + 6 for name, value in self.metadata)


def entry_form(
    layout: str,
    *,
    labels: Sequence[str] | None = None,
    static_labels: Mapping[str, str] | None = None,
    agent_ip: str = "",
    enrich: Enrich | None = None,
) -> Callable[[Record, int], list[Entry]]:
    """Give the function that makes the entries of a record, which has to be told the time.

    Args:
        layout: ``netobserv`` or ``json``.
        labels: The fields that become labels.
        static_labels: Labels that every stream has.
        agent_ip: The address of this host, for flow logs.
        enrich: Adds to flow logs what is known of their ends.
    """
    static = dict(static_labels) if static_labels else {_APP: _STATIC[layout]}
    if layout == "json":
        chosen = _NATIVE_LABELS if labels is None else tuple(labels)
        return lambda record, now_ns: [_native(record, now_ns, chosen, static)]
    names = frozenset(LABELS if labels is None else labels)

    def render(record: Record, now_ns: int) -> list[Entry]:
        if not isinstance(record, FlowRecord):
            return []
        time_ns, metadata = _time_ns(record, now_ns), _identity(record)
        flows = flows_from_record(record, agent_ip=agent_ip or UNSET)
        fields = (flow_fields(flow) for flow in flows)
        whole = fields if enrich is None else map(enrich, fields)
        return [flow_entry(each, time_ns, names, static, metadata) for each in whole]

    return render


def flow_entry(
    fields: Mapping[str, object],
    time_ns: int,
    names: Collection[str],
    static: Mapping[str, str],
    metadata: Pairs = (),
) -> Entry:
    """Divide a flow log into labels and a line.

    Args:
        fields: The flow log, by the names of the format.
        time_ns: The time of the entry.
        names: The fields that become labels; they win over static labels of the same name.
        static: Labels that every stream has.
        metadata: The identity of its record.
    """
    labels = dict(static)
    rest = {}
    for name, value in fields.items():
        if name in names:
            labels[name] = _label_text(value)
        else:
            rest[name] = value
    line = printable_json(encode_flow(rest))
    return Entry(tuple(sorted(labels.items())), time_ns, line, metadata)


def _native(record: Record, now_ns: int, names: Sequence[str], static: Mapping[str, str]) -> Entry:
    line = render_json_line(record)[:-1]
    labels = dict(static)
    for name in names:
        if name == "type":
            labels[name] = str(record.__struct_config__.tag)
            continue
        value = getattr(record, name, None)
        if isinstance(value, (str, int)) and value != "":
            labels[name] = _label_text(value)
    return Entry(
        tuple(sorted(labels.items())),
        _time_ns(record, now_ns),
        line,
        _identity(record),
    )


def _time_ns(record: Record, now_ns: int) -> int:
    time_ns = record_time_ns(record) or 0
    return time_ns if time_ns in _TIMES else now_ns


def _identity(record: Record) -> Pairs:
    if not record.instance:
        return ()
    return (
        ("trireme_instance", _clean(record.instance)),
        ("trireme_epoch", str(record.epoch or 0)),
        ("trireme_sequence", str(record.sequence or 0)),
    )


def _label_text(value: object) -> str:
    if isinstance(value, enum.Enum):
        value = value.value
    match value:
        case bool():
            return "true" if value else "false"
        case float():
            return f"{Decimal(repr(value)).normalize():f}"  # no exponent
        case list() | tuple():
            return f"[{' '.join(map(_label_text, value))}]"
        case _:
            return _clean(str(value))


def _clean(text: str) -> str:
    """Replace lone surrogates, which have no UTF-8."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
