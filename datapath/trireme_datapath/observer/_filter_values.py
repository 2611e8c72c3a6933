"""What the values of one field of a filter want of a flow."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final, TypeAlias

from trireme_datapath.monitor._go_text import quoted
from trireme_datapath.observer._fields import child, integer, text, texts
from trireme_datapath.observer._filter_layers import (
    header_test,
    method_test,
    port_tests,
    protocol_test,
    status_code_test,
    tcp_flags_test,
)
from trireme_datapath.observer._labels import compile_selector
from trireme_datapath.observer._patterns import compile_names, compile_node_names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Flow: TypeAlias = Mapping[str, object]
    Test: TypeAlias = Callable[[Flow], bool]
    Values: TypeAlias = Sequence[object]

__all__ = ["FilterError", "value_tests"]


class FilterError(ValueError):
    """A filter cannot be used; the message says why."""


_MAPPED_BITS: Final = 96
_PREFIX: Final = re.compile(r"[0-9]{1,3}", re.ASCII)
_DEFAULT_NAMESPACE: Final = "default"
# The fields whose name Hubble puts in front of what is wrong with their values.
_WRAPPED: Final[Mapping[str, str]] = {
    "source_service": "source service",
    "destination_service": "destination service",
    "source_label": "source label",
    "destination_label": "destination label",
    "node_labels": "node label",
    "source_port": "source port",
    "destination_port": "destination port",
    "protocol": "protocol",
    "http_status_code": "http status code",
}


def value_tests(field: str, values: Values) -> Test:
    """Make the test of a field with its values.

    Raises:
        FilterError: A value cannot be used.
    """
    try:
        return _MAKERS[field](values)
    except ValueError as error:
        what = _WRAPPED.get(field)
        raise FilterError(f"invalid {what} filter: {error}" if what else str(error)) from error


def _equal(name: str) -> Callable[[Values], Test]:
    """Compare a field of the flow itself; what is not there is 0, and has no text."""

    def make(values: Values) -> Test:
        wanted = frozenset(values)
        return lambda flow: flow.get(name, 0) in wanted

    return make


def _uuids(values: Values) -> Test:
    wanted = frozenset(values)
    return lambda flow: text(flow, "uuid") in wanted


def _drop_reasons(values: Values) -> Test:
    fits = _equal("drop_reason_desc")(values)
    return lambda flow: flow.get("verdict") == "DROPPED" and fits(flow)


def _reply(values: Values) -> Test:
    wanted = frozenset(values)

    def test(flow: Flow) -> bool:
        reply = flow.get("is_reply")
        if reply is None:
            # Of what was dropped nobody knows it; clients take it for no reply.
            return flow.get("verdict") == "DROPPED" and False in wanted
        return reply in wanted

    return test


def _addresses(name: str) -> Callable[[Values], Test]:
    def make(values: Values) -> Test:
        exact, networks = _split_addresses(values)

        def test(flow: Flow) -> bool:
            address = text(child(flow, "IP"), name)
            if not address:
                return False
            if address in exact:
                return True
            number = _parse_address(address) if networks else None
            return number is not None and any(
                number.version == network.version and number in network for network in networks
            )

        return test

    return make


_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


def _split_addresses(values: Values) -> tuple[frozenset[str], list[_Network]]:
    exact: set[str] = set()
    networks: list[_Network] = []
    for value in values:
        given = str(value)
        address, slash, length = given.partition("/")
        number = _parse_address(address)
        if number is None:
            what = "CIDR" if slash else "IP address"
            raise FilterError(f"invalid {what} in filter: {quoted(given)}")
        if not slash:
            # Flows have addresses in their shortest form.
            exact |= {given, str(number)}
            continue
        # An IPv4 address in IPv6 clothes was read as the former, its prefix has 96 bits more.
        cut = _MAPPED_BITS if number.version == 4 and ":" in address else 0
        wanted = int(length) - cut if _PREFIX.fullmatch(length) else -1
        if not 0 <= wanted <= number.max_prefixlen:
            raise FilterError(f"invalid CIDR in filter: {quoted(given)}")
        networks.append(ipaddress.ip_network(f"{number}/{wanted}", strict=False))
    return frozenset(exact), networks


def _parse_address(value: str) -> _Address | None:
    if "%" in value:
        return None
    try:
        number = ipaddress.ip_address(value)
    except ValueError:
        return None
    mapped = getattr(number, "ipv4_mapped", None)
    return mapped if isinstance(mapped, ipaddress.IPv4Address) else number


def _named(side: str) -> Callable[[Values], Test]:
    name_field = "name" if side.endswith("_service") else "pod_name"

    def make(values: Values) -> Test:
        wanted = [_namespaced(str(value)) for value in values]

        def test(flow: Flow) -> bool:
            end = child(flow, side)
            namespace, name = text(end, "namespace"), text(end, name_field)
            if not (namespace or name):
                return False
            return any(
                name.startswith(prefix) and (spaces is None or namespace.strip("/") in spaces)
                for spaces, prefix in wanted
            )

        return test

    return make


def _namespaced(value: str) -> tuple[tuple[str, ...] | None, str]:
    """Read ``[NAMESPACE/][PREFIX]``; ``/PREFIX`` is of any namespace.

    A namespace may have slashes itself; one in front of it makes no difference.
    """
    if not value:
        raise FilterError("invalid filter, name must not be empty")
    namespace, slash, prefix = value.rpartition("/")
    namespace = namespace.strip("/")
    if not slash:
        # A host has no namespaces unless somebody gives it some.
        return (_DEFAULT_NAMESPACE, ""), value
    return (namespace,) if namespace else None, prefix


def _fqdn(name: str) -> Callable[[Values], Test]:
    def make(values: Values) -> Test:
        fits = compile_names([str(value) for value in values])
        return lambda flow: any(fits(one) for one in texts(flow, name))

    return make


def _clusters(side: str) -> Callable[[Values], Test]:
    def make(values: Values) -> Test:
        fits = compile_names([str(value) for value in values])

        def test(flow: Flow) -> bool:
            name = text(child(flow, side), "cluster_name")
            return bool(name) and fits(name)

        return test

    return make


def _labels(side: str) -> Callable[[Values], Test]:
    def make(values: Values) -> Test:
        selectors = [compile_selector(str(value)) for value in values]

        def test(flow: Flow) -> bool:
            labels = texts(child(flow, side), "labels") if side else texts(flow, "node_labels")
            return any(selector(labels) for selector in selectors)

        return test

    return make


def _event_types(values: Values) -> Test:
    wanted = [
        (getattr(v, "type", 0), getattr(v, "match_sub_type", False), getattr(v, "sub_type", 0))
        for v in values
    ]

    def test(flow: Flow) -> bool:
        if "event_type" not in flow:
            return False
        event = child(flow, "event_type")
        kind, sub_type = integer(event, "type"), integer(event, "sub_type")
        return any(
            want in {0, kind} and (not narrow or sub_type == narrower)
            for want, narrow, narrower in wanted
        )

    return test


def _interfaces(values: Values) -> Test:
    wanted = [(getattr(v, "index", 0), getattr(v, "name", "")) for v in values]

    def test(flow: Flow) -> bool:
        interface = child(flow, "interface")
        index, name = integer(interface, "index"), text(interface, "name")
        if "interface" not in flow:
            return False
        return any(
            (not number or number == index) and (not called or called == name)
            for number, called in wanted
        )

    return test


def _identities(side: str) -> Callable[[Values], Test]:
    def make(values: Values) -> Test:
        wanted = frozenset(values)
        return lambda flow: side in flow and integer(child(flow, side), "identity") in wanted

    return make


def _workloads(side: str) -> Callable[[Values], Test]:
    def make(values: Values) -> Test:
        wanted = [(getattr(v, "name", ""), getattr(v, "kind", "")) for v in values]

        def test(flow: Flow) -> bool:
            found = child(flow, side).get("workloads")
            return isinstance(found, list) and any(
                (not name or text(one, "name") == name) and (not kind or text(one, "kind") == kind)
                for one in found
                for name, kind in wanted
            )

        return test

    return make


def _ip_versions(values: Values) -> Test:
    wanted = frozenset(values)
    return lambda flow: child(flow, "IP").get("ipVersion", 0) in wanted


def _traces(values: Values) -> Test:
    wanted = frozenset(values)
    return lambda flow: text(child(child(flow, "trace_context"), "parent"), "trace_id") in wanted


def _nodes(values: Values) -> Test:
    fits = compile_node_names([str(value) for value in values])
    return lambda flow: fits(text(flow, "node_name"))


_MAKERS: Final[Mapping[str, Callable[[Values], Test]]] = {
    "uuid": _uuids,
    "source_ip": _addresses("source"),
    "source_ip_xlated": _addresses("source_xlated"),
    "source_pod": _named("source"),
    "source_fqdn": _fqdn("source_names"),
    "source_label": _labels("source"),
    "source_service": _named("source_service"),
    "source_workload": _workloads("source"),
    "source_cluster_name": _clusters("source"),
    "destination_ip": _addresses("destination"),
    "destination_pod": _named("destination"),
    "destination_fqdn": _fqdn("destination_names"),
    "destination_label": _labels("destination"),
    "destination_service": _named("destination_service"),
    "destination_workload": _workloads("destination"),
    "destination_cluster_name": _clusters("destination"),
    "traffic_direction": _equal("traffic_direction"),
    "verdict": _equal("verdict"),
    "drop_reason_desc": _drop_reasons,
    "interface": _interfaces,
    "event_type": _event_types,
    "http_status_code": status_code_test,
    "protocol": protocol_test,
    "source_port": port_tests(0),
    "destination_port": port_tests(1),
    "reply": _reply,
    "source_identity": _identities("source"),
    "destination_identity": _identities("destination"),
    "http_method": method_test,
    "http_header": header_test,
    "tcp_flags": tcp_flags_test,
    "node_name": _nodes,
    "node_labels": _labels(""),
    "ip_version": _ip_versions,
    "trace_id": _traces,
}
