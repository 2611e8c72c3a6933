"""What the kernel counts about the queues, read by whoever inherited its open table."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from trireme_collector.control import QueueStatus
from trireme_datapath.backends._queue_statistics import parse_statistics, read_statistics

if TYPE_CHECKING:
    from trireme_datapath.backends.netlink import QueueStatistics

__all__ = ["kernel_statistics", "queue_status"]

_STATISTICS_BYTES: Final = 65_536


def kernel_statistics(descriptor: int) -> dict[int, QueueStatistics]:
    """Read the kernel's table of queues; what was opened by root may be read by anybody."""
    if descriptor < 0:
        return read_statistics()
    try:
        text = os.pread(descriptor, _STATISTICS_BYTES, 0)
    except OSError:
        return {}
    return parse_statistics(text.decode("ascii", "replace"))


def queue_status(found: QueueStatistics) -> QueueStatus:
    """Say what the kernel counts in the words of a status."""
    return QueueStatus(
        number=found.queue_number,
        # A packet that finds the queue full gets no number.
        received=found.last_packet_id + found.dropped,
        waiting=found.waiting,
        dropped_full=found.dropped,
        dropped_socket=found.user_dropped,
    )
