"""Access log records: a request or response of layer 7 that a proxy of the agent saw."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from trireme_datapath.monitor._errors import MessageError
from trireme_datapath.monitor._go_text import ip_text
from trireme_datapath.monitor._go_url import URLError, parse_url, url_text
from trireme_datapath.monitor.display import PLAIN_DISPLAY, Display, Level
from trireme_datapath.monitor.gob import (
    GobError,
    bytes_field,
    list_field,
    number_field,
    struct_field,
    text_field,
    texts_field,
)
from trireme_datapath.monitor.messages._access_log_json import LogRecordNotifyVerbose
from trireme_datapath.monitor.messages._access_log_parts import (
    EndpointInfo,
    LogRecordDNS,
    LogRecordHTTP,
    LogRecordKafka,
    LogRecordL7,
)
from trireme_datapath.monitor.messages._inner_stream import read_struct

if TYPE_CHECKING:
    from trireme_datapath.monitor.gob import GobStruct, GobValue

__all__ = [
    "EndpointInfo",
    "LogRecordDNS",
    "LogRecordHTTP",
    "LogRecordKafka",
    "LogRecordL7",
    "LogRecordNotify",
    "LogRecordNotifyVerbose",
    "decode_log_record_notify",
    "log_record_notify_to_verbose",
]

_DIRECTIONS = {"Ingress": "<-", "Egress": "->"}


class LogRecordNotify(Struct, frozen=True, kw_only=True):
    """A request or response of layer 7.

    Attributes:
        type: Request, Response or Sample.
        timestamp: When, in RFC 3339.
        observation_point: Ingress or Egress.
        source_endpoint: Who sent the request.
        destination_endpoint: Whom the request was sent to.
        ip_version: 0 for IPv4, 1 for IPv6.
        verdict: Forwarded, Denied, Error or Redirected.
        info: More about it.
        transport_protocol: The IP protocol.
        drop_reason: Why it was dropped, if it was.
        http: The HTTP part.
        kafka: The Kafka part.
        dns: The DNS part.
        l7: The part of another protocol.
    """

    type: str = ""
    timestamp: str = ""
    observation_point: str = ""
    source_endpoint: EndpointInfo = EndpointInfo()
    destination_endpoint: EndpointInfo = EndpointInfo()
    ip_version: int = 0
    verdict: str = ""
    info: str = ""
    transport_protocol: int = 0
    drop_reason: int | None = None
    http: LogRecordHTTP | None = None
    kafka: LogRecordKafka | None = None
    dns: LogRecordDNS | None = None
    l7: LogRecordL7 | None = None

    def endpoints(self) -> tuple[int, int]:
        """Give the endpoints that filters compare."""
        return self.source_endpoint.id & 0xFFFF, self.destination_endpoint.id & 0xFFFF

    def show(self, level: Level, data: bytes, prefix: str, display: Display) -> str:
        """Give the form of a level."""
        del data, prefix
        return self.dump_json(display) if level is Level.JSON else self.dump_info(display)

    def l7_proto(self) -> str:
        """Name the protocol."""
        if self.http is not None:
            return "http"
        if self.kafka is not None:
            return "kafka"
        if self.dns is not None:
            return "dns"
        return "unknown-l7" if self.l7 is None else self.l7.proto

    def direction(self) -> str:
        """Give the arrow of the direction."""
        return _DIRECTIONS.get(self.observation_point, "??")

    def dump_info(self, display: Display = PLAIN_DISPLAY) -> str:
        """Give the line, which has no end if the record has no part of a protocol."""
        connection, parts = self._connection(display), self._parts(display)
        if not display.fixed:
            return connection + "".join(f"{part}\n" for part in parts)
        lines = [connection + "".join(parts[:1]), *parts[1:]]
        return "".join(f"{display.outside(line)}\n" for line in lines)

    def dump_json(self, display: Display = PLAIN_DISPLAY) -> str:
        """Give the JSON form, a line.

        The original's encoder knows addresses of 4 and 16 bytes only: with any other there is no
        line, unless the output is fixed.
        """
        if not display.fixed and self.dns is not None and any(map(_is_odd, self.dns.ips)):
            return ""
        return log_record_notify_to_verbose(self, display).to_json(display)

    def _connection(self, display: Display) -> str:
        source, destination = map(_side_text, (self.source_endpoint, self.destination_endpoint))
        if self.type == "Request":
            sides = f"from {source} to {destination}"
        elif self.type != "Response":
            return ""
        elif display.profile.response_to_destination:
            sides = f"to {destination} from {source}"
        else:
            sides = f"to {source} from {destination}"
        return (
            f"{self.direction()} {self.type} {self.l7_proto()} {sides}, identity "
            f"{self.source_endpoint.identity}->{self.destination_endpoint.identity}, "
            f"verdict {self.verdict}"
        )

    def _parts(self, display: Display) -> list[str]:
        parts = []
        if self.http is not None:
            url = "" if self.http.url is None else url_text(self.http.url)
            parts.append(f" {self.http.method} {url} => {self.http.code}")
        if self.kafka is not None:
            kafka = self.kafka
            parts.append(f" {kafka.api_key} topic {kafka.topic} => {kafka.error_code}")
        if self.dns is not None:
            parts.append(self._dns_text(self.dns, display))
        if self.l7 is not None:
            parts.append(_l7_text(self.l7))
        return parts

    def _dns_text(self, dns: LogRecordDNS, display: Display) -> str:
        if self.type not in {"Request", "Response"}:
            return ""
        is_response = self.type == "Response"
        if display.profile.observation_source:
            observed = dns.observation_source
        else:
            from_proxy = is_response and dns.observation_source == "proxy"
            observed = "Proxy" if from_proxy else "Query"
        types = ",".join(display.profile.dns_types.get(number, "") for number in dns.qtypes)
        text = f" DNS {observed}: {dns.query} {types}"
        if not is_response:
            return text
        text += f" TTL: {dns.ttl} Answer: '{','.join(dns.ips)}'"
        return f"{text} CNAMEs: {','.join(dns.cnames)}" if dns.cnames else text


def _is_odd(address: str) -> bool:
    return address.startswith("?")


def _side_text(side: EndpointInfo) -> str:
    return f"{side.id} ([{' '.join(side.labels or ())}])"


def _l7_text(l7: LogRecordL7) -> str:
    fields = l7.fields or {}
    text = "".join(f" {key}:{value}" for key, value in fields.items() if key != "status")
    status = fields.get("status")
    return f"{text} => status:{status}" if status else text


def log_record_notify_to_verbose(
    record: LogRecordNotify, display: Display = PLAIN_DISPLAY
) -> LogRecordNotifyVerbose:
    """Make the JSON form."""
    source, destination = record.source_endpoint, record.destination_endpoint
    none = () if display.profile.structured_labels else None
    return LogRecordNotifyVerbose(
        observation_point=record.observation_point,
        flow_type=record.type,
        l7_proto=record.l7_proto(),
        src_ep_id=source.id,
        src_ep_labels=none if source.labels is None else source.labels,
        src_identity=source.identity,
        dst_ep_id=destination.id,
        dst_ep_labels=none if destination.labels is None else destination.labels,
        dst_identity=destination.identity,
        verdict=record.verdict,
        http=record.http,
        kafka=record.kafka,
        dns=record.dns,
        l7=record.l7,
    )


def decode_log_record_notify(data: bytes) -> LogRecordNotify:
    """Read an access log record: the byte of its type and a gob stream.

    The stream holds the record, or a struct whose only field it is.

    Raises:
        MessageError: The stream does not hold one.
    """
    value = read_struct(data)
    try:
        return _record(struct_field(value, "LogRecord") or value)
    except (GobError, URLError) as error:
        raise MessageError(str(error)) from error


def _record(record: GobStruct) -> LogRecordNotify:
    http, kafka = struct_field(record, "HTTP"), struct_field(record, "Kafka")
    dns, l7 = struct_field(record, "DNS"), struct_field(record, "L7")
    return LogRecordNotify(
        type=text_field(record, "Type"),
        timestamp=text_field(record, "Timestamp"),
        observation_point=text_field(record, "ObservationPoint"),
        source_endpoint=_endpoint(struct_field(record, "SourceEndpoint") or {}),
        destination_endpoint=_endpoint(struct_field(record, "DestinationEndpoint") or {}),
        ip_version=number_field(record, "IPVersion"),
        verdict=text_field(record, "Verdict"),
        info=text_field(record, "Info"),
        transport_protocol=number_field(record, "TransportProtocol"),
        drop_reason=number_field(record, "DropReason") if "DropReason" in record else None,
        http=None if http is None else _http(http),
        kafka=None if kafka is None else _kafka(kafka),
        dns=None if dns is None else _dns(dns),
        l7=None if l7 is None else _l7(l7),
    )


def _endpoint(side: GobStruct) -> EndpointInfo:
    return EndpointInfo(
        id=number_field(side, "ID"),
        ipv4=text_field(side, "IPv4"),
        ipv6=text_field(side, "IPv6"),
        port=number_field(side, "Port"),
        identity=number_field(side, "Identity"),
        labels=_labels(list_field(side, "Labels")) if "Labels" in side else None,
    )


def _labels(labels: list[GobValue]) -> tuple[str, ...]:
    """Write labels as one text each; 1.9 sends them as texts, 1.16 in parts."""
    texts = []
    for label in labels:
        if isinstance(label, dict):
            key, value = text_field(label, "Key"), text_field(label, "Value")
            text = f"{text_field(label, 'Source')}:{key}"
            texts.append(f"{text}={value}" if value else text)
        elif isinstance(label, str):
            texts.append(label)
        else:
            raise GobError(f"gob: a label is of type {type(label).__name__}, expected a text")
    return tuple(texts)


def _http(http: GobStruct) -> LogRecordHTTP:
    return LogRecordHTTP(
        code=number_field(http, "Code"),
        method=text_field(http, "Method"),
        url=parse_url(bytes_field(http, "URL")) if "URL" in http else None,
        protocol=text_field(http, "Protocol"),
        headers=_headers(http, "Headers"),
        missing_headers=_headers(http, "MissingHeaders"),
        rejected_headers=_headers(http, "RejectedHeaders"),
    )


def _headers(http: GobStruct, name: str) -> dict[str, tuple[str, ...] | None] | None:
    headers = struct_field(http, name)
    if headers is None:
        return None
    # An empty list arrives as none.
    return {str(key): tuple(texts_field(headers, str(key))) or None for key in headers}


def _kafka(kafka: GobStruct) -> LogRecordKafka:
    return LogRecordKafka(
        error_code=number_field(kafka, "ErrorCode"),
        api_version=number_field(kafka, "APIVersion"),
        api_key=text_field(kafka, "APIKey"),
        correlation_id=number_field(kafka, "CorrelationID"),
        topic=text_field(struct_field(kafka, "Topic") or {}, "Topic"),
    )


def _dns(dns: GobStruct) -> LogRecordDNS:
    return LogRecordDNS(
        query=text_field(dns, "Query"),
        ips=tuple(ip_text(ip) for ip in list_field(dns, "IPs") if isinstance(ip, bytes)),
        ttl=number_field(dns, "TTL"),
        cnames=tuple(texts_field(dns, "CNAMEs")),
        observation_source=text_field(dns, "ObservationSource"),
        rcode=number_field(dns, "RCode"),
        qtypes=_numbers(dns, "QTypes"),
        answer_types=_numbers(dns, "AnswerTypes"),
    )


def _numbers(dns: GobStruct, name: str) -> tuple[int, ...]:
    return tuple(number for number in list_field(dns, name) if isinstance(number, int))


def _l7(l7: GobStruct) -> LogRecordL7:
    fields = struct_field(l7, "Fields")
    return LogRecordL7(
        proto=text_field(l7, "Proto"),
        fields=None if fields is None else {str(k): text_field(fields, str(k)) for k in fields},
    )
