"""What goes into the engine and what comes out of it."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from typing import TypeAlias

from msgspec import Struct

from trireme_collector.records import Record  # noqa: TC001  msgspec reads the annotation at run time

__all__ = ["Decision", "Hook", "JudgedPackets", "QueuedPacket", "Verdict"]


class Verdict(enum.IntEnum):
    """What the kernel is told to do with a packet (``NF_*`` of ``linux/netfilter.h``)."""

    DROP = 0
    ACCEPT = 1
    REPEAT = 4


class Hook(enum.IntEnum):
    """Where in the kernel a packet was queued (``NF_INET_*`` of ``linux/netfilter.h``)."""

    UNKNOWN = -1
    PREROUTING = 0
    LOCAL_IN = 1
    FORWARD = 2
    LOCAL_OUT = 3
    POSTROUTING = 4


class QueuedPacket(Struct, frozen=True, kw_only=True, gc=False):
    """One packet as a backend hands it over.

    Attributes:
        data: The IP datagram without link header, perhaps cut by the copy range.
        original_length: Its length in bytes before it was cut; None when nothing was cut.
        hook: Where it was queued, a number of `Hook`.
        indev: The interface it came in by, empty when there is none.
        outdev: The interface it leaves by, empty when there is none.
        mark: The packet mark.
        uid: The user id of the local socket, None when not known.
        gid: The group id of the local socket, None when not known.
        packet_id: The number under which the backend wants the verdict.
    """

    data: bytes
    original_length: int | None = None
    hook: int = Hook.UNKNOWN
    indev: str = ""
    outdev: str = ""
    mark: int = 0
    uid: int | None = None
    gid: int | None = None
    packet_id: int = 0


class Decision(Struct, frozen=True, kw_only=True, gc=False):
    """What the engine decided about one packet.

    Attributes:
        verdict: What the kernel is told to do.
        mark: The packet mark to set, None to leave it.
        records: What is to be reported because of this packet.
    """

    verdict: Verdict
    mark: int | None = None
    records: tuple[Record, ...] = ()


JudgedPackets: TypeAlias = Callable[[Iterable[tuple[QueuedPacket, Verdict]], int], None]
"""Looks at packets with their verdicts, after the kernel has them, and at the time; a backend
calls it with each batch while somebody watches, and counts what it raises."""
