"""The flows of access logs: requests and responses of layer 7."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from trireme_datapath.monitor._errors import MessageError
from trireme_datapath.monitor._go_text import quoted
from trireme_datapath.monitor._go_url import url_text
from trireme_datapath.monitor._hubble_layers import without_defaults
from trireme_datapath.monitor.tables.message_types import MessageType

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trireme_datapath.monitor._go_url import GoURL
    from trireme_datapath.monitor.messages.access_log import (
        EndpointInfo,
        LogRecordDNS,
        LogRecordHTTP,
        LogRecordKafka,
        LogRecordNotify,
    )

__all__ = ["access_log_flow"]

_VERDICTS = {
    "Forwarded": "FORWARDED",
    "Denied": "DROPPED",
    "Error": "ERROR",
    "Redirected": "REDIRECTED",
}
_DIRECTIONS = {"Ingress": "INGRESS", "Egress": "EGRESS"}
_TYPES = {"Request": "REQUEST", "Response": "RESPONSE", "Sample": "SAMPLE"}
_TRANSPORTS = {6: "TCP", 17: "UDP", 132: "SCTP"}
_IPV4, _IPV6 = 0, 1
# What gopacket calls the types and response codes of DNS, which is not what the monitor does.
_DNS_TYPES = {
    1: "A",
    2: "NS",
    3: "MD",
    4: "MF",
    5: "CNAME",
    6: "SOA",
    7: "MB",
    8: "MG",
    9: "MR",
    10: "NULL",
    11: "WKS",
    12: "PTR",
    13: "HINFO",
    14: "MINFO",
    15: "MX",
    16: "TXT",
    28: "AAAA",
    33: "SRV",
    41: "OPT",
    256: "URI",
}
_DNS_RESPONSE_CODES = {
    1: "Format Error",
    2: "Server Failure ",
    3: "Non-Existent Domain",
    4: "Not Implemented",
    5: "Query Refused",
    6: "Name Exists when it should not",
    7: "RR Set Exists when it should not",
    8: "RR Set that should exist does not",
    9: "Server Not Authoritative for zone",
    10: "Name not contained in zone",
    16: "Bad OPT Version",
    17: "Key not recognized",
    18: "Signature out of time window",
    19: "Bad TKEY Mode",
    20: "Duplicate key name",
    21: "Algorithm not supported",
    22: "Bad Truncation",
    23: "Bad Cookie",
}
_TRACE_PARENT = re.compile(
    "([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-(.*))?", re.DOTALL
)
_KNOWN_TRACE_FLAGS = 2
_SECOND = "%Y-%m-%dT%H:%M:%S"
_SECOND_LENGTH = len("2006-01-02T15:04:05")
_ZONE_LENGTH = len("+00:00")
_UINT8 = 0xFF
_UINT32 = 0xFFFFFFFF


def access_log_flow(record: LogRecordNotify) -> dict[str, object]:
    """Make the flow of a request or response.

    Raises:
        MessageError: Its time is none.
    """
    is_reply = record.type == "Response"
    flow: dict[str, object] = {
        "time": _timestamp(record.timestamp),
        **without_defaults(
            verdict=_VERDICTS.get(record.verdict, ""), IP=_ip(record), l4=_transport(record)
        ),
        "source": _endpoint(record.source_endpoint),
        "destination": _endpoint(record.destination_endpoint),
        "Type": "L7",
        "l7": _layer7(record),
        "is_reply": is_reply,
        "event_type": {"type": int(MessageType.ACCESS_LOG)},
        **without_defaults(
            reply=is_reply,
            traffic_direction=_DIRECTIONS.get(record.observation_point, ""),
            trace_context=_trace_context(record),
            Summary=_summary(record),
        ),
    }
    return flow


def _timestamp(text: str) -> str:
    """Take a time of RFC 3339 and give it as protobuf does: in UTC, with 0, 3, 6 or 9 digits."""
    second, rest = text[:_SECOND_LENGTH], text[_SECOND_LENGTH:]
    zone = "Z" if rest.endswith("Z") else rest[-_ZONE_LENGTH:]
    fraction = rest[: len(rest) - len(zone)]
    digits = fraction[1:]
    try:
        moment = datetime.strptime(second, _SECOND)  # noqa: DTZ007  the zone is read below
        if moment.strftime(_SECOND).zfill(_SECOND_LENGTH) != second:
            raise ValueError(second)
        if fraction and not (fraction[0] in ".," and digits.isascii() and digits.isdigit()):
            raise ValueError(fraction)
        moment -= _offset(zone)
    except (ValueError, OverflowError) as error:
        raise MessageError(f"parsing time {quoted(text)}") from error
    digits = digits[:9].rstrip("0")
    digits = digits.ljust(-(-len(digits) // 3) * 3, "0")
    return moment.isoformat() + (f".{digits}" if digits else "") + "Z"


def _offset(zone: str) -> timedelta:
    if zone == "Z":
        return timedelta()
    hours, colon, minutes = zone[1:].partition(":")
    sign = {"+": 1, "-": -1}.get(zone[:1])
    if sign is None or not colon or len(zone) != _ZONE_LENGTH:
        raise ValueError(zone)
    if not (hours.isascii() and hours.isdigit() and minutes.isascii() and minutes.isdigit()):
        raise ValueError(zone)
    if int(hours) > 24 or int(minutes) > 60:
        raise ValueError(zone)
    return sign * timedelta(hours=int(hours), minutes=int(minutes))


def _ip(record: LogRecordNotify) -> dict[str, object]:
    source, destination = record.source_endpoint, record.destination_endpoint
    if record.ip_version == _IPV4:
        addresses = (source.ipv4, destination.ipv4, "IPv4")
    elif record.ip_version == _IPV6:
        addresses = (source.ipv6, destination.ipv6, "IPv6")
    else:
        return {}
    return without_defaults(source=addresses[0], destination=addresses[1], ipVersion=addresses[2])


def _transport(record: LogRecordNotify) -> dict[str, object]:
    protocol = _TRANSPORTS.get(record.transport_protocol & _UINT8)
    if protocol is None:
        return {}
    ports = without_defaults(
        source_port=record.source_endpoint.port,
        destination_port=record.destination_endpoint.port,
    )
    return {protocol: ports}


def _endpoint(side: EndpointInfo) -> dict[str, object]:
    return without_defaults(
        ID=side.id & _UINT32,
        identity=side.identity & _UINT32,
        labels=sorted(side.labels or ()),
    )


def _layer7(record: LogRecordNotify) -> dict[str, object]:
    is_request = record.type == "Request"
    layer = without_defaults(type=_TYPES.get(record.type, ""))
    if record.dns is not None:
        layer["dns"] = _dns(record.dns, is_request=is_request)
    elif record.http is not None:
        layer["http"] = _http(record.http, is_request=is_request)
    elif record.kafka is not None:
        layer["kafka"] = _kafka(record.kafka, is_request=is_request)
    return layer


def _type_names(types: Iterable[int]) -> list[str]:
    return [_DNS_TYPES.get(number, "Unknown") for number in types]


def _dns(dns: LogRecordDNS, *, is_request: bool) -> dict[str, object]:
    fields = without_defaults(
        query=dns.query,
        observation_source=dns.observation_source,
        qtypes=_type_names(dns.qtypes),
    )
    if not is_request:
        fields |= without_defaults(
            ips=list(dns.ips),
            ttl=dns.ttl,
            cnames=list(dns.cnames),
            rcode=dns.rcode & _UINT32,
            rrtypes=_type_names(dns.answer_types),
        )
    return fields


def _url(url: GoURL | None) -> str:
    """Write a URL; a password stays out of it."""
    if url is None:
        return ""
    name, colon, _ = (url.user or "").partition(":")
    if colon:
        url = msgspec.structs.replace(url, user=f"{name}:HUBBLE_REDACTED")
    return url_text(url)


def _http(http: LogRecordHTTP, *, is_request: bool) -> dict[str, object]:
    headers = http.headers or {}
    return without_defaults(
        code=0 if is_request else http.code & _UINT32,
        method=http.method,
        url=_url(http.url),
        protocol=http.protocol,
        headers=[
            without_defaults(key=name, value=value)
            for name in sorted(headers)
            for value in headers[name] or ()
        ],
    )


def _trace_context(record: LogRecordNotify) -> dict[str, object]:
    """Give the trace that a request is a part of, as W3C's header for it names it."""
    if record.type != "Request" or record.http is None:
        return {}
    values = (record.http.headers or {}).get("Traceparent")
    found = _TRACE_PARENT.fullmatch(values[0]) if values else None
    if found is None:
        return {}
    version, trace, span, flags, more = found.groups()
    if version == "ff" or not trace.strip("0") or not span.strip("0"):
        return {}
    if version == "00" and (more or int(flags, 16) > _KNOWN_TRACE_FLAGS):
        return {}
    return {"parent": {"trace_id": trace}}


