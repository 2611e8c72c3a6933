"""The JSON form of an access log record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from trireme_datapath.monitor._go_text import json_text
from trireme_datapath.monitor._go_url import url_form
from trireme_datapath.monitor.display import PLAIN_DISPLAY, Display
from trireme_datapath.monitor.messages._access_log_parts import (
    LogRecordDNS,  # noqa: TC001  msgspec reads the annotations at run time
    LogRecordHTTP,  # noqa: TC001
    LogRecordKafka,  # noqa: TC001
    LogRecordL7,  # noqa: TC001
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LogRecordNotifyVerbose"]


class LogRecordNotifyVerbose(Struct, frozen=True, kw_only=True):
    """The JSON form of an access log record, in the order of its keys."""

    type: str = "logRecord"
    observation_point: str
    flow_type: str
    l7_proto: str
    src_ep_id: int
    src_ep_labels: tuple[str, ...] | None
    src_identity: int
    dst_ep_id: int
    dst_ep_labels: tuple[str, ...] | None
    dst_identity: int
    verdict: str
    http: LogRecordHTTP | None = None
    kafka: LogRecordKafka | None = None
    dns: LogRecordDNS | None = None
    l7: LogRecordL7 | None = None

    def to_json(self, display: Display = PLAIN_DISPLAY) -> str:
        """Give the form as a line of JSON."""
        form: dict[str, object] = {
            "type": self.type,
            "observationPoint": self.observation_point,
            "flowType": self.flow_type,
            "l7Proto": self.l7_proto,
            "srcEpID": self.src_ep_id,
            "srcEpLabels": self.src_ep_labels,
            "srcIdentity": self.src_identity,
            "dstEpID": self.dst_ep_id,
            "dstEpLabels": self.dst_ep_labels,
            "dstIdentity": self.dst_identity,
            "verdict": self.verdict,
        }
        if self.http is not None:
            form["http"] = _http_form(self.http, omit_host=display.profile.omit_host)
        if self.kafka is not None:
            form["kafka"] = _kafka_form(self.kafka)
        if self.dns is not None:
            form["dns"] = _dns_form(self.dns)
        if self.l7 is not None:
            form["l7"] = _l7_form(self.l7)
        return json_text(form) + "\n"


def _headers_form(
    headers: Mapping[str, tuple[str, ...] | None] | None,
) -> dict[str, object] | None:
    return None if headers is None else {key: headers[key] for key in sorted(headers)}


def _http_form(http: LogRecordHTTP, *, omit_host: bool) -> dict[str, object]:
    return {
        "Code": http.code,
        "Method": http.method,
        "URL": None if http.url is None else url_form(http.url, omit_host=omit_host),
        "Protocol": http.protocol,
        "Headers": _headers_form(http.headers),
        "MissingHeaders": _headers_form(http.missing_headers),
        "RejectedHeaders": _headers_form(http.rejected_headers),
    }


def _kafka_form(kafka: LogRecordKafka) -> dict[str, object]:
    return {
        "ErrorCode": kafka.error_code,
        "APIVersion": kafka.api_version,
        "APIKey": kafka.api_key,
        "CorrelationID": kafka.correlation_id,
        "Topic": {"Topic": kafka.topic} if kafka.topic else {},
    }


def _dns_form(dns: LogRecordDNS) -> dict[str, object]:
    form: dict[str, object] = {
        "Query": dns.query,
        "IPs": ["" if ip == "<nil>" else ip for ip in dns.ips],
        "TTL": dns.ttl,
        "CNAMEs": dns.cnames,
        "ObservationSource": dns.observation_source,
        "RCode": dns.rcode,
        "QTypes": dns.qtypes,
        "AnswerTypes": dns.answer_types,
    }
    return {key: value for key, value in form.items() if value}


def _l7_form(l7: LogRecordL7) -> dict[str, object]:
    fields = None if l7.fields is None else {key: l7.fields[key] for key in sorted(l7.fields)}
    return {"Proto": l7.proto, "Fields": fields} if l7.proto else {"Fields": fields}
