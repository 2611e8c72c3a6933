"""Packets out of a capture, judged at the times when they were captured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from trireme_datapath.backends.pcap import CaptureDirection, CapturedPacket, CaptureReader
from trireme_datapath.packets import Decision, Hook, QueuedPacket, Verdict

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

    from trireme_collector.records import Record
    from trireme_datapath.engine import Engine

__all__ = ["ReplayBackend", "ReplayedPacket", "queued"]

_HOUSEKEEPING_NS = 1_000_000_000  # a live loop lets the engine forget idle flows as often


class ReplayedPacket(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One packet of the capture, and what was decided about it.

    Attributes:
        packet: The packet as captured; its ``number`` is the frame number of other tools.
        now_ns: The time it was judged at.
        decision: The verdict, and the records that it caused.
    """

    packet: CapturedPacket
    now_ns: int
    decision: Decision


class ReplayBackend:
    """Drives an engine with a capture: iterate over it, then call `finish`.

    The clock is the capture's own and never runs backwards: a packet with an earlier time than
    the one before it, or without any, is judged at the time of the one before it. No kernel says
    on which hook a packet was, so the engine works out its direction from the addresses of the
    units; the name of the interface is used where the capture also tells the direction.

    Attributes:
        reader: The capture, with the count of frames read and skipped.
        now_ns: The time of the capture's clock.
        judged: How many packets were judged.
        verdicts: How many packets got each verdict.
    """

    def __init__(
        self,
        capture: CaptureReader | str | os.PathLike[str],
        engine: Engine,
        *,
        limit: int | None = None,
    ) -> None:
        """Open the capture.

        Args:
            capture: A reader, or what `CaptureReader` opens.
            engine: What judges the packets.
            limit: How many packets to judge at most.

        Raises:
            CaptureError: The capture cannot be opened, or is none.
        """
        self.reader = capture if isinstance(capture, CaptureReader) else CaptureReader(capture)
        self.now_ns = 0
        self.judged = 0
        self.verdicts = dict.fromkeys(Verdict, 0)
        self._engine = engine
        self._limit = limit
        self._kept_ns = 0
        self._late: list[Record] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the capture."""
        self.reader.close()

    def __iter__(self) -> Iterator[ReplayedPacket]:
        """Judge packet by packet.

        Raises:
            CaptureError: The capture cannot be read on; call `finish` all the same.
        """
        receive = self._engine.receive
        verdicts = self.verdicts
        if self._limit is not None and self.judged >= self._limit:
            return
        for packet in self.reader:
            if packet.time_ns is not None and packet.time_ns > self.now_ns:
                self.now_ns = packet.time_ns
            now_ns = self.now_ns
            if now_ns - self._kept_ns >= _HOUSEKEEPING_NS:
                self._kept_ns = now_ns
                self._late.extend(self._engine.take_records(now_ns))
            decision = receive(queued(packet), now_ns)
            self.judged += 1
            verdicts[decision.verdict] += 1
            yield ReplayedPacket(packet=packet, now_ns=now_ns, decision=decision)
            if self.judged == self._limit:
                return

    def finish(self) -> list[Record]:
        """Give the records that belong to no single packet, so that none is missing."""
        records = [*self._late, *self._engine.take_last_records(self.now_ns)]
        self._late.clear()
        return records


def queued(packet: CapturedPacket) -> QueuedPacket:
    """Make of a captured packet what a kernel queue would have brought."""
    cut = packet.original_length > len(packet.data)
    return QueuedPacket(
        data=packet.data,
        original_length=packet.original_length if cut else None,
        hook=Hook.UNKNOWN,
        indev=packet.interface if packet.direction is CaptureDirection.INBOUND else "",
        outdev=packet.interface if packet.direction is CaptureDirection.OUTBOUND else "",
        packet_id=packet.number,
    )
