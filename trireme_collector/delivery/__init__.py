"""Everything between a record and its collector: queue, batches, retries, accounting."""

from __future__ import annotations

from trireme_collector.delivery._adapter import Adapter, Outcome, adapt
from trireme_collector.delivery._backoff import LONGEST_RETRY_AFTER_SECONDS, retry_delay_seconds
from trireme_collector.delivery._clock import Clock, SystemClock
from trireme_collector.delivery._config import DeliveryConfig
from trireme_collector.delivery._dead_letter_editor import (
    DeadLetterEditor,
    StoredLetter,
    read_letters,
)
from trireme_collector.delivery._queue import (
    DROPPED_BYTES,
    DROPPED_RECORDS,
    MemoryQueue,
    RecordQueue,
)
from trireme_collector.delivery._replay import ReplayReport, replay_letters
from trireme_collector.delivery._reporter import FailureReporter
from trireme_collector.delivery._size import estimate_size
from trireme_collector.delivery._spool_config import FsyncMode, SpoolConfig, WhenFull
from trireme_collector.delivery._spool_directory import check_spool
from trireme_collector.delivery._spool_writer import SpoolWriter
from trireme_collector.delivery._status import (
    DROPPED_CLOSED,
    DROPPED_REFUSED,
    Balance,
    CollectorStatus,
    SpoolHealth,
)
from trireme_collector.delivery._worker import DeliveryWorker
from trireme_collector.delivery.dead_letters import (
    DROPPED_LETTERS_FAILED,
    DROPPED_LETTERS_FULL,
    SERVICE_STATE_DIRECTORY,
    DeadLetter,
    DeadLetterFile,
    DeadLetters,
    dead_letter_names,
    dead_letter_path,
)

__all__ = [
    "DROPPED_BYTES",
    "DROPPED_CLOSED",
    "DROPPED_LETTERS_FAILED",
    "DROPPED_LETTERS_FULL",
    "DROPPED_RECORDS",
    "DROPPED_REFUSED",
    "LONGEST_RETRY_AFTER_SECONDS",
    "SERVICE_STATE_DIRECTORY",
    "Adapter",
    "Balance",
    "Clock",
    "CollectorStatus",
    "DeadLetter",
    "DeadLetterEditor",
    "DeadLetterFile",
    "DeadLetters",
    "DeliveryConfig",
    "DeliveryWorker",
    "FailureReporter",
    "FsyncMode",
    "MemoryQueue",
    "Outcome",
    "RecordQueue",
    "ReplayReport",
    "SpoolConfig",
    "SpoolHealth",
    "SpoolWriter",
    "StoredLetter",
    "SystemClock",
    "WhenFull",
    "adapt",
    "check_spool",
    "dead_letter_names",
    "dead_letter_path",
    "estimate_size",
    "read_letters",
    "replay_letters",
    "retry_delay_seconds",
]
