"""One of several instances that follow conversations together."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from trireme_collector.errors import ConfigError
from trireme_collector.netobserv._partition import PartitionConversations
from trireme_collector.netobserv._reader import add_counts
from trireme_collector.netobserv.sharing import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trireme_collector.netobserv._partition import Following
    from trireme_collector.netobserv.sharing import (
        Partition,
        PartitionCheckpoint,
        RecordSink,
        SharedSource,
    )

__all__ = ["SharedConversations", "Totals"]

# So many records that nobody has acknowledged are enough to wait for.
_MAX_BACKLOG = 100_000
_SETTLE_SECONDS = 10.0
# Partitions that had nothing for so long are told the time.
_QUIET_SECONDS = 1.0
_AGAIN_SECONDS = 2.0
_GAUGE = "conntrack_memory_connections"


class Totals:
    """What several partitions counted.

    Attributes:
        flows: How many flow logs were read.
        records: How many records were given out.
        broken: How many values were no flow log.
        metrics: The counters of the trackers.
        wrong: Fields with a value of a wrong type, by name, where flow logs are checked.
        unknown: Fields that the format does not know, likewise.
    """

    def __init__(self) -> None:
        """Start at nothing."""
        self.flows = self.records = self.broken = 0
        self.metrics: Counter[str] = Counter()
        self.wrong: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()

    def add(self, following: Following) -> None:
        """Add what was counted for a partition that goes elsewhere, live conversations not."""
        stream = following.stream
        self.flows += stream.flows
        self.records += stream.records
        self.broken += stream.broken + (following.reader.broken if following.reader else 0)
        if (reader := following.reader or stream.reader) is not None:
            add_counts(self.wrong, reader.wrong)
            add_counts(self.unknown, reader.unknown)
        for name, count in following.tracker.metrics().items():
            if not name.startswith(_GAUGE):
                self.metrics[name] += count


class SharedConversations:
    """Owns the conversations of the partitions that a source gives to this instance.

    A checkpoint is kept once the sink has acknowledged every record before it. What was given out
    after the last one comes again, the same under the same numbers, if the process is killed.

    Args:
        source: Where flow logs come from; `start` joins it.
        sink: Where records go.
        make: Makes what follows the conversations of a partition.
        fit: What tells configurations apart that give different records.
        warn: Takes a message for people.
        checkpoint_seconds: How often checkpoints are kept.
        discard_states: Whether conversations that cannot be taken up are given up.
        monotonic: The time, in seconds from any moment.

    Attributes:
        partitions: What is owned now.
        checkpoints: How many checkpoints were kept.
        discarded: How many partitions went on without their conversations.
        totals: What partitions that went elsewhere had counted here.
        lost_partitions: How many partitions others were given before their checkpoint was kept.
        unkept_records: How many records were given out after the last checkpoint of partitions
            that went elsewhere: others give out no more than these again.
    """

    def __init__(
        self,
        source: SharedSource,
        sink: RecordSink,
        make: Callable[[], Following],
        *,
        fit: str,
        warn: Callable[[str], object],
        checkpoint_seconds: float = 30.0,
        discard_states: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Connect the parts; `start` joins the others."""
        self.partitions: dict[Partition, PartitionConversations] = {}
        self.checkpoints = self.discarded = 0
        self.lost_partitions = self.unkept_records = 0
        self._is_refused = False
        self._source = source
        self._sink = sink
        self._make = make
        self._fit = fit
        self._interval = checkpoint_seconds
        self._discards = discard_states
        self._warn = warn
        self._monotonic = monotonic
        self._next_checkpoint = monotonic() + checkpoint_seconds
        self._quiet_since: dict[Partition, float] = {}
        # Clocks that are to be moved: until that stands in the checkpoints nothing else happens.
        self._planned: dict[Partition, int] = {}
        self.totals = Totals()

    def start(self) -> None:
        """Join the others."""
        self._source.start(self)

    def step(self, seconds: float) -> None:
        """Take what has come, and do what is due.

        Args:
            seconds: How long to wait if there is nothing.

        Raises:
            TriremeError: It cannot go on. Nothing is lost: what has no checkpoint comes again.
        """
        is_full = self._sink.backlog >= _MAX_BACKLOG
        for portion in self._source.poll(seconds, paused=is_full or bool(self._planned)):
            part = self.partitions.get(portion.partition)
            if part is not None:
                self._quiet_since[portion.partition] = self._monotonic()
                self._write(part, part.take(portion))
        if is_full:
            self._sink.settle(seconds)
        else:
            self._pass_time()
        now = self._monotonic()
        if now >= self._next_checkpoint:
            done = self.checkpoint()
            self._next_checkpoint = now + (self._interval if done else _AGAIN_SECONDS)

    def checkpoint(self, partitions: Sequence[Partition] | None = None) -> bool:
        """Keep checkpoints, as soon as everything before them is acknowledged.

        Args:
            partitions: Of which partitions; of all if it is None.

        Returns:
            Whether they were kept.
        """
        parts = self._owned(list(self.partitions) if partitions is None else partitions)
        changed = [part for part in parts if not part.is_kept]
        if not changed:
            return True
        if not self._sink.settle(_SETTLE_SECONDS):
            self._warn("the output has not been acknowledged; its checkpoint has to wait")
            return False
        checkpoints: dict[Partition, PartitionCheckpoint] = {}
        for part in changed:
            if (checkpoint := part.checkpoint()) is not None:
                checkpoints[part.partition] = checkpoint
        try:
            self._source.keep(checkpoints)
        except CheckpointError as error:
            self._note(error)
            return False
        for part in changed:
            part.keep()
        self.checkpoints += len(checkpoints)
        return True

    def close(self) -> None:
        """Keep checkpoints of everything and leave; the conversations go on elsewhere."""
        self._source.close()
        self._sink.close()

    def abandon(self) -> None:
        """Leave without a checkpoint, as after an error: what was not kept comes again."""
        self._forget(list(self.partitions))
        self.close()

    @property
    def flows(self) -> int:
        """How many flow logs were read here."""
        parts = self.partitions.values()
        return self.totals.flows + sum(part.following.stream.flows for part in parts)

    def assigned(self, partition: Partition, checkpoint: PartitionCheckpoint | None) -> None:
        """Take a partition; see `PartitionOwner`."""
        part = PartitionConversations(partition, self._make(), self._fit)
        if checkpoint is not None:
            try:
                part.restore(checkpoint)
            except ConfigError as error:
                if not self._discards:
                    raise
                self._warn(str(error))
                self.discarded += 1
                part = PartitionConversations(partition, self._make(), self._fit)
                part.restore(checkpoint, without_states=True)
        self.partitions[partition] = part
        self._quiet_since[partition] = self._monotonic()

    def revoking(self, partitions: Sequence[Partition]) -> None:
        """Keep a last checkpoint of partitions; see `PartitionOwner`."""
        self._is_refused = False
        try:
            if not self.checkpoint(partitions) and self._is_refused:
                self.lost_partitions += sum(not part.is_kept for part in self._owned(partitions))
        finally:
            self._forget(partitions)

    def lost(self, partitions: Sequence[Partition]) -> None:
        """Forget partitions; see `PartitionOwner`."""
        self.lost_partitions += len(self._owned(partitions))
        self._forget(partitions)

    def _owned(self, partitions: Sequence[Partition]) -> list[PartitionConversations]:
        return [part for name in partitions if (part := self.partitions.get(name)) is not None]

    def _forget(self, partitions: Sequence[Partition]) -> None:
        for partition in partitions:
            part = self.partitions.pop(partition, None)
            if part is not None:
                self.totals.add(part.following)
                self.unkept_records += part.unkept
            self._planned.pop(partition, None)
            self._quiet_since.pop(partition, None)

    def _note(self, error: CheckpointError) -> None:
        self._is_refused = error.is_usual
        if not error.is_usual:
            self._warn(str(error))

    def _write(self, part: PartitionConversations, records: list[bytes]) -> None:
        if records:
            first = part.given - len(records)
            self._sink.write(
                records, [f"{part.partition}/{first + index}" for index in range(len(records))]
            )

    def _pass_time(self) -> None:
        """Move the clocks of partitions that have nothing, where something is due."""
        now = self._monotonic()
        for name, part in self.partitions.items():
            quiet = now - self._quiet_since[name]
            if name in self._planned or quiet < _QUIET_SECONDS or part.position is None:
                continue
            due_ms = part.due_ms(int(quiet * 1_000))
            if not part.repeats and due_ms is None:
                continue
            if not self._source.is_at_end(name, part.position):
                self._quiet_since[name] = now
            elif part.repeats:
                self._write(part, part.repeat())
            elif due_ms is not None:
                self._planned[name] = due_ms
                self._quiet_since[name] = now
        if self._planned:
            self._move_clocks()

    def _move_clocks(self) -> None:
        """Move the clocks that are to be moved, once that stands in the checkpoints."""
        notes: dict[Partition, str] = {}
        without = []
        for name, move_ms in self._planned.items():
            note = self.partitions[name].note(move_ms)
            if note is None:
                without.append(name)
            else:
                notes[name] = note
        if without:
            for name in without:
                self.partitions[name].is_kept = False
            if not self.checkpoint(without):
                return
            notes |= {n: t for n in without if (t := self.partitions[n].note(self._planned[n]))}
        try:
            self._source.annotate(notes)
        except CheckpointError as error:
            self._note(error)
            return
        for name in notes:
            part = self.partitions[name]
            move_ms = self._planned.pop(name)
            self._write(part, part.move(move_ms))
