"""The account of one collector."""

from __future__ import annotations

import msgspec

from trireme_collector.delivery._reporter import describe_error

__all__ = ["DROPPED_CLOSED", "DROPPED_REFUSED", "Account", "CollectorStatus"]

DROPPED_CLOSED = "closed"
"""The reason of a drop: the record came after the shutdown had begun."""
DROPPED_REFUSED = "refused"
"""The reason of a drop: the collector refused the record, and no dead letters are kept."""


class CollectorStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The account of one collector.

    At any time ``accepted == delivered + dead_lettered + dropped + queued``.

    Attributes:
        name: The name of the collector in the configuration.
        accepted: Records that were given to it.
        delivered: Records that it took.
        dead_lettered: Records that it refused for good, or that were given up, and that are
            kept in its file of dead letters.
        dropped: Records that were lost, see `dropped_by_reason`.
        queued: Records that wait, those being sent included.
        queued_bytes: What they take, estimated.
        dropped_by_reason: The dropped records by reason.
        failed_attempts: How often sending failed and was put off.
        retrying: Whether it waits after a failure now.
        credentials_refused: Whether it waits because its credentials were refused: somebody has
            to mend them.
        last_error: The last failure, empty when there was none.
    """

    name: str
    accepted: int
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


class Account:
    """The numbers behind a `CollectorStatus`; its owner changes them under one lock.

    Attributes:
        accepted: Records that were given.
        delivered: Records that were taken.
        dead_lettered: Records that are kept as dead letters.
        left: Records that were queued and are no longer, for whatever reason.
        failed_attempts: How often sending was put off.
        dropped: Lost records by reason.
        last_error: The last failure.
    """

    def __init__(self) -> None:
        """Start with nothing."""
        self.accepted = self.delivered = self.dead_lettered = 0
        self.left = self.failed_attempts = 0
        self.dropped: dict[str, int] = {}
        self.last_error = ""

    def drop(self, reason: str, count: int) -> None:
        """Count lost records."""
        self.dropped[reason] = self.dropped.get(reason, 0) + count

    def note(self, error: BaseException) -> None:
        """Remember a failure."""
        self.last_error = describe_error(error)
