"""Records of what the agent says: names that were looked up, endpoints that come and go."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from msgspec import UNSET

from trireme_collector.records import ContainerEvent, ContainerRecord, DNSRequestReport
from trireme_datapath.monitor._errors import MessageError
from trireme_datapath.monitor._record_parts import named_end, namespace_of
from trireme_datapath.monitor.tables.agent_events import AgentEvent

if TYPE_CHECKING:
    from trireme_collector.records import EndPoint
    from trireme_datapath.monitor.messages.access_log import EndpointInfo, LogRecordNotify
    from trireme_datapath.monitor.messages.agent import AgentNotify

__all__ = ["container_record", "dns_report"]

_EVENTS: Final[dict[int, ContainerEvent]] = {
    AgentEvent.ENDPOINT_CREATED: ContainerEvent.CREATE,
    AgentEvent.ENDPOINT_REGENERATE_SUCCESS: ContainerEvent.UPDATE,
    AgentEvent.ENDPOINT_DELETED: ContainerEvent.DELETE,
}
# RFC 1035 section 4.1.1 and RFC 2136 section 2.2.
_RESPONSE_CODES: Final = {
    1: "FORMERR",
    2: "SERVFAIL",
    3: "NXDOMAIN",
    4: "NOTIMP",
    5: "REFUSED",
    6: "YXDOMAIN",
    7: "YXRRSET",
    8: "NXRRSET",
    9: "NOTAUTH",
    10: "NOTZONE",
}
_NANOSECONDS: Final = 1_000_000_000


def dns_report(record: LogRecordNotify) -> DNSRequestReport | None:
    """Make the report of a name that was looked up.

    It is made of the response; of the request only where no response can follow because it was
    denied or failed.
    """
    dns = record.dns
    if dns is None:
        return None
    is_response = record.type == "Response"
    failed = record.verdict in {"Denied", "Error"}
    if not is_response and not (record.type == "Request" and failed):
        return None
    # Of a response, the source is the server.
    client, server = record.source_endpoint, record.destination_endpoint
    if is_response:
        client, server = server, client
    error = _RESPONSE_CODES.get(dns.rcode, f"RCODE{dns.rcode}") if dns.rcode else ""
    if failed:
        error = record.info or record.verdict.lower()
    return DNSRequestReport(
        namespace=namespace_of(client.labels),
        source=_end(client),
        name_lookup=dns.query,
        error=error,
        count=1,
        time_ns=_time_ns(record.timestamp),
        context_id=str(client.id) if client.id else UNSET,
        destination=_end(server),
        ips=dns.ips if is_response else UNSET,
    )


def container_record(notify: AgentNotify) -> ContainerRecord | None:
    """Make the record of an endpoint that was created, regenerated or deleted.

    Raises:
        MessageError: The text is not what such a notification has.
    """
    event = _EVENTS.get(notify.type)
    if event is None:
        return None
    try:
        fields = json.loads(notify.text)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"the text of an endpoint's event is no JSON: {error}") from error
    if not isinstance(fields, dict):
        raise MessageError("the text of an endpoint's event is no JSON object")
    number, labels = fields.get("id", 0), fields.get("labels") or []
    if not isinstance(number, int) or not isinstance(labels, list):
        raise MessageError("the text of an endpoint's event has fields of other types")
    tags = [str(label) for label in labels]
    tags += [f"{key}={fields[key]}" for key in ("namespace", "pod-name") if fields.get(key)]
    return ContainerRecord(context_id=str(number), tags=tuple(tags), event=event.value)


def _end(info: EndpointInfo) -> EndPoint:
    return named_end(info.ipv4 or info.ipv6, info.port, identity=info.identity, endpoint=info.id)


def _time_ns(text: str) -> int:
    """Read a time in RFC 3339 to the nanosecond; 0 when it is none."""
    head, point, rest = text.partition(".")
    digits = len(rest) - len(rest.lstrip("0123456789")) if point else 0
    try:
        moment = datetime.fromisoformat(head + rest[digits:])
    except ValueError:
        return 0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    fraction = int(rest[:digits][:9].ljust(9, "0")) if digits else 0
    return max(0, int(moment.timestamp()) * _NANOSECONDS + fraction)
