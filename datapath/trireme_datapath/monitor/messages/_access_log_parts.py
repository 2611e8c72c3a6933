"""What an access log record is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trireme_datapath.monitor._go_url import GoURL

__all__ = [
    "EndpointInfo",
    "LogRecordDNS",
    "LogRecordHTTP",
    "LogRecordKafka",
    "LogRecordL7",
]


class EndpointInfo(Struct, frozen=True, kw_only=True):
    """One side of a connection.

    Attributes:
        id: The endpoint, 0 if it is none of this node.
        ipv4: Its IPv4 address.
        ipv6: Its IPv6 address.
        port: Its port.
        identity: Its security identity.
        labels: Its labels; None when the record has none.
    """

    id: int = 0
    ipv4: str = ""
    ipv6: str = ""
    port: int = 0
    identity: int = 0
    labels: tuple[str, ...] | None = None


class LogRecordHTTP(Struct, frozen=True, kw_only=True):
    """An HTTP request, or the response to one."""

    code: int = 0
    method: str = ""
    url: GoURL | None = None
    protocol: str = ""
    headers: Mapping[str, tuple[str, ...] | None] | None = None
    missing_headers: Mapping[str, tuple[str, ...] | None] | None = None
    rejected_headers: Mapping[str, tuple[str, ...] | None] | None = None


class LogRecordKafka(Struct, frozen=True, kw_only=True):
    """A Kafka request, or the response to one."""

    error_code: int = 0
    api_version: int = 0
    api_key: str = ""
    correlation_id: int = 0
    topic: str = ""


class LogRecordDNS(Struct, frozen=True, kw_only=True):
    """A DNS query, or the response to one."""

    query: str = ""
    ips: tuple[str, ...] = ()
    ttl: int = 0
    cnames: tuple[str, ...] = ()
    observation_source: str = ""
    rcode: int = 0
    qtypes: tuple[int, ...] = ()
    answer_types: tuple[int, ...] = ()


class LogRecordL7(Struct, frozen=True, kw_only=True):
    """A request of another protocol, or the response to one."""

    proto: str = ""
    fields: Mapping[str, str] | None = None
