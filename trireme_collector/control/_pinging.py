"""What ``ping`` is asked and answers."""

from __future__ import annotations

from typing import Annotated

import msgspec

__all__ = ["PingArguments", "PingProbe", "PingResult"]


class PingArguments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The arguments of ``ping``.

    Attributes:
        destination: An address, IPv4 or IPv6.
        port: A TCP port.
        unit: The id or context of the unit in whose name it is sent; this host when empty.
        source: The address to send from; the one that the route gives when empty.
        count: How many probes.
        timeout_seconds: How long each is waited for.
    """

    destination: str
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)]
    unit: str = ""
    source: str = ""
    count: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1
    timeout_seconds: Annotated[float, msgspec.Meta(ge=0.01, le=60)] = 2.0


class PingProbe(msgspec.Struct, frozen=True, kw_only=True):
    """How one probe went.

    Attributes:
        request: Its number, from 1.
        session_id: What joins its records.
        flow_tuple: ``sourceIP:destinationIP:sourcePort:destinationPort``.
        latency_ns: How long the answer took, 0 without one.
        error: Empty when the connection was accepted; ``refused`` is an answer, too; others,
            such as ``timeout``, are none.
    """

    request: int
    session_id: str
    flow_tuple: str
    latency_ns: int
    error: str


class PingResult(msgspec.Struct, frozen=True, kw_only=True):
    """How the probes went.

    Attributes:
        unit: The id of the unit that pinged, empty when the host is none.
        probes: The probes in order.
    """

    unit: str
    probes: tuple[PingProbe, ...]
