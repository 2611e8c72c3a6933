"""What can go wrong when a backend is opened, beyond the errors of the core."""

from __future__ import annotations

from typing import Final

from trireme_collector.errors import DatapathError
from trireme_collector.exit_codes import ExitCode

__all__ = ["QueueBusyError"]


class QueueBusyError(DatapathError):
    """Another socket holds the queue: the kernel gives each queue to one only.

    Attributes:
        queue_number: The queue.
        holder: Who holds it, as far as it could be found.
        exit_code: How a command ends that shows it.
    """

    exit_code: Final = ExitCode.QUEUE_BUSY

    def __init__(self, queue_number: int, holder: str) -> None:
        """Say which queue, who holds it, and what to do."""
        super().__init__(
            f"queue {queue_number} is in use by {holder}:"
            " stop that program or choose another queue number"
        )
        self.queue_number = queue_number
        self.holder = holder
