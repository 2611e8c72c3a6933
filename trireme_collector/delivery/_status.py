"""The account of one collector."""

from __future__ import annotations

import msgspec

__all__ = [
    "DROPPED_CLOSED",
    "DROPPED_REFUSED",
    "Account",
    "Balance",
    "CollectorStatus",
    "SpoolHealth",
]

DROPPED_CLOSED = "closed"
"""The reason of a drop: the record came after the shutdown had begun."""
DROPPED_REFUSED = "refused"
"""The reason of a drop: the collector refused the record, and no dead letters are kept."""


class SpoolHealth(msgspec.Struct, frozen=True, kw_only=True):
    """How the disk serves the spool of one collector.

    Attributes:
        unwritten: Records that were given and are not accounted for on disk yet, mostly because
            they wait in memory for it; they are not accepted yet.
        size_bytes: What the spool takes on disk.
        undurable: Records that a loss of power could still cost.
        damaged: Damaged places that were found and kept aside since the spool exists.
        write_failures: Appends that failed since the start.
        sync_failures: Syncs that failed since the start.
        state_failures: Writes of the account that failed since the start.
        read_failures: Readings that failed since the start.
        last_error: The last failure of the disk, empty when there was none.
    """

    unwritten: int = 0
    size_bytes: int = 0
    undurable: int = 0
    damaged: int = 0
    write_failures: int = 0
    sync_failures: int = 0
    state_failures: int = 0
    read_failures: int = 0
    last_error: str = ""


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """The account of a queue.

    At any time ``accepted == delivered + dead_lettered + sum(dropped) + queued``.

    Attributes:
        accepted: Records that were given to it.
        given: Records that were given to it since the start.
        delivered: Records that the collector took.
        dead_lettered: Records that are kept as dead letters.
        dropped: Records that were lost or left out, by reason.
        queued: Records that wait, those being sent included.
        queued_bytes: What they take, estimated.
        spool: How the disk does, if they wait there.
    """

    accepted: int
    given: int
    delivered: int
    dead_lettered: int
    dropped: dict[str, int]
    queued: int
    queued_bytes: int
    spool: SpoolHealth | None = None


class CollectorStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The account of one collector.

    At any time ``accepted == delivered + dead_lettered + dropped + queued``. With a spool, these
    count from the day that the spool was made, over every start since.

    Attributes:
        name: The name of the collector in the configuration.
        accepted: Records that were given to it; with a spool, those that were written there.
        given: Records that were given to it since the start.
        delivered: Records that it took.
        dead_lettered: Records that it refused for good, or that were given up, and that are
            kept in its file of dead letters.
        dropped: Records that were lost or left out, see `dropped_by_reason`.
        queued: Records that wait, those being sent included.
        queued_bytes: What they take, estimated.
        dropped_by_reason: The dropped records by reason.
        failed_attempts: How often sending failed and was put off, since the start.
        retrying: Whether it waits after a failure now.
        credentials_refused: Whether it waits because its credentials were refused: somebody has
            to mend them.
        last_error: The last failure, empty when there was none.
        spool: How the disk serves its spool; None when its records wait in memory.
    """

    name: str
    accepted: int
    given: int
    delivered: int
    dead_lettered: int
    dropped: int
    queued: int
    queued_bytes: int
    dropped_by_reason: dict[str, int]
    failed_attempts: int
    retrying: bool
    credentials_refused: bool
    last_error: str
    spool: SpoolHealth | None = None


class Account:
    """The numbers behind a `Balance`; its owner changes them under one lock.

    Attributes:
        accepted: Records that were given.
        delivered: Records that were taken.
        dead_lettered: Records that are kept as dead letters.
        dropped: Lost records by reason.
    """

    def __init__(self) -> None:
        """Start with nothing."""
        self.accepted = self.delivered = self.dead_lettered = 0
        self.dropped: dict[str, int] = {}

    def drop(self, reason: str, count: int) -> None:
        """Count lost records."""
        self.dropped[reason] = self.dropped.get(reason, 0) + count
