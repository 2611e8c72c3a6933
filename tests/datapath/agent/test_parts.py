"""The counters of a queue, read while packets come."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from trireme_datapath.agent._parts import held_queue
from trireme_datapath.backends.netlink import QueueStatistics

if TYPE_CHECKING:
    from trireme_collector.control import QueueStatus
    from trireme_datapath.agent import PacketBackend


class Queue:
    """Gives one line after the other, the last one for ever."""

    def __init__(self, *lines: tuple[int, int, int]) -> None:
        self._lines = list(lines)
        self.readings = 0

    def statistics(self) -> QueueStatistics:
        self.readings += 1
        waiting, last, dropped = self._lines[0] if len(self._lines) == 1 else self._lines.pop(0)
        return QueueStatistics(
            queue_number=9,
            port_id=0,
            waiting=waiting,
            copy_mode=2,
            copy_range=128,
            dropped=dropped,
            user_dropped=0,
            last_packet_id=last,
        )


def read(queue: Queue, judged: int) -> QueueStatus | None:
    return held_queue(9, cast("PacketBackend", queue), judged)


def test_a_line_that_was_torn_is_read_again() -> None:
    """A packet came between two of its numbers: it has an id, and does not wait yet."""
    queue = Queue((3, 104, 0), (4, 104, 0))
    found = read(queue, 100)
    assert found is not None
    assert (found.received, found.waiting) == (104, 4)
    assert queue.readings == 2


def test_what_never_fits_is_told_as_it_is() -> None:
    queue = Queue((0, 7, 1))
    found = read(queue, 5)
    assert found is not None
    assert (found.received, found.dropped_full) == (8, 1)
    assert 1 < queue.readings < 100


def test_the_numbers_of_the_kernel_begin_anew() -> None:
    queue = Queue((1, 5, 0))
    assert read(queue, (1 << 32) + 4) is not None
    assert queue.readings == 1


def test_what_is_not_held_has_no_counters() -> None:
    assert held_queue(9, None, 0) is None
