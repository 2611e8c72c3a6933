"""Where the datapath translated the address of a socket."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SOCKET_POINTS", "SOCKET_PROTOCOLS", "SocketPoint"]


class SocketPoint(IntEnum):
    """When an address was seen: before or after translation, on the way out or back."""

    UNKNOWN = 0
    PRE_DIRECTION_FORWARD = 1
    POST_DIRECTION_FORWARD = 2
    PRE_DIRECTION_REVERSE = 3
    POST_DIRECTION_REVERSE = 4


SOCKET_POINTS: Mapping[int, str] = {
    SocketPoint.PRE_DIRECTION_FORWARD: "pre-xlate-fwd",
    SocketPoint.POST_DIRECTION_FORWARD: "post-xlate-fwd",
    SocketPoint.PRE_DIRECTION_REVERSE: "pre-xlate-rev",
    SocketPoint.POST_DIRECTION_REVERSE: "post-xlate-rev",
}

SOCKET_PROTOCOLS: Mapping[int, str] = {
    1: "tcp",
    2: "udp",
}
