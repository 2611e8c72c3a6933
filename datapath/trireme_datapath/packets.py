"""What goes into the engine and what comes out of it."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from trireme_collector.records import Record  # noqa: TC001  msgspec reads the annotation at run time

if TYPE_CHECKING:
    from collections.abc import Iterable

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


class JudgedPackets(Protocol):
    """Looks at packets after they were judged and the kernel has their verdicts.

    A backend shows it each batch while somebody watches, and counts what it raises.
    """

    def wants(self, data: bytes | memoryview, start: int) -> bool:
        """Tell by the datagram that begins at `start` whether a packet is of interest."""
        ...

    def take(self, packets: Iterable[tuple[QueuedPacket, Verdict]], now_ns: int) -> None:
        """Take the packets of a batch that are, with their verdicts."""
        ...
