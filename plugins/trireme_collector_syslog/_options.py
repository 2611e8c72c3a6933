"""The options of the syslog collector."""

from __future__ import annotations

import functools
from typing import Annotated, Literal, TypeAlias

import msgspec

from trireme_collector import option_files  # noqa: TC001  msgspec reads the annotations
from trireme_collector.client_tls import check_client_key
from trireme_collector.formats import (
    EXAMPLE_ENTERPRISE_ID,
    SMALLEST_MAX_BYTES,
    Framing,
)
from trireme_collector.option_addresses import check_host

__all__ = ["FacilityName", "SeverityName", "SyslogOptions", "Transport"]

Transport: TypeAlias = Literal["unix", "udp", "tcp", "tls", "relp", "relp+tls"]

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
        pattern=r"^[!-~]{1,48}$(?!\n)",
        extra={"expected": "1 to 48 printable ASCII characters without spaces"},
    ),
]
_HostName: TypeAlias = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[!-~]{0,255}$(?!\n)",
        extra={"expected": "at most 255 printable ASCII characters without spaces"},
    ),
]
_ServerName: TypeAlias = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^([A-Za-z0-9.:_-]{1,253})?$(?!\n)",
        extra={"expected": "the name of a host, or an address"},
    ),
]


# RFC 5425 section 4.1 and RFC 3164 section 2 name ports; RELP has none of its own, and its
# servers' documentation uses this one.
_PORTS = {"unix": 0, "udp": 514, "tcp": 514, "tls": 6514, "relp": 2514, "relp+tls": 2514}
_TLS_ONLY = ("ca_file", "client_certificate_file", "client_key_file", "server_name")

_Address: TypeAlias = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[^\x00-\x1f\x7f]{1,107}$(?!\n)",
        extra={"expected": "the path of a socket, 1 to 107 characters"},
    ),
]
_Host: TypeAlias = Annotated[
    str, msgspec.Meta(extra={"validate": functools.partial(check_host, protocol="syslog")})
]
_ADDRESS = "/dev/log"
_HOST = "127.0.0.1"


class SyslogOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of the collector ``syslog``.

    Attributes:
        transport: ``unix``, ``udp``, ``tcp``, ``tls`` (RFC 5425), ``relp`` or ``relp+tls``.
        address: The socket, for ``unix``; a datagram socket is tried first, then a stream.
        host: The name or address of the server, for all but ``unix``.
        port: Its port; by default 514 for ``udp`` and ``tcp``, 6514 for ``tls``, 2514 for RELP.
        format: ``rfc5424``, or ``rfc3164`` for local daemons and old receivers.
        framing: How messages are told apart on streams; TLS has octet counting only.
        facility: The facility of every message.
        severity_accepted: The severity of accepted flows.
        severity_rejected: The severity of rejected flows and dropped packets.
        severity_observed: The severity of flows that an observed policy would have rejected.
        severity_other: The severity of all other records.
        app_name: The application in the header.
        hostname: The machine in the header; its own name by default. With ``rfc3164`` on a unix
            socket it is left out unless it is set, as daemons expect there.
        enterprise_id: The private enterprise number in the names of the elements.
        max_bytes: The longest message; longer ones are cut and marked.
        connect_timeout_seconds: How long connecting may take.
        send_timeout_seconds: How long a stalled receiver is waited for.
        resend_window_bytes: How much of what was sent last on a stream is kept in memory, to send
            it again after a broken connection; 0 for nothing.
        resend_window_seconds: How long it is kept at most; 0 for no limit.
        relp_window: How many messages may wait for their acknowledgement, for RELP.
        ca_file: The authorities to trust, in PEM form, instead of the system's.
        client_certificate_file: The certificate to show to the server, in PEM form.
        client_key_file: Its key without a password, if that is not in the same file.
        server_name: The name in the server's certificate, if it is not `host`.
        tls_minimum: The oldest version of TLS to speak.
        verify: Whether the server's certificate and name are checked. Turning this off is
            announced at each start.
        settle_seconds: How long the first batch of a TLS connection waits for a refusal before
            it counts as delivered.
    """

    transport: Transport = "unix"
    address: _Address = _ADDRESS
    host: _Host = _HOST
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)] | None = None
    format: Literal["rfc5424", "rfc3164"] = "rfc5424"
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
    resend_window_bytes: Annotated[int, msgspec.Meta(ge=0, le=1_073_741_824)] = 8_388_608
    resend_window_seconds: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 0.0
    relp_window: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 128
    ca_file: option_files.AuthorityFile = ""
    client_certificate_file: option_files.CertificateFile = ""
    client_key_file: option_files.KeyFile = ""
    server_name: _ServerName = ""
    tls_minimum: Literal["1.2", "1.3"] = "1.2"
    verify: bool = True
    settle_seconds: Annotated[float, msgspec.Meta(ge=0, le=30)] = 0.9

    @property
    def has_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.transport in {"tls", "relp+tls"}

    @property
    def server_port(self) -> int:
        """The port, that of the transport when none was given."""
        return self.port or _PORTS[self.transport]

    def __post_init__(self) -> None:
        """Refuse options that exclude each other.

        Raises:
            ValueError: They do.
        """
        if self.transport == "unix" and (self.host != _HOST or self.port is not None):
            given_name = "host" if self.host != _HOST else "port"
            msg = f'transport "udp", "tcp", "tls" or "relp" beside {given_name}'
            raise ValueError(msg)
        if self.transport != "unix" and self.address != _ADDRESS:
            raise ValueError('transport "unix" beside address; the others have host and port')
        check_client_key(self.client_certificate_file, self.client_key_file)
        if not self.has_tls:
            given = [name for name in _TLS_ONLY if getattr(self, name)]
            if not self.verify:
                given.append("verify")
            if given:
                msg = f'transport "tls" or "relp+tls": {given[0]} means nothing without TLS'
                raise ValueError(msg)
        if self.framing is Framing.LF and self.transport not in {"unix", "tcp"}:
            msg = f'framing "octet-counting", which is the only one of transport "{self.transport}"'
            raise ValueError(msg)
