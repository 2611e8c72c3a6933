"""The points at which the datapath captures packets for debugging.

``{a1}`` is the first argument, ``{port}`` the same as a port in network order, ``{link}`` the name
of the interface that it numbers.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CAPTURE_PREFIXES", "CAPTURE_TEXTS", "CaptureType"]


class CaptureType(IntEnum):
    """Where a packet was captured."""

    UNSPEC = 0
    RESERVED1 = 1
    RESERVED2 = 2
    RESERVED3 = 3
    DELIVERY = 4
    FROM_LB = 5
    AFTER_V46 = 6
    AFTER_V64 = 7
    PROXY_PRE = 8
    PROXY_POST = 9
    SNAT_PRE = 10
    SNAT_POST = 11


CAPTURE_TEXTS: Mapping[int, str] = {
    CaptureType.DELIVERY: "Delivery to ifindex {a1}",
    CaptureType.FROM_LB: "Incoming packet to load balancer on ifindex {a1}",
    CaptureType.AFTER_V46: "Packet after nat46 ifindex {a1}",
    CaptureType.AFTER_V64: "Packet after nat64 ifindex {a1}",
    CaptureType.PROXY_PRE: "Packet to proxy port {port} (Pre)",
    CaptureType.PROXY_POST: "Packet to proxy port {port} (Post)",
    CaptureType.SNAT_PRE: "Packet going into snat engine on ifindex {a1}",
    CaptureType.SNAT_POST: "Packet coming from snat engine on ifindex {a1}",
}

# The start of the one-line form. Without one, a capture has no such form.
CAPTURE_PREFIXES: Mapping[int, str] = {
    CaptureType.DELIVERY: "-> {link}",
    CaptureType.FROM_LB: "<- load-balancer {link}",
    CaptureType.AFTER_V46: "== v4->v6 {a1}",
    CaptureType.AFTER_V64: "== v6->v4 {a1}",
    CaptureType.PROXY_POST: "-> proxy port {port}",
}
