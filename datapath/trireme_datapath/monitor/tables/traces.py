"""Where the datapath saw a packet, and why it let it pass."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "OBSERVATION_POINTS",
    "TRACE_REASONS",
    "TRACE_REASONS_1_9",
    "TRACE_REASON_ENCRYPT_MASK",
    "TRACE_SUMMARIES",
    "TracePoint",
    "TraceReason",
    "trace_observation_point",
    "trace_observation_point_has_conn_state",
]


class TracePoint(IntEnum):
    """Where a packet was seen."""

    TO_LXC = 0
    TO_PROXY = 1
    TO_HOST = 2
    TO_STACK = 3
    TO_OVERLAY = 4
    FROM_LXC = 5
    FROM_PROXY = 6
    FROM_HOST = 7
    FROM_STACK = 8
    FROM_OVERLAY = 9
    FROM_NETWORK = 10
    TO_NETWORK = 11


class TraceReason(IntEnum):
    """Why a packet was forwarded: what connection tracking knew of it."""

    POLICY = 0
    CT_ESTABLISHED = 1
    CT_REPLY = 2
    CT_RELATED = 3
    CT_REOPENED = 4
    UNKNOWN = 5
    SRV6_ENCAP = 6
    SRV6_DECAP = 7
    ENCRYPT_OVERLAY = 8


# The bit beside the reason that says that the packet is encrypted.
TRACE_REASON_ENCRYPT_MASK = 0x80

OBSERVATION_POINTS: Mapping[int, str] = {
    TracePoint.TO_LXC: "to-endpoint",
    TracePoint.TO_PROXY: "to-proxy",
    TracePoint.TO_HOST: "to-host",
    TracePoint.TO_STACK: "to-stack",
    TracePoint.TO_OVERLAY: "to-overlay",
    TracePoint.FROM_LXC: "from-endpoint",
    TracePoint.FROM_PROXY: "from-proxy",
    TracePoint.FROM_HOST: "from-host",
    TracePoint.FROM_STACK: "from-stack",
    TracePoint.FROM_OVERLAY: "from-overlay",
    TracePoint.FROM_NETWORK: "from-network",
    TracePoint.TO_NETWORK: "to-network",
}

# What a line starts with. The endpoint, or the port of the proxy, comes behind it.
TRACE_SUMMARIES: Mapping[int, str] = {
    TracePoint.TO_LXC: "-> endpoint",
    TracePoint.TO_PROXY: "-> proxy",
    TracePoint.TO_HOST: "-> host from",
    TracePoint.TO_STACK: "-> stack",
    TracePoint.TO_OVERLAY: "-> overlay",
    TracePoint.FROM_LXC: "<- endpoint",
    TracePoint.FROM_PROXY: "<- proxy",
    TracePoint.FROM_HOST: "<- host",
    TracePoint.FROM_STACK: "<- stack",
    TracePoint.FROM_OVERLAY: "<- overlay",
    TracePoint.FROM_NETWORK: "<- network",
    TracePoint.TO_NETWORK: "-> network",
}

TRACE_REASONS: Mapping[int, str] = {
    TraceReason.POLICY: "new",
    TraceReason.CT_ESTABLISHED: "established",
    TraceReason.CT_REPLY: "reply",
    TraceReason.CT_RELATED: "related",
    TraceReason.CT_REOPENED: "reopened",
    TraceReason.UNKNOWN: "unknown",
    TraceReason.SRV6_ENCAP: "srv6-encap",
    TraceReason.SRV6_DECAP: "srv6-decap",
    TraceReason.ENCRYPT_OVERLAY: "encrypt-overlay",
}

TRACE_REASONS_1_9: Mapping[int, str] = {
    number: text for number, text in TRACE_REASONS.items() if number <= TraceReason.CT_REOPENED
}

_HAVE_CONN_STATE = {
    TracePoint.TO_LXC,
    TracePoint.TO_PROXY,
    TracePoint.TO_HOST,
    TracePoint.TO_STACK,
    TracePoint.TO_NETWORK,
}


def trace_observation_point(number: int) -> str:
    """Name an observation point; an unknown one by its number."""
    return OBSERVATION_POINTS.get(number) or str(number)


def trace_observation_point_has_conn_state(number: int) -> bool:
    """Tell whether connection tracking was asked before a packet is seen at this point."""
    return number in _HAVE_CONN_STATE
