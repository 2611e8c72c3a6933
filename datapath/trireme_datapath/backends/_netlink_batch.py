"""The verdicts of one batch while they are gathered, and the order in which they must be sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trireme_datapath.backends._netlink_codec import batch_verdict, verdict, verdicts
from trireme_datapath.backends._netlink_layout import PACKET_ID
from trireme_datapath.packets import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trireme_collector.records import Record
    from trireme_datapath.backends._netlink_kinds import Kind
    from trireme_datapath.backends._receive_ring import ReceiveRing

__all__ = ["Batch"]


class Batch:
    """What was decided about the slots of a ring that are not all judged alike.

    Args:
        queue_number: The queue.
        ring: Where the messages are.
        records: Where the records of single packets go.

    Attributes:
        own: Messages with the verdicts that single packets get.
        own_ids: The ids of those packets.
        others: Slots that hold no packet.
        blind: Whether a packet waits whose id could not be read.
    """

    __slots__ = ("_queue_number", "_ring", "blind", "others", "own", "own_ids", "records")

    def __init__(self, queue_number: int, ring: ReceiveRing, records: list[Record]) -> None:
        """Begin without verdicts."""
        self._queue_number = queue_number
        self._ring = ring
        self.own: list[bytes] = []
        self.own_ids: set[int] = set()
        self.records = records
        self.others: set[int] = set()
        self.blind = False

    def judge(self, packet_id: int, number: Verdict, mark: int | None) -> None:
        """Give a packet a verdict of its own."""
        self.own.append(verdict(self._queue_number, packet_id, number, mark))
        self.own_ids.add(packet_id)

    def settle(
        self, kind: Kind, denied: Sequence[int], tried: Iterable[int], rest: Sequence[int]
    ) -> None:
        """Keep the verdicts of slots that were judged among others of another kind.

        Args:
            kind: Their kind.
            denied: The ids of packets that are denied.
            tried: The slots that were handed to the engine.
            rest: Those of them that it did not judge.
        """
        if denied:
            self.own.append(kind.deny(denied))
            self.own_ids.update(denied)
        if kind.lane.accepted_mark is not None:
            left = set(rest)
            judged = [self._packet_id(index) for index in tried if index not in left]
            accepted = [one for one in judged if one not in self.own_ids]
            self.own.append(kind.accept(accepted))
            self.own_ids.update(accepted)

    def close(self, count: int) -> tuple[bytes, int]:
        """Put the verdicts in order: those of single packets, then the rest, which is accepted.

        Args:
            count: How many slots are filled.

        Returns:
            The messages, and how many packets they are about.
        """
        packets = [self._packet_id(index) for index in range(count) if index not in self.others]
        accepted = [one for one in packets if one not in self.own_ids]
        if accepted:
            number = self._queue_number
            if self.blind:  # a batch verdict would let the unread packet pass
                self.own.append(verdicts(number, accepted, Verdict.ACCEPT))
            else:
                self.own.append(batch_verdict(number, accepted[-1], Verdict.ACCEPT))
        return b"".join(self.own), len(packets)

    def _packet_id(self, index: int) -> int:
        start = index * self._ring.slot_size + PACKET_ID
        return int.from_bytes(self._ring.buffer[start : start + 4], "big")
