"""Records that wait on disk: nothing accepted is lost, and everything is counted.

The format, the guarantees and the limits are described in the reference, "Spool".
"""

from __future__ import annotations

from trireme_collector.delivery._spool_config import FsyncMode, SpoolConfig
from trireme_collector.delivery.spool._account import ReaderAccount
from trireme_collector.delivery.spool._frames import HEAD_BYTES
from trireme_collector.delivery.spool._inspection import inspect_spool
from trireme_collector.delivery.spool._reader import (
    LOST_DAMAGED,
    LOST_MISSING,
    Batch,
    SpoolReader,
    StartAt,
)
from trireme_collector.delivery.spool._recovery import Recovery
from trireme_collector.delivery.spool._spool import Spool
from trireme_collector.delivery.spool._state import Damage
from trireme_collector.delivery.spool._status import (
    DROPPED_FULL,
    DROPPED_IO_ERROR,
    DROPPED_NO_SPACE,
    DROPPED_OVERSIZE,
    Appended,
    SpoolStatus,
)
from trireme_collector.delivery.spool._storage import Storage, SystemStorage

__all__ = [
    "DROPPED_FULL",
    "DROPPED_IO_ERROR",
    "DROPPED_NO_SPACE",
    "DROPPED_OVERSIZE",
    "HEAD_BYTES",
    "LOST_DAMAGED",
    "LOST_MISSING",
    "Appended",
    "Batch",
    "Damage",
    "FsyncMode",
    "ReaderAccount",
    "Recovery",
    "Spool",
    "SpoolConfig",
    "SpoolReader",
    "SpoolStatus",
    "StartAt",
    "Storage",
    "SystemStorage",
    "inspect_spool",
]
