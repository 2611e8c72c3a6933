"""Which flows are wanted: lists of filters with the fields of Hubble's ``FlowFilter``.

All fields of a filter must fit, one of the values of a field, and one of the filters of a list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from trireme_datapath.monitor.tables.message_types import MessageType
from trireme_datapath.observer._filter_values import FilterError, value_tests
from trireme_datapath.observer._schemas import observer_schema
from trireme_datapath.observer.json_form import FLOW_FILTER, read_message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Flow: TypeAlias = Mapping[str, object]
    Test: TypeAlias = Callable[[Flow], bool]

__all__ = [
    "EventTypeFilter",
    "FilterError",
    "FlowFilter",
    "InterfaceFilter",
    "compile_filters",
    "filter_fields",
    "read_filter",
]


class EventTypeFilter(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """A type of events; see ``event_type`` of flows."""

    type: int = 0
    match_sub_type: bool = False
    sub_type: int = 0


class InterfaceFilter(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """An interface, by number or name, or both."""

    index: int = 0
    name: str = ""


class _Workload(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    name: str = ""
    kind: str = ""


class _Header(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    key: str = ""
    value: str = ""


class FlowFilter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A filter. An empty field lets everything pass; enumerations are written by name.

    Attributes:
        uuid: The flow's own identification.
        source_ip: Addresses or networks.
        source_ip_xlated: The same, after translation.
        source_pod: ``[NAMESPACE/][PREFIX]`` of a pod or processing unit.
        source_fqdn: Names, with ``*``.
        source_label: Selectors of labels.
        source_service: ``[NAMESPACE/][PREFIX]`` of a service.
        source_workload: Workloads.
        source_cluster_name: Clusters, with ``*``.
        destination_ip: As for the source, and so are the following.
        destination_pod: See above.
        destination_fqdn: See above.
        destination_label: See above.
        destination_service: See above.
        destination_workload: See above.
        destination_cluster_name: See above.
        traffic_direction: ``INGRESS`` or ``EGRESS``.
        verdict: ``FORWARDED``, ``DROPPED``, ``AUDIT`` and so on.
        drop_reason_desc: ``POLICY_DENIED`` and so on.
        interface: Interfaces.
        event_type: Types of events.
        http_status_code: ``404``, or ``4+`` for all that begin so.
        protocol: ``tcp``, ``udp``, ``sctp``, ``icmp``, ``icmpv4``, ``icmpv6``, ``dns``, ``http``
            or ``kafka``.
        source_port: Ports, as texts.
        destination_port: Ports, as texts.
        reply: Whether it answers.
        source_identity: Numbers of identities.
        destination_identity: Numbers of identities.
        http_method: Methods of requests.
        http_header: Headers of requests.
        tcp_flags: Sets of flags, all of which must be there.
        node_name: ``[CLUSTER/][NODE]`` with ``*``.
        node_labels: Selectors of labels.
        ip_version: ``IPv4``, ``IPv6`` or 0 for what is no IP.
        trace_id: Numbers of traces.
    """

    uuid: tuple[str, ...] = ()
    source_ip: tuple[str, ...] = ()
    source_ip_xlated: tuple[str, ...] = ()
    source_pod: tuple[str, ...] = ()
    source_fqdn: tuple[str, ...] = ()
    source_label: tuple[str, ...] = ()
    source_service: tuple[str, ...] = ()
    source_workload: tuple[_Workload, ...] = ()
    source_cluster_name: tuple[str, ...] = ()
    destination_ip: tuple[str, ...] = ()
    destination_pod: tuple[str, ...] = ()
    destination_fqdn: tuple[str, ...] = ()
    destination_label: tuple[str, ...] = ()
    destination_service: tuple[str, ...] = ()
    destination_workload: tuple[_Workload, ...] = ()
    destination_cluster_name: tuple[str, ...] = ()
    traffic_direction: tuple[str | int, ...] = ()
    verdict: tuple[str | int, ...] = ()
    drop_reason_desc: tuple[str | int, ...] = ()
    interface: tuple[InterfaceFilter, ...] = ()
    event_type: tuple[EventTypeFilter, ...] = ()
    http_status_code: tuple[str, ...] = ()
    protocol: tuple[str, ...] = ()
    source_port: tuple[str, ...] = ()
    destination_port: tuple[str, ...] = ()
    reply: tuple[bool, ...] = ()
    source_identity: tuple[int, ...] = ()
    destination_identity: tuple[int, ...] = ()
    http_method: tuple[str, ...] = ()
    http_header: tuple[_Header, ...] = ()
    tcp_flags: tuple[dict[str, bool], ...] = ()
    node_name: tuple[str, ...] = ()
    node_labels: tuple[str, ...] = ()
    ip_version: tuple[str | int, ...] = ()
    trace_id: tuple[str, ...] = ()


# Expressions of others: Python's would let one of them keep a processor busy for ever.
_REFUSED: Final = ("dns_query", "http_path", "http_url", "experimental")
_OF_HTTP: Final = {
    "http_status_code": "http status code",
    "http_method": "http method",
    "http_header": "http headers",
}
_FIELDS: Final = tuple(field.name for field in msgspec.structs.fields(FlowFilter))


def read_filter(value: object) -> FlowFilter:
    """Read a filter from what JSON gave.

    Raises:
        FilterError: It is none, or it has a field that cannot be honoured.
    """
    if isinstance(value, dict):
        known = observer_schema().messages[FLOW_FILTER].fields
        unknown = [name for name in value if name not in known]
        if unknown:
            raise FilterError(f"a filter has no field {unknown[0]!r}")
    try:
        fields = read_message(FLOW_FILTER, value)
    except ValueError as error:
        raise FilterError(f"invalid filter: {error}") from error
    for name in _REFUSED:
        if fields.get(name):
            raise FilterError(f"filters by {name} are not supported")
    return msgspec.convert(fields, FlowFilter)


def filter_fields(wanted: FlowFilter) -> dict[str, object]:
    """Give a filter in its JSON form."""
    fields: dict[str, object] = msgspec.json.decode(msgspec.json.encode(wanted))
    return fields


def compile_filters(allow: Iterable[FlowFilter], deny: Iterable[FlowFilter] = ()) -> Test | None:
    """Make a test of lists of filters.

    Args:
        allow: One of them must fit, if there are any.
        deny: None of them may fit.

    Returns:
        The test, or None if everything passes.

    Raises:
        FilterError: A value cannot be used; the message says which.
    """
    allowed = [_compile(one) for one in allow]
    denied = [_compile(one) for one in deny]
    if not denied:
        if not allowed:
            return None
        if len(allowed) == 1:
            return allowed[0]

    def test(flow: Flow) -> bool:
        if allowed and not any(one(flow) for one in allowed):
            return False
        return not any(one(flow) for one in denied)

    return test


def _compile(wanted: FlowFilter) -> Test:
    _check_layers(wanted)
    tests: list[Test] = []
    for name in _FIELDS:
        values = getattr(wanted, name)
        if values:
            tests.append(value_tests(name, values))
    if len(tests) == 1:
        return tests[0]
    return lambda flow: all(test(flow) for test in tests)


def _check_layers(wanted: FlowFilter) -> None:
    """Refuse what nothing can fit, for who asks for it would wait in vain."""
    kinds = [one.type for one in wanted.event_type]
    if not kinds or MessageType.ACCESS_LOG in kinds:
        return
    for name, what in _OF_HTTP.items():
        if getattr(wanted, name):
            raise FilterError(
                f"filtering by {what} requires the event type filter to only match 'l7' events"
            )
