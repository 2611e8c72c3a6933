"""Dead letters, sent again."""

from __future__ import annotations

import contextlib
from itertools import islice
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from trireme_collector.delivery._clock import SystemClock
from trireme_collector.delivery._dead_letter_editor import DeadLetterEditor
from trireme_collector.delivery._queue import MemoryQueue
from trireme_collector.delivery._reporter import describe_error
from trireme_collector.delivery._size import estimate_size
from trireme_collector.delivery._worker import DeliveryWorker
from trireme_collector.errors import DeliveryError
from trireme_collector.records import decode_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from trireme_collector.delivery._adapter import Adapter
    from trireme_collector.delivery._clock import Clock
    from trireme_collector.delivery._config import DeliveryConfig
    from trireme_collector.delivery._dead_letter_editor import StoredLetter
    from trireme_collector.records import Record

__all__ = ["ReplayReport", "replay_letters"]

_MANY = 1 << 62


class ReplayReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the dead letters of one collector.

    Attributes:
        collector: Its name.
        delivered: Letters that it took; they are removed.
        refused: Letters that it refused again; they stay.
        damaged: Lines that cannot be read; they stay.
        left: Letters that were not tried, or not taken this time; they stay.
        error: The last failure, empty when there was none.
    """

    collector: str
    delivered: int = 0
    refused: int = 0
    damaged: int = 0
    left: int = 0
    error: str = ""


class _Refused:
    """Notes which records were refused; their letters simply stay where they are."""

    place = "the same file"

    def __init__(self) -> None:
        self.records: list[Record] = []

    def open(self) -> None:
        """Nothing is needed."""

    def add(
        self, records: Sequence[Record], *, reason: str, time_ns: int, attempts: int
    ) -> Mapping[str, int]:
        """Note the records."""
        del reason, time_ns, attempts
        self.records.extend(records)
        return {}


def replay_letters(
    path: Path,
    adapter: Adapter,
    *,
    collector: str,
    config: DeliveryConfig,
    clock: Clock | None = None,
) -> ReplayReport:
    """Send the dead letters of one collector again, and remove those that it took.

    Each batch is removed before the next one is sent: a crash sends one batch twice at most. The
    first failure that may pass ends it; there is no waiting.

    Args:
        path: The file.
        adapter: The collector; it is opened and closed.
        collector: Its name.
        config: Its batches.
        clock: Where the time comes from.

    Raises:
        ConfigError: The collector cannot work as it is configured.
        PluginError: The plugin raised something that it may not raise.
        DeliveryError: Another command changes the file.
        OSError: The file cannot be read or changed.
    """
    clock = clock or SystemClock()
    refused = _Refused()
    # Nothing is given up for its time here, and refused letters are in a file already.
    config = replace(config, give_up_seconds=0, state_directory="")
    queue = MemoryQueue(_MANY, _MANY)
    worker = DeliveryWorker(
        collector, adapter, config, queue=queue, dead_letters=refused, clock=clock
    )
    with DeadLetterEditor(path) as editor:
        lines = sum(1 for _ in editor.read())
        sound = sum(1 for _ in _readable(editor.read()))
        report = ReplayReport(collector=collector, left=sound, damaged=lines - sound)
        if not sound:
            return report  # whether the collector would work, nobody has to know
        letters = _readable(editor.read())
        try:
            worker.open()
            going_on = True
            while going_on and (batch := list(islice(letters, config.batch_records))):
                report = _send(worker, batch, refused, editor, report, clock)
                going_on = not worker.status().queued
        except DeliveryError as error:
            return replace(report, error=describe_error(error))
        finally:
            worker.finish(clock.monotonic_ns())
    return report


def _send(
    worker: DeliveryWorker,
    batch: Sequence[tuple[int, Record]],
    refused: _Refused,
    editor: DeadLetterEditor,
    report: ReplayReport,
    clock: Clock,
) -> ReplayReport:
    records = [record for _, record in batch]
    worker.put(records, [estimate_size(record) for record in records])
    worker.request_flush()
    status = worker.status()
    while status.queued and not status.retrying:
        worker.step(clock.monotonic_ns())
        status = worker.status()
    settled = len(batch) - status.queued
    kept = {id(record) for record in refused.records}
    taken = [offset for offset, record in batch[:settled] if id(record) not in kept]
    if taken:
        editor.remove(taken)
    report = replace(
        report,
        delivered=report.delivered + len(taken),
        refused=report.refused + settled - len(taken),
        left=report.left - settled,
        error=status.last_error,
    )
    refused.records.clear()
    return report


def _readable(letters: Iterator[StoredLetter]) -> Iterator[tuple[int, Record]]:
    for stored in letters:
        if stored.letter is not None:
            with contextlib.suppress(msgspec.DecodeError):
                yield stored.offset, decode_json(bytes(stored.letter.record))
