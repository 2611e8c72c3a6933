"""Two queues as one backend: what opens connections, and everything else."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

from msgspec import structs

if TYPE_CHECKING:
    from trireme_collector.records import Record
    from trireme_datapath.backends.netlink import NetlinkBackend, QueueStatistics
    from trireme_datapath.backends.paced import PacedBackend
    from trireme_datapath.packets import JudgedPackets

__all__ = ["PairedBackend"]


class PairedBackend:
    """Judges what waits in one queue before a share of what waits in the other.

    Args:
        first: The queue that goes first.
        second: The queue that may be flooded; a drain of it is short.
    """

    def __init__(self, first: NetlinkBackend, second: NetlinkBackend | PacedBackend) -> None:
        """Own both; they are closed together."""
        self.first = first
        self.second = second
        self._epoll = select.epoll()
        for one in (first, second):
            self._epoll.register(one.fileno(), select.EPOLLIN)

    def fileno(self) -> int:
        """Give the descriptor: readable when packets wait in one of them."""
        return self._epoll.fileno()

    def drain(self, now_ns: int) -> list[Record]:
        """Judge what waits, without waiting for more.

        Args:
            now_ns: Nanoseconds since 1970 UTC.

        Raises:
            OSError: A socket is of no use any more.
        """
        ready = {descriptor for descriptor, _ in self._epoll.poll(0)}
        records: list[Record] = []
        backends: tuple[NetlinkBackend | PacedBackend, ...] = (self.first, self.second)
        for one in backends:
            if one.fileno() in ready:
                records += one.drain(now_ns)
        return records

    @property
    def judged(self) -> JudgedPackets | None:
        """Is shown every batch of packets with their verdicts, while somebody watches."""
        return self.first.judged

    @judged.setter
    def judged(self, judged: JudgedPackets | None) -> None:
        self.first.judged = self.second.judged = judged

    def statistics(self) -> QueueStatistics | None:
        """Add up the kernel's own counters of both queues; the first gives the number."""
        first, second = self.first.statistics(), self.second.statistics()
        if first is None or second is None:
            return first or second
        return structs.replace(
            first,
            waiting=first.waiting + second.waiting,
            dropped=first.dropped + second.dropped,
            user_dropped=first.user_dropped + second.user_dropped,
            last_packet_id=first.last_packet_id + second.last_packet_id,
        )

    def close(self) -> None:
        """Give both queues back."""
        self._epoll.close()
        self.first.close()
        self.second.close()
