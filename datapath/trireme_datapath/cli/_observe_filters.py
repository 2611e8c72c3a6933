"""Filters as they are given on the command line of ``hubble observe``, in any order.

A flag that is about either side makes two filters, one for each side; ``--not`` puts the flag
behind it on the list of what is not wanted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trireme_datapath.observer import FlowFilter

    Fields: TypeAlias = dict[str, list[object]]

__all__ = ["FILTER_FLAGS", "FilterFlag", "FilterFlags"]

_TCP_FLAGS: Final = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR", "NS")
_VERSIONS: Final[Mapping[str, str | int]] = {
    "4": "IPv4",
    "v4": "IPv4",
    "ipv4": "IPv4",
    "ip4": "IPv4",
    "6": "IPv6",
    "v6": "IPv6",
    "ipv6": "IPv6",
    "ip6": "IPv6",
    "none": 0,
}


def _itself(value: str) -> object:
    return value


def _tcp_flags(value: str) -> object:
    flags = {}
    for name in value.upper().split(","):
        if name not in _TCP_FLAGS:
            raise ValueError(f"unknown tcp flag: {name}")
        flags[name] = True
    return flags


def _version(value: str) -> object:
    found = _VERSIONS.get(value.lower())
    if found is None:
        raise ValueError(f"found {value!r}, expected none, v4 or v6")
    return found


def _direction(value: str) -> object:
    if value.lower() not in {"ingress", "egress"}:
        raise ValueError(f"{value.lower()}: invalid traffic direction, expected ingress or egress")
    return value.upper()


def _verdict(value: str) -> object:
    return value.upper()


def _boolean(value: str) -> object:
    if value.lower() not in {"true", "false"}:
        raise ValueError(f"found {value!r}, expected true or false")
    return value.lower() == "true"


def _header(value: str) -> object:
    key, colon, content = value.partition(":")
    if not colon:
        raise ValueError(f"invalid http-header value {value!r}, expected name:value")
    return {"key": key, "value": content}


def _workload(value: str) -> object:
    kind, slash, name = value.partition("/")
    return {"kind": kind, "name": name} if slash else {"name": value}


def _interface(value: str) -> object:
    return {"name": value}


def _identity(value: str) -> object:
    from trireme_datapath.monitor.tables.identities import (
        RESERVED_IDENTITIES,
    )

    for number, name in RESERVED_IDENTITIES.items():
        if name == value:
            return number
    if not (value.isascii() and value.isdigit() and int(value) <= 0xFFFFFFFF):
        names = ", ".join(RESERVED_IDENTITIES.values())
        raise ValueError(f"invalid security identity, expected one of {names} or a number")
    return int(value)


def _event_type(value: str) -> object:
    from trireme_datapath.monitor.tables.message_types import MESSAGE_NAMES
    from trireme_datapath.monitor.tables.traces import OBSERVATION_POINTS

    name, colon, narrower = value.partition(":")
    kind = MESSAGE_NAMES.get(name)
    number = int(kind) if kind is not None else _number(name)
    if number is None:
        raise ValueError(f"unable to parse type {name!r}, not a known type name or number")
    wanted: dict[str, object] = {"type": number}
    if colon:
        points = {text: int(point) for point, text in OBSERVATION_POINTS.items()}
        sub_type = points.get(narrower) if name == "trace" else None
        sub_type = _number(narrower) if sub_type is None else sub_type
        if sub_type is None:
            raise ValueError(f"unable to parse event sub-type {narrower!r}")
        wanted |= {"match_sub_type": True, "sub_type": sub_type}
    return wanted


def _number(value: str) -> int | None:
    is_number = value.isascii() and value.isdigit() and len(value) < 10
    return int(value) if is_number else None


class FilterFlag(NamedTuple):
    """A flag.

    Attributes:
        fields: The fields that it sets.
        help: What it is for.
        metavar: What stands for its value; empty for a flag without one.
        read: Makes the value of the field of the text.
        either: Whether one of the fields is enough, or all have to fit.
        short: Its short spelling.
    """

    fields: tuple[str, ...]
    help: str
    metavar: str = "TEXT"
    read: Callable[[str], object] = _itself
    either: bool = False
    short: str = ""


def _sides(
    name: str,
    field: str,
    what: str,
    metavar: str,
    read: Callable[[str], object] = _itself,
    short: str = "",
) -> dict[str, FilterFlag]:
    """Make the flags for the source, the destination, and either."""
    near, far = f"source_{field}", f"destination_{field}"
    return {
        f"from-{name}": FilterFlag((near,), f"Only from {what}.", metavar, read),
        f"to-{name}": FilterFlag((far,), f"Only to {what}.", metavar, read),
        name: FilterFlag(
            (near, far), f"Only from or to {what}.", metavar, read, either=True, short=short
        ),
    }


FILTER_FLAGS: Final[Mapping[str, FilterFlag]] = {
    **_sides("ip", "ip", "this address or network", "IP"),
    "snat-ip": FilterFlag(("source_ip_xlated",), "Only with this translated source.", "IP"),
    "ipv4": FilterFlag(("ip_version",), "Only IPv4.", "", _version, short="4"),
    "ipv6": FilterFlag(("ip_version",), "Only IPv6.", "", _version, short="6"),
    "ip-version": FilterFlag(("ip_version",), "Only v4, v6 or none.", "VERSION", _version),
    **_sides("port", "port", "this port", "PORT"),
    "protocol": FilterFlag(("protocol",), "Only this protocol, such as tcp.", "NAME"),
    "tcp-flags": FilterFlag(
        ("tcp_flags",), "Only with these flags, such as syn,ack.", "FLAGS", _tcp_flags
    ),
    "verdict": FilterFlag(
        ("verdict",), "Only with this verdict, such as DROPPED.", "VERDICT", _verdict
    ),
    "drop-reason-desc": FilterFlag(
        ("drop_reason_desc",),
        "Only dropped for this reason, such as POLICY_DENIED.",
        "REASON",
        _verdict,
    ),
    "type": FilterFlag(
        ("event_type",),
        "Only events of this type: capture, drop, l7, policy-verdict, trace[:POINT], trace-sock.",
        "TYPE[:SUBTYPE]",
        _event_type,
        short="t",
    ),
    "traffic-direction": FilterFlag(
        ("traffic_direction",), "Only ingress or egress.", "DIRECTION", _direction
    ),
    "reply": FilterFlag(("reply",), "Only replies, or none with false.", "BOOLEAN", _boolean),
    "interface": FilterFlag(("interface",), "Only on this interface.", "NAME", _interface),
    "node-name": FilterFlag(("node_name",), "Only seen on this node; * is any text.", "NAME"),
    "node-label": FilterFlag(("node_labels",), "Only on nodes with these labels.", "SELECTOR"),
    **_sides("pod", "pod", "units whose name begins so", "[NAMESPACE/]PREFIX"),
    **_sides("service", "service", "services whose name begins so", "[NAMESPACE/]PREFIX"),
    **_sides("workload", "workload", "this workload", "[KIND/]NAME", _workload),
    **_sides("cluster", "cluster_name", "this cluster; * is any text", "NAME"),
    **_sides("fqdn", "fqdn", "this name; * is any text", "NAME"),
    **_sides("label", "label", "endpoints with these labels", "SELECTOR", short="l"),
    **_sides("identity", "identity", "this security identity", "IDENTITY", _identity),
    "http-status": FilterFlag(("http_status_code",), "Only with this status, such as 5+.", "CODE"),
    "http-method": FilterFlag(("http_method",), "Only requests of this method.", "METHOD"),
    "http-header": FilterFlag(("http_header",), "Only with this header.", "NAME:VALUE", _header),
    "trace-id": FilterFlag(("trace_id",), "Only of this trace.", "ID"),
    "uuid": FilterFlag(("uuid",), "Only the flow with this identification.", "UUID"),
    **_sides("namespace", "namespace", "this namespace", "NAME", short="n"),
    "from-all-namespaces": FilterFlag(("source_namespace",), "Only from any namespace.", ""),
    "to-all-namespaces": FilterFlag(("destination_namespace",), "Only to any namespace.", ""),
    "all-namespaces": FilterFlag(
        ("source_namespace", "destination_namespace"),
        "Only from or to any namespace.",
        "",
        either=True,
        short="A",
    ),
}
"""All flags by name; those without a metavar have no value."""

_VALUES: Final[Mapping[str, str]] = {"ipv4": "v4", "ipv6": "v6"}  # of flags without one
_SIDES: Final = ("source", "destination")


class FilterFlags:
    """Takes flags in their order and makes the lists of filters."""

    def __init__(self) -> None:
        """Start without flags: everything is wanted."""
        self._wanted = _Pair()
        self._unwanted = _Pair()
        self._negated = False

    def put(self, name: str, value: str = "") -> None:
        """Take a flag.

        Args:
            name: ``not``, or a name of `FILTER_FLAGS`.
            value: Its value.

        Raises:
            ValueError: The value is none of this flag.
        """
        if name == "not":
            if self._negated:
                raise ValueError("consecutive --not statements")
            self._negated = True
            return
        flag = FILTER_FLAGS[name]
        try:
            read = flag.read(_VALUES.get(name, value) if not flag.metavar else value)
        except ValueError as error:
            raise ValueError(f"--{name}: {error}") from error
        (self._unwanted if self._negated else self._wanted).put(flag, read)
        self._negated = False

    def filters(self) -> tuple[tuple[FlowFilter, ...], tuple[FlowFilter, ...]]:
        """Give the list of what is wanted, and that of what is not.

        Raises:
            ValueError: A value cannot be used, or a ``--not`` has nothing behind it.
        """
        if self._negated:
            raise ValueError("trailing --not found in the arguments")
        return self._wanted.filters(), self._unwanted.filters()


class _Pair:
    """Two filters, of which one has to fit."""

    def __init__(self) -> None:
        self._pair: tuple[Fields, Fields] = ({}, {})

    def put(self, flag: FilterFlag, value: object) -> None:
        for index, fields in enumerate(self._pair):
            names = (flag.fields[index],) if flag.either else flag.fields
            for name in names:
                fields.setdefault(name, []).append(value)

    def filters(self) -> tuple[FlowFilter, ...]:
        from trireme_datapath.observer import read_filter

        made = [read_filter(_with_namespaces(fields)) for fields in self._pair if fields]
        return tuple(made[:1] if made[:1] == made[1:] else made)


def _with_namespaces(fields: Fields) -> Fields:
    """Put namespaces in front of the names of units and services."""
    found = dict(fields)
    for side in _SIDES:
        namespaces = found.pop(f"{side}_namespace", None)
        if namespaces is None:
            continue
        pods, services = f"{side}_pod", f"{side}_service"
        if not (found.get(pods) or found.get(services)):
            found[pods] = [""]
        for field in (pods, services):
            if field in found:
                found[field] = [
                    name if "/" in str(name) else f"{str(namespace).rstrip('/')}/{name}"
                    for name in found[field]
                    for namespace in namespaces
                ]
    return found
