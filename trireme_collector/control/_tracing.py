"""What ``trace`` is asked and answers."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

__all__ = ["TraceArguments", "TraceResult", "TraceRulesArguments", "TraceRulesResult"]


class TraceArguments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The arguments of ``trace``.

    Attributes:
        unit: The id or the context of a processing unit.
        direction: Which of its packets: those that arrive (``network``), those that it sends
            (``application``), both, or none: then a trace that runs ends.
        seconds: How long.
        payload_bytes: How much of each packet is told, from the IP header on.
    """

    unit: str
    direction: Literal["network", "application", "both", "none"] = "both"
    seconds: Annotated[float, msgspec.Meta(gt=0, le=3_600)] = 60.0
    payload_bytes: Annotated[int, msgspec.Meta(ge=0, le=64)] = 64


class TraceResult(msgspec.Struct, frozen=True, kw_only=True):
    """What is traced now.

    Attributes:
        context_id: The context of the unit.
        until_ns: When it ends, nanoseconds since 1970 UTC; 0 when nothing is traced.
    """

    context_id: str
    until_ns: int


class TraceRulesArguments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The arguments of ``trace_rules``; at least one of the last three narrows the flow down.

    Attributes:
        protocol: The protocol.
        source: The client's address or network, empty for any.
        destination: The server's address or network, empty for any.
        port: The server's port, 0 for any.
        seconds: How long.
    """

    protocol: Literal["tcp", "udp", "icmp", "icmpv6"] = "tcp"
    source: str = ""
    destination: str = ""
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 0
    seconds: Annotated[float, msgspec.Meta(gt=0, le=600)] = 10.0


class TraceRulesResult(msgspec.Struct, frozen=True, kw_only=True):
    """What is traced now.

    Attributes:
        until_ns: When it ends, nanoseconds since 1970 UTC.
    """

    until_ns: int
