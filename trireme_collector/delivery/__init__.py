"""Everything between a record and its collector: queue, batches, retries, accounting."""

from __future__ import annotations

from trireme_collector.delivery._adapter import Adapter, Outcome, adapt
from trireme_collector.delivery._backoff import LONGEST_RETRY_AFTER_SECONDS, retry_delay_seconds
from trireme_collector.delivery._clock import Clock, SystemClock
from trireme_collector.delivery._config import DeliveryConfig, WhenFull
from trireme_collector.delivery._queue import (
    DROPPED_BYTES,
    DROPPED_RECORDS,
    MemoryQueue,
    RecordQueue,
)
from trireme_collector.delivery._reporter import FailureReporter
from trireme_collector.delivery._size import estimate_size
from trireme_collector.delivery._status import DROPPED_CLOSED, DROPPED_REFUSED, CollectorStatus
from trireme_collector.delivery._worker import DeadLetters, DeliveryWorker

__all__ = [
    "DROPPED_BYTES",
    "DROPPED_CLOSED",
    "DROPPED_RECORDS",
    "DROPPED_REFUSED",
    "LONGEST_RETRY_AFTER_SECONDS",
    "Adapter",
    "Clock",
    "CollectorStatus",
    "DeadLetters",
    "DeliveryConfig",
    "DeliveryWorker",
    "FailureReporter",
    "MemoryQueue",
    "Outcome",
    "RecordQueue",
    "SystemClock",
    "WhenFull",
    "adapt",
    "estimate_size",
    "retry_delay_seconds",
]
