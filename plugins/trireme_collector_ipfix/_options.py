"""The options of the IPFIX collector."""

from __future__ import annotations

import functools
from typing import Annotated, Literal, TypeAlias

import msgspec

from trireme_collector.option_addresses import check_host

__all__ = ["IpfixOptions"]

_check_host = functools.partial(check_host, protocol="IPFIX")
_Host: TypeAlias = Annotated[str, msgspec.Meta(extra={"validate": _check_host})]
_Seconds: TypeAlias = Annotated[float, msgspec.Meta(gt=0, le=300)]


class IpfixOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of the collector ``ipfix``.

    Attributes:
        transport: ``udp``, which promises nothing, or ``tcp``.
        host: The name or address of the collecting process.
        port: Its port.
        observation_domain: The number of this exporter; flows of different ones are not compared.
        template_interval_seconds: How often templates are sent again over UDP, where they may get
            lost.
        max_message_bytes: The longest message; over UDP it should fit into a packet.
        connect_timeout_seconds: How long connecting may take.
        send_timeout_seconds: How long a stalled receiver is waited for.
    """

    host: _Host
    transport: Literal["udp", "tcp"] = "udp"
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 4739
    observation_domain: Annotated[int, msgspec.Meta(ge=0, le=4_294_967_295)] = 1
    template_interval_seconds: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = 60.0
    max_message_bytes: Annotated[int, msgspec.Meta(ge=512, le=65_535)] = 1400
    connect_timeout_seconds: _Seconds = 5.0
    send_timeout_seconds: _Seconds = 10.0

    def __post_init__(self) -> None:
        """Check the host again, for those who build their options without a file.

        Raises:
            ValueError: It will not do.
        """
        _check_host(self.host)
