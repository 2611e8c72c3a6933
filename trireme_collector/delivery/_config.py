"""How records wait for a collector and how they are sent again."""

from __future__ import annotations

from typing import Annotated

import msgspec

from trireme_collector.delivery._spool_config import SpoolConfig, WhenFull

__all__ = ["DeliveryConfig", "WhenFull"]

_Positive = Annotated[float, msgspec.Meta(gt=0, le=86_400)]

_Directory = Annotated[
    str, msgspec.Meta(pattern=r"^(/.*)?$(?!\n)", extra={"expected": "an absolute path"})
]


class DeliveryConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stands around one collector.

    Attributes:
        queue_records: How many records may wait in memory: for the collector, or with a spool
            for the disk.
        queue_bytes: How many bytes they may take, estimated.
        when_full: Which records are given up, and counted, beyond that.
        batch_records: How many records are handed over at once.
        batch_bytes: How many bytes they may take, estimated; one record always goes.
        batch_age_seconds: How long an incomplete batch waits for more.
        retry_initial_seconds: The pause after the first failure; it doubles each time.
        retry_max_seconds: The longest pause of our own choice.
        give_up_seconds: How long a batch is tried before it goes to the dead letters; 0 for ever.
        state_directory: Where the program keeps what outlives it, an absolute path. With it,
            records wait on disk, and those that are refused for good are kept as dead letters;
            without it records wait in memory, and refused ones are dropped and counted.
        spool: How records are kept on disk.
        dead_letter_bytes: How large the file of dead letters may become.
        log_interval_seconds: How often a repeating failure is logged, with its count.
    """

    queue_records: Annotated[int, msgspec.Meta(ge=1)] = 100_000
    queue_bytes: Annotated[int, msgspec.Meta(ge=1024)] = 64 * 1024 * 1024
    when_full: WhenFull = WhenFull.DROP_NEWEST
    batch_records: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 500
    batch_bytes: Annotated[int, msgspec.Meta(ge=1024)] = 4 * 1024 * 1024
    batch_age_seconds: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 0.2
    retry_initial_seconds: _Positive = 0.5
    retry_max_seconds: _Positive = 60.0
    give_up_seconds: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    state_directory: _Directory = ""
    spool: SpoolConfig = SpoolConfig()
    dead_letter_bytes: Annotated[int, msgspec.Meta(ge=4096)] = 64 * 1024 * 1024
    log_interval_seconds: _Positive = 60.0
