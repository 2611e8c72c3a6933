"""The options of the syslog collector."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

from trireme_collector.formats import (
    EXAMPLE_ENTERPRISE_ID,
    SMALLEST_MAX_BYTES,
    Framing,
)

__all__ = ["FacilityName", "SeverityName", "SyslogOptions"]

FacilityName: TypeAlias = Literal[
    "user",
    "daemon",
    "auth",
    "syslog",
    "authpriv",
    "local0",
    "local1",
    "local2",
    "local3",
    "local4",
    "local5",
    "local6",
    "local7",
]
SeverityName: TypeAlias = Literal[
    "emergency", "alert", "critical", "error", "warning", "notice", "info", "debug"
]

_Seconds: TypeAlias = Annotated[float, msgspec.Meta(gt=0, le=300)]
_AppName: TypeAlias = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[!-~]{1,48}$",
        extra={"expected": "1 to 48 printable ASCII characters without spaces"},
    ),
]
_HostName: TypeAlias = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[!-~]{0,255}$",
        extra={"expected": "at most 255 printable ASCII characters without spaces"},
    ),
]


class SyslogOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of the collector ``syslog``.

    Attributes:
        transport: ``unix``, ``udp`` or ``tcp``.
        address: The socket, for ``unix``; a datagram socket is tried first, then a stream.
        host: The name or address of the server, for ``udp`` and ``tcp``.
        port: Its port.
        framing: How messages are told apart on streams.
        facility: The facility of every message.
        severity_accepted: The severity of accepted flows.
        severity_rejected: The severity of rejected flows and dropped packets.
        severity_observed: The severity of flows that an observed policy would have rejected.
        severity_other: The severity of all other records.
        app_name: The application in the header.
        hostname: The machine in the header; its own name by default.
        enterprise_id: The private enterprise number in the names of the elements.
        max_bytes: The longest message; longer ones are cut and marked.
        connect_timeout_seconds: How long connecting may take.
        send_timeout_seconds: How long a stalled receiver is waited for.
    """

    transport: Literal["unix", "udp", "tcp"] = "unix"
    address: Annotated[str, msgspec.Meta(min_length=1, max_length=107)] = "/dev/log"
    host: Annotated[str, msgspec.Meta(min_length=1, max_length=255)] = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 514
    framing: Framing = Framing.OCTET_COUNTING
    facility: FacilityName = "daemon"
    severity_accepted: SeverityName = "info"
    severity_rejected: SeverityName = "warning"
    severity_observed: SeverityName = "notice"
    severity_other: SeverityName = "info"
    app_name: _AppName = "trireme"
    hostname: _HostName = ""
    enterprise_id: Annotated[int, msgspec.Meta(ge=1, le=4_294_967_295)] = EXAMPLE_ENTERPRISE_ID
    max_bytes: Annotated[int, msgspec.Meta(ge=SMALLEST_MAX_BYTES, le=65_507)] = 8192
    connect_timeout_seconds: _Seconds = 5.0
    send_timeout_seconds: _Seconds = 2.0
