"""Records as aligned lines for people.

Everything that comes from the network or from others is escaped: a line is one line, and
cannot command the terminal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from msgspec import UNSET

from trireme_collector.formats._escaping import escape_text
from trireme_collector.formats._text_cache import TextCache
from trireme_collector.formats._time import format_rfc3339
from trireme_collector.records import (
    ActionType,
    Checkpoint,
    ConnectionExceptionReport,
    ContainerRecord,
    CounterReport,
    DNSRequestReport,
    FlowRecord,
    IPTablesTrace,
    PacketReport,
    PingReport,
    TraceReport,
    UserRecord,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from msgspec import UnsetType

    from trireme_collector.records import Record

__all__ = ["protocol_name", "record_time_ns", "render_summary", "render_text"]

_Painter: TypeAlias = "Callable[[str, str], str]"

_PROTOCOLS = {
    1: "icmp",
    2: "igmp",
    6: "tcp",
    17: "udp",
    47: "gre",
    50: "esp",
    51: "ah",
    58: "icmp6",
    132: "sctp",
    136: "udpl",
}
_COLORS = {"green": "\x1b[32m", "red": "\x1b[31m", "yellow": "\x1b[33m", "dim": "\x1b[2m"}
_RESET = "\x1b[0m"
_NO_TIME = "--:--:--.------"
_WIDTH_KIND = 8
_WIDTH_VERDICT = 7
_WIDTH_PROTOCOL = 5
_WIDTH_SOURCE = 21  # an IPv4 address and a port; longer ones push the rest to the right
_MAX_LISTED = 8
_ANY_PORTS = frozenset({1, 2, 58})  # protocols without ports


def render_text(record: Record, *, color: bool = False) -> str:
    """Render a record as one line: time, kind or direction, verdict, who to whom, why.

    Args:
        record: Any record.
        color: Whether to colour the verdict with terminal escapes.
    """
    time_ns = record_time_ns(record)
    text = format_rfc3339(time_ns)[11:-1] if time_ns is not None else ""
    paint = _paint if color else _plain
    return f"{paint(text or _NO_TIME, 'dim')} {_RENDER[type(record)](record, paint)}".rstrip()


def render_summary(record: Record) -> str:
    """Render a record like `render_text`, without time, colour and alignment."""
    if type(record) is FlowRecord:
        return _flow_summary(record)
    return " ".join(_RENDER[type(record)](record, _plain).split())


def record_time_ns(record: Record) -> int | None:
    """Give the time that a record tells about, nanoseconds since 1970 UTC, if it knows one.

    For a flow that is when it was last seen.
    """
    time_ns: int | UnsetType = UNSET
    match record:
        case FlowRecord():
            time_ns = record.end_time_ns or record.start_time_ns
        case (
            PacketReport()
            | CounterReport()
            | ConnectionExceptionReport()
            | IPTablesTrace()
            | Checkpoint()
        ):
            time_ns = record.timestamp_ns
        case DNSRequestReport():
            time_ns = record.time_ns
    return time_ns or None


def protocol_name(number: int) -> str:
    """Name an IP protocol as people write it, ``tcp``; the number when it has no short name."""
    return _PROTOCOLS.get(number, str(number))


def _plain(text: str, _color: str) -> str:
    return text


def _paint(text: str, color: str) -> str:
    return f"{_COLORS[color]}{text}{_RESET}" if color else text


def _verdict(action: ActionType, paint: _Painter) -> str:
    if action.rejected:
        word, color = "REJECT", "red"
    elif action.accepted:
        word, color = "ACCEPT", "green"
    else:
        word, color = "NONE", "yellow"
    return paint(word.ljust(_WIDTH_VERDICT), color)


def _address(ip: str, port: int, protocol: int) -> str:
    ip = escape_text(ip) or "?"
    if not port and protocol in _ANY_PORTS:
        return ip
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def _way(source: str, destination: str) -> str:
    return f"{source:<{_WIDTH_SOURCE}} -> {destination:<{_WIDTH_SOURCE}}"


def _values(**values: object) -> str:
    """Join what is known as ``name=value``."""
    return " ".join(
        [
            f"{name}={_value(value)}"
            for name, value in values.items()
            if value and value is not UNSET
        ]
    )


def _value(value: object) -> str:
    return _VALUES[value] if type(value) is str else _render_value(str(value))


def _render_value(text: str) -> str:
    text = escape_text(text)
    # Quotes where a space would make one value look like two.
    return '"' + text.replace('"', '\\"') + '"' if " " in text or '"' in text else text


_VALUES = TextCache(_render_value)


def _list(texts: tuple[str, ...]) -> str:
    more = f",... {len(texts) - _MAX_LISTED} more" if len(texts) > _MAX_LISTED else ""
    return ",".join(texts[:_MAX_LISTED]) + more


def _flow(record: FlowRecord, paint: _Painter) -> str:
    protocol = record.l4_protocol
    source, destination = record.source, record.destination
    way = _way(
        _address(source.ip, source.port, protocol),
        _address(destination.ip, destination.port, protocol),
    )
    count = f" x{record.count}" if record.count > 1 else ""
    return (
        f"{record.direction or 'flow'!s:<{_WIDTH_KIND}} {_verdict(record.action, paint)}"
        f" {protocol_name(protocol):<{_WIDTH_PROTOCOL}}"
        f" {way}{_flow_details(record)}{count}"
    )


def _flow_summary(record: FlowRecord) -> str:
    """Write what `_flow` writes without its alignment: syslog has one of these a message."""
    protocol = record.l4_protocol
    source, destination = record.source, record.destination
    action = record.action
    verdict = "REJECT" if action.rejected else "ACCEPT" if action.accepted else "NONE"
    count = f" x{record.count}" if record.count > 1 else ""
    text = (
        f"{record.direction or 'flow'!s} {verdict} {protocol_name(protocol)}"
        f" {_address(source.ip, source.port, protocol)}"
        f" -> {_address(destination.ip, destination.port, protocol)}"
        f"{_flow_details(record)}{count}"
    )
    return " ".join(text.split()) if "  " in text else text


def _flow_details(record: FlowRecord) -> str:
    values = _VALUES
    observed = record.observed_action
    return "".join(
        (
            f" policy={values[text]}" if (text := record.policy_id) else "",
            f" unit={values[text]}" if (text := record.context_id) else "",
            f" reason={values[text]}" if (text := record.drop_reason) else "",
            f" observed={values[observed.describe()]}" if observed is not ActionType.NONE else "",
            f" observed_policy={values[text]}" if (text := record.observed_policy_id) else "",
            f" uri={values[text]}" if (text := record.destination.uri) else "",
            f" packets={record.packets}" if record.packets else "",
            f" bytes={record.bytes}" if record.bytes else "",
            f" {phase.value}" if (phase := record.phase) is not UNSET else "",
        )
    )


def _packet(record: PacketReport, paint: _Painter) -> str:
    dropped = bool(record.drop_reason) or record.event == "Dropped"
    verdict = paint(
        ("DROPPED" if dropped else "PASSED").ljust(_WIDTH_VERDICT), "red" if dropped else "green"
    )
    protocol = record.protocol
    source = _address(record.source_ip, record.source_port, protocol)
    destination = _address(record.destination_ip, record.destination_port, protocol)
    rest = _values(
        unit=record.puid, reason=record.drop_reason, length=record.length, mark=record.mark
    )
    return (
        f"{'packet':<{_WIDTH_KIND}} {verdict} {protocol_name(protocol):<{_WIDTH_PROTOCOL}}"
        f" {_way(source, destination)} {rest}"
    )


def _container(record: ContainerRecord, _paint: _Painter) -> str:
    addresses = tuple(f"{name}={address}" for name, address in record.ip_address.items())
    rest = _values(unit=record.context_id, addresses=_list(addresses), tags=_list(record.tags))
    return f"{'unit':<{_WIDTH_KIND}} {escape_text(record.event):<{_WIDTH_VERDICT}} {rest}"


def _user(record: UserRecord, _paint: _Painter) -> str:
    rest = _values(id=record.id, namespace=record.namespace, claims=_list(record.claims))
    return f"{'user':<{_WIDTH_KIND}} {rest}"


def _counter(record: CounterReport, _paint: _Painter) -> str:
    counted = tuple(f"{item.name}={item.value}" for item in record.counters if item.value)
    rest = _values(unit=record.context_id, counters=_list(counted) or "all zero")
    return f"{'counters':<{_WIDTH_KIND}} {rest}"


def _dns(record: DNSRequestReport, paint: _Painter) -> str:
    rest = _values(
        name=record.name_lookup,
        client=record.source.ip,
        unit=record.source.id,
        error=record.error,
        addresses=_list(record.ips or ()),
    )
    verdict = paint("FAILED".ljust(_WIDTH_VERDICT), "red") if record.error else " " * _WIDTH_VERDICT
    count = f" x{record.count}" if record.count > 1 else ""
    return f"{'dns':<{_WIDTH_KIND}} {verdict} {rest}{count}"


def _ping(record: PingReport, _paint: _Painter) -> str:
    rest = _values(
        flow=record.flow_tuple,
        unit=record.source_id,
        peer=record.destination_id,
        latency=record.latency,
        error=record.error or "",
        request=record.request,
        session=record.session_id,
    )
    return f"{'ping':<{_WIDTH_KIND}} {record.stage!s:<{_WIDTH_VERDICT}} {rest}"


def _trace(record: TraceReport, _paint: _Painter) -> str:
    first = escape_text(record.lines[0]) if record.lines else ""
    more = f" (and {len(record.lines) - 1} more lines)" if len(record.lines) > 1 else ""
    return f"{'trace':<{_WIDTH_KIND}} {first}{more}"


def _exception(record: ConnectionExceptionReport, paint: _Painter) -> str:
    verdict = paint(escape_text(record.reason).ljust(_WIDTH_VERDICT), "yellow")
    destination = _address(record.destination_ip, record.destination_port, record.protocol)
    rest = _values(unit=record.puid, state=record.state, attempts=record.value)
    return (
        f"{'no-reply':<{_WIDTH_KIND}} {verdict}"
        f" {protocol_name(record.protocol):<{_WIDTH_PROTOCOL}}"
        f" {_way(escape_text(record.source_ip), destination)} {rest}"
    )


def _checkpoint(record: Checkpoint, _paint: _Painter) -> str:
    word = "final" if record.final else ""
    counts = tuple(
        f"{count.name}:{count.delivered}+{count.dead_lettered}+{count.dropped}+{count.queued}"
        f"={count.accepted}"
        for count in record.collectors
    )
    rest = _values(sequence=record.sequence, collectors=_list(counts))
    return f"{'counts':<{_WIDTH_KIND}} {word:<{_WIDTH_VERDICT}} {rest}"


def _iptables(record: IPTablesTrace, _paint: _Painter) -> str:
    steps = tuple(f"{step.table_name}/{step.chain}:{step.rule_id}" for step in record.records)
    return f"{'iptables':<{_WIDTH_KIND}} {_values(namespace=record.namespace, steps=_list(steps))}"


_RENDER: Mapping[type, Callable[..., str]] = {
    FlowRecord: _flow,
    PacketReport: _packet,
    ContainerRecord: _container,
    UserRecord: _user,
    CounterReport: _counter,
    DNSRequestReport: _dns,
    PingReport: _ping,
    TraceReport: _trace,
    ConnectionExceptionReport: _exception,
    IPTablesTrace: _iptables,
    Checkpoint: _checkpoint,
}