def _kafka(kafka: LogRecordKafka, *, is_request: bool) -> dict[str, object]:
    return without_defaults(
        error_code=0 if is_request else kafka.error_code,
        api_version=kafka.api_version,
        api_key=kafka.api_key,
        correlation_id=kafka.correlation_id,
        topic=kafka.topic,
    )


def _summary(record: LogRecordNotify) -> str:
    if record.http is not None:
        return _http_summary(record.type, record.http)
    if record.kafka is not None:
        # Of a record with both, the flow holds the DNS part.
        return "" if record.dns is not None else _kafka_summary(record.type, record.kafka)
    if record.dns is not None:
        return _dns_summary(record.type, record.dns)
    if record.l7 is not None:
        fields = record.l7.fields or {}
        listed = " ".join(f"{name}:{fields[name]}" for name in sorted(fields))
        return f"{record.l7.proto} Fields: map[{listed}]"
    return ""


def _http_summary(kind: str, http: LogRecordHTTP) -> str:
    request = f"{http.method} {_url(http.url)}"
    if kind == "Request":
        return f"{http.protocol} {request}"
    # How long it took is only known to who has seen the request.
    return f"{http.protocol} {http.code} 0ms ({request})" if kind == "Response" else ""


def _kafka_summary(kind: str, kafka: LogRecordKafka) -> str:
    what = "request" if kind == "Request" else "response"
    text = (
        f"Kafka {what} {kafka.api_key} correlation id {kafka.correlation_id} topic '{kafka.topic}'"
    )
    return text if kind == "Request" else f"{text} return code {kafka.error_code}"


def _dns_summary(kind: str, dns: LogRecordDNS) -> str:
    types = ",".join(_type_names(dns.qtypes))
    if kind == "Request":
        return f"DNS Query {dns.query} {types}"
    if kind != "Response":
        return ""
    if rcode := dns.rcode & _UINT8:
        answer = f"RCode: {_DNS_RESPONSE_CODES.get(rcode, 'Unknown')}"
    else:
        parts = [quoted(",".join(dns.ips))] if dns.ips else []
        if dns.cnames:
            parts.append(f"CNAMEs: {quoted(','.join(dns.cnames))}")
        answer = " ".join(parts)
    source = "Proxy" if dns.observation_source == "proxy" else "Query"
    return f"DNS Answer {answer} TTL: {dns.ttl} ({source} {dns.query} {types})"
