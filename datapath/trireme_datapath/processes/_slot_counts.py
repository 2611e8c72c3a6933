"""What the kernel and an enforcer count about a slot, told so that it adds up."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from trireme_datapath.counters import queue_totals
from trireme_datapath.packets import Verdict
from trireme_datapath.processes._enforcer_messages import Settle
from trireme_datapath.processes._kernel_counts import kernel_statistics, queue_status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trireme_collector.control import QueueStatus
    from trireme_datapath.backends.netlink import NetlinkQueue, QueueStatistics
    from trireme_datapath.processes._board import EnforcerBoard
    from trireme_datapath.processes._enforcer_messages import HeldQueue

__all__ = ["SlotCounts"]

_READINGS: Final = 8
_UINT32: Final = 0xFFFFFFFF
_IN_HAND: Final = 64  # a drain receives no more at once


class SlotCounts:
    """Counts for one life of a slot.

    Args:
        board: Where its counts outlive its enforcers.
        queues: Its queues.
        statistics: The kernel's table of queues, inherited open; -1 where it cannot be read.

    Attributes:
        board: That board.
        judged_before: What those before this one judged.
        denied_before: What of it they denied.
    """

    def __init__(self, board: EnforcerBoard, queues: Sequence[HeldQueue], statistics: int) -> None:
        """Begin with what those before counted."""
        self.board = board
        self.judged_before, self.denied_before = board.judged, board.denied
        self._reported_before = board.reported
        self._queues = tuple(queues)
        self._descriptor = statistics

    def settle(self, queues: list[NetlinkQueue], settle: Settle) -> None:
        """Deal with packets that somebody received before us, and count them."""
        board = self.board
        verdict = Verdict.REPEAT if settle is Settle.AGAIN else Verdict.DROP
        for queue in queues:
            found = self._statistics().get(queue.queue_number)
            if found is None:
                queue.settle(verdict, board.judged + board.settled + _IN_HAND)
            elif found.waiting:
                queue.settle(verdict, found.last_packet_id)
        passed = self._passed(queues)
        if passed is not None:
            behind = (passed - board.judged) & _UINT32  # the kernel's numbers begin anew there
            board.settled = behind if behind <= _UINT32 // 2 else 0

    def queue_totals(self, packets: int) -> dict[str, int]:
        """Give the kernel's totals beyond those that others before us reported; it is done now.

        Args:
            packets: What this engine has judged.
        """
        board, found = self.board, self._statistics()
        mine = [found[queue.number] for queue in self._queues if queue.number in found]
        if not mine:
            return {}
        totals: Counter[str] = Counter()
        for one in mine:
            totals.update(queue_totals(one, 0))
        totals["queue_unjudged"] -= self.judged_before + packets + board.settled
        before = dict(zip(totals, self._reported_before, strict=True))
        board.report(totals.values())
        return {name: total - before[name] for name, total in totals.items()}

    def whole_queues(self, packets: int) -> tuple[QueueStatus, ...]:
        """Read the kernel's counters of our queues.

        The kernel writes a line without holding packets up, so one that comes meanwhile may be in
        one number and not in the other. What has passed cannot change while we stand here: by that
        such a line is known, and read again.

        Args:
            packets: What this engine has judged.
        """
        passed = self.judged_before + packets + self.board.settled
        queues: tuple[QueueStatus, ...] = ()
        for _ in range(_READINGS):
            found = self._statistics()
            queues = tuple(
                queue_status(found[queue.number]) for queue in self._queues if queue.number in found
            )
            said = sum(
                one.received - one.waiting - one.dropped_full - one.dropped_socket for one in queues
            )
            if not (said - passed) & _UINT32:
                break
        return queues

    def _passed(self, queues: list[NetlinkQueue]) -> int | None:
        """Tell how many packets are no longer in the kernel's hands; None if it does not say.

        That cannot change before we judge. A line that was read while a packet came may say
        something else: what two readings say alike counts.
        """
        before = None
        for _ in range(_READINGS * 4):
            found = self._statistics()
            mine = [found[one.queue_number] for one in queues if one.queue_number in found]
            if len(mine) < len(queues):
                return None
            passed = sum(one.last_packet_id - one.waiting - one.user_dropped for one in mine)
            if passed == before:
                break
            before = passed
        return before

    def _statistics(self) -> dict[int, QueueStatistics]:
        return kernel_statistics(self._descriptor)
