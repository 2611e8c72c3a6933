"""How records are kept on disk."""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec

from trireme_collector.errors import ConfigError

__all__ = ["FsyncMode", "SpoolConfig", "WhenFull"]

_MEBIBYTE = 1024 * 1024
_Segment = Annotated[int, msgspec.Meta(ge=4096, le=32 * _MEBIBYTE)]


class WhenFull(enum.StrEnum):
    """Which records are given up when a queue or a spool is full."""

    DROP_NEWEST = "drop-newest"
    DROP_OLDEST = "drop-oldest"


class FsyncMode(enum.StrEnum):
    """When records are made to outlive a loss of power."""

    ALWAYS = "always"
    INTERVAL = "interval"
    NEVER = "never"


class SpoolConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds and durability of a spool.

    Attributes:
        enabled: Whether records wait on disk, where there is a state directory for them;
            otherwise in memory. Only the pipeline looks at this.
        max_bytes: How much the segments may take on disk.
        segment_bytes: When a new segment is begun; at most a quarter of `max_bytes`. It bounds
            what is read at start, and it is the portion in which the oldest records are given up.
        when_full: Which records are given up, and counted, beyond `max_bytes`.
        fsync: When records are made to outlive a loss of power.
        fsync_interval_seconds: How often, in the mode ``interval``; in the other modes, how often
            the positions of the readers are.
        preallocate: Whether the space of a segment is taken when it is begun.
        damaged_bytes: How much of damaged parts is kept aside; what comes later is only counted.
    """

    enabled: bool = True
    max_bytes: Annotated[int, msgspec.Meta(ge=16_384)] = 1024 * _MEBIBYTE
    segment_bytes: _Segment = 16 * _MEBIBYTE
    when_full: WhenFull = WhenFull.DROP_NEWEST
    fsync: FsyncMode = FsyncMode.INTERVAL
    fsync_interval_seconds: Annotated[float, msgspec.Meta(gt=0, le=60)] = 0.2
    preallocate: bool = False
    damaged_bytes: Annotated[int, msgspec.Meta(ge=0)] = 64 * _MEBIBYTE

    def check(self) -> None:
        """Refuse bounds that do not go together.

        Raises:
            ConfigError: A segment is more than a quarter of the whole.
        """
        if self.segment_bytes * 4 > self.max_bytes:
            msg = (
                f"spool: segment_bytes = {self.segment_bytes} is more than a quarter of"
                f" max_bytes = {self.max_bytes}; lower the one or raise the other"
            )
            raise ConfigError(msg)
