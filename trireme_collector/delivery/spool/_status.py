"""What a spool says about itself, and why it gives records up."""

from __future__ import annotations

import msgspec

from trireme_collector.delivery.spool._account import (
    ReaderAccount,  # noqa: TC001  msgspec looks at the types of the fields
)
from trireme_collector.delivery.spool._state import (
    Damage,  # noqa: TC001  msgspec looks at the types of the fields
)

__all__ = [
    "DROPPED_FULL",
    "DROPPED_IO_ERROR",
    "DROPPED_NO_SPACE",
    "DROPPED_OVERSIZE",
    "Appended",
    "SpoolStatus",
]

DROPPED_FULL = "spool_full"
"""The reason of a drop: the spool held as many bytes as it may."""
DROPPED_NO_SPACE = "no_space"
"""The reason of a drop: the disk was full."""
DROPPED_IO_ERROR = "io_error"
"""The reason of a drop: the disk failed."""
DROPPED_OVERSIZE = "oversize"
"""The reason of a drop: the record was longer than a segment or 4 MiB."""


class Appended(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What became of records that were appended.

    Attributes:
        first: The sequence of the first that was taken.
        count: How many were taken.
        refused: How many were not.
        durable: Whether all that were taken outlive a loss of power already.
    """

    first: int
    count: int
    refused: int
    durable: bool


class SpoolStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How a spool stands.

    Attributes:
        next_sequence: The sequence of the next record.
        durable_sequence: Every record below it outlives a loss of power.
        size_bytes: What the segments take on disk.
        segments: How many there are.
        refused: Records that were not taken since the spool exists, by reason.
        damage: What was found damaged since the spool exists.
        write_failures: Appends that failed, since the start.
        sync_failures: Syncs that failed, since the start.
        state_failures: Writes of the readers' accounts that failed, since the start.
        rewrites: How often records were written again after a failed sync.
        last_error: The last failure of the disk, empty when there was none.
        readers: The account of each reader.
    """

    next_sequence: int
    durable_sequence: int
    size_bytes: int
    segments: int
    refused: dict[str, int]
    damage: Damage
    write_failures: int
    sync_failures: int
    state_failures: int
    rewrites: int
    last_error: str
    readers: tuple[ReaderAccount, ...]
