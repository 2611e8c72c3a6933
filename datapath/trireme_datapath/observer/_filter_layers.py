"""What values of filters want of the transport and of what is above it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeAlias

from trireme_datapath.monitor._go_text import quoted
from trireme_datapath.observer._fields import child, integer, ports, protocol, text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Flow: TypeAlias = Mapping[str, object]
    Test: TypeAlias = Callable[[Flow], bool]
    Values: TypeAlias = Sequence[object]

__all__ = [
    "header_test",
    "method_test",
    "port_tests",
    "protocol_test",
    "status_code_test",
    "tcp_flags_test",
]

_PORT_DIGITS: Final = 5
_MAX_PORT: Final = 65_535
_STATUS_CODE: Final = re.compile(r"[1-5][0-9]{2}", re.ASCII)
_STATUS_PREFIX: Final = re.compile(r"[1-5][0-9]?\+", re.ASCII)
_LAYER4: Final[Mapping[str, tuple[str, ...]]] = {
    "icmp": ("ICMPv4", "ICMPv6"),
    "icmpv4": ("ICMPv4",),
    "icmpv6": ("ICMPv6",),
    "sctp": ("SCTP",),
    "tcp": ("TCP",),
    "udp": ("UDP",),
}
_LAYER7: Final = frozenset({"dns", "http", "kafka"})


def port_tests(index: int) -> Callable[[Values], Test]:
    """Compare the port of one side; nothing that has none ever fits."""

    def make(values: Values) -> Test:
        wanted = frozenset(_port(str(value)) for value in values)

        def test(flow: Flow) -> bool:
            both = ports(flow)
            return both is not None and both[index] in wanted

        return test

    return make


def _port(value: str) -> int:
    # The words of Go's strconv, which Hubble passes on.
    if not (value.isascii() and value.isdigit()):
        why = "invalid syntax"
    elif int(value[-_PORT_DIGITS:]) > _MAX_PORT or value[:-_PORT_DIGITS].strip("0"):
        why = "value out of range"
    else:
        return int(value[-_PORT_DIGITS:])
    name = quoted(value)
    raise ValueError(f"invalid port {name}: strconv.ParseUint: parsing {name}: {why}")


def protocol_test(values: Values) -> Test:
    """Compare the protocol of layer 4 or 7."""
    layer4: set[str] = set()
    layer7: set[str] = set()
    for value in values:
        name = str(value).lower()
        if name in _LAYER4:
            layer4.update(_LAYER4[name])
        elif name in _LAYER7:
            layer7.add(name)
        else:
            raise ValueError(f"unknown protocol: {quoted(str(value))}")

    def test(flow: Flow) -> bool:
        if protocol(flow) in layer4:
            return True
        return not layer7.isdisjoint(child(flow, "l7"))

    return test


def tcp_flags_test(values: Values) -> Test:
    """See whether all flags of one value are set."""
    wanted = [
        frozenset(name for name, on in value.items() if on)
        for value in values
        if isinstance(value, dict)
    ]

    def test(flow: Flow) -> bool:
        layer = child(child(flow, "l4"), "TCP")
        flags = layer.get("flags")
        if not isinstance(flags, dict):
            return False
        return any(flags.keys() >= one for one in wanted)

    return test


def status_code_test(values: Values) -> Test:
    """Compare the status of an answer of HTTP, or how it begins."""
    exact: set[str] = set()
    prefixes: list[str] = []
    for value in values:
        given = str(value)
        if _STATUS_CODE.fullmatch(given):
            exact.add(given)
        elif _STATUS_PREFIX.fullmatch(given):
            prefixes.append(given[:-1])
        else:
            raise ValueError(f"invalid status code prefix: {quoted(given)}")

    def test(flow: Flow) -> bool:
        code = str(integer(child(child(flow, "l7"), "http"), "code") or "")
        return bool(code) and (code in exact or any(code.startswith(one) for one in prefixes))

    return test


def method_test(values: Values) -> Test:
    """Compare the method of HTTP."""
    wanted = frozenset(str(value).upper() for value in values)

    def test(flow: Flow) -> bool:
        method = text(child(child(flow, "l7"), "http"), "method")
        return bool(method) and method.upper() in wanted

    return test


def header_test(values: Values) -> Test:
    """See whether one of the headers of HTTP is there."""
    wanted = frozenset((getattr(v, "key", ""), getattr(v, "value", "")) for v in values)

    def test(flow: Flow) -> bool:
        headers = child(child(flow, "l7"), "http").get("headers")
        return isinstance(headers, list) and any(
            (text(one, "key"), text(one, "value")) in wanted for one in headers
        )

    return test
