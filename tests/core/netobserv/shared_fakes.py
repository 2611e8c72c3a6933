"""A source and a sink in memory, for instances that are killed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from tests.core.netobserv.flows import config, flow
from trireme_collector.netobserv import (
    ConversationStream,
    Following,
    SharedConversations,
    Tracker,
)
from trireme_collector.netobserv.sharing import (
    CheckpointError,
    Partition,
    PartitionCheckpoint,
    Portion,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from trireme_collector.netobserv.sharing import PartitionOwner

__all__ = ["Killed", "MemorySink", "MemorySource", "Topic", "following", "instance"]


class Killed(Exception):  # noqa: N818  it stands for a signal
    """The process is gone."""


class Topic:
    """Partitions of flow logs, with what a group has committed."""

    def __init__(self, partitions: int) -> None:
        self.logs: dict[Partition, list[tuple[int, bytes]]] = {
            Partition("flows", n): [] for n in range(partitions)
        }
        self.committed: dict[Partition, PartitionCheckpoint] = {}
        self.sent = 0

    def send(self, time_ms: int, host: int, **fields: object) -> None:
        """Write a flow log; the host decides about the partition."""
        self.sent += 1
        partition = Partition("flows", host % len(self.logs))
        value = msgspec.json.encode(flow(host, 250, Bytes=1, **fields))
        self.logs[partition].append((time_ms, value))


class MemorySource:
    """Gives one instance the partitions that it is told.

    Attributes:
        lives: How many calls succeed before the process is killed; None for all.
        fails: How many commits fail first, their outcome unknown: they were done.
        is_fenced: Whether the partitions are given to somebody else already.
    """

    def __init__(self, topic: Topic) -> None:
        self.values: Literal["netobserv", "native"] = "netobserv"
        self.topic = topic
        self.lives: int | None = None
        self.fails = 0
        self.is_fenced = False
        self.is_paused = False
        self._places: dict[Partition, int] = {}
        self._kept: dict[Partition, PartitionCheckpoint] = {}
        self.size = 3

    def start(self, owner: PartitionOwner) -> None:
        self.owner = owner

    def assign(self, *partitions: Partition) -> None:
        for partition in partitions:
            found = self.topic.committed.get(partition)
            self._places[partition] = found.offset if found else 0
            if found:
                self._kept[partition] = found
            self.owner.assigned(partition, found)

    def revoke(self, *partitions: Partition) -> None:
        self.owner.revoking(partitions)
        for partition in partitions:
            del self._places[partition]

    def poll(self, seconds: float, *, paused: bool = False) -> Iterable[Portion]:
        del seconds
        self._live()
        self.is_paused = paused
        if paused:
            return []
        portions = []
        for partition, place in self._places.items():
            rows = self.topic.logs[partition][place : place + self.size]
            if rows:
                offsets = range(place, place + len(rows))
                portions.append(
                    Portion(partition, offsets, [r[0] for r in rows], [r[1] for r in rows])
                )
                self._places[partition] = place + len(rows)
        return portions

    def keep(self, checkpoints: Mapping[Partition, PartitionCheckpoint]) -> None:
        self._live()
        if self.is_fenced:
            raise CheckpointError("of another generation", is_usual=True)
        self.topic.committed |= checkpoints
        self._live()
        self._fail()
        # Notes go to the last one that is known to be kept.
        self._kept |= checkpoints

    def annotate(self, notes: Mapping[Partition, str]) -> None:
        self._live()
        for partition, note in notes.items():
            self.topic.committed[partition] = msgspec.structs.replace(
                self._kept[partition], note=note
            )
        self._live()
        self._fail()

    def is_at_end(self, partition: Partition, offset: int) -> bool:
        return offset == len(self.topic.logs[partition])

    def close(self) -> None:
        self.revoke(*self._places)

    def _live(self) -> None:
        if self.lives is not None:
            self.lives -= 1
            if self.lives < 0:
                raise Killed

    def _fail(self) -> None:
        if self.fails:
            self.fails -= 1
            raise CheckpointError("nobody answered")


class MemorySink:
    """Keeps records under their places; the same place must have the same record."""

    def __init__(self) -> None:
        self.records: dict[str, bytes] = {}
        self.repeated = 0
        self.backlog = 0
        self.settles = True

    def write(self, lines: Sequence[bytes], places: Sequence[str]) -> None:
        for line, place in zip(lines, places, strict=True):
            if place in self.records:
                self.repeated += 1
                assert self.records[place] == line, place
            self.records[place] = line

    def settle(self, seconds: float) -> bool:
        del seconds
        return self.settles

    def close(self) -> None:
        pass


def following(**changes: object) -> Following:
    """Make what follows a partition, all types of records."""
    tracker = Tracker.from_config(config(**changes), max_conversations=3)
    stream = ConversationStream(tracker, by_time=False)
    return Following(tracker, stream, stream.take_lines, by_time=False)


def instance(
    source: MemorySource, sink: MemorySink, now: list[float], **options: object
) -> SharedConversations:
    """Make an instance that has joined."""
    said: list[str] = []
    shared = SharedConversations(
        source,
        sink,
        following,
        fit="test",
        warn=said.append,
        monotonic=lambda: now[0],
        **options,  # type: ignore[arg-type]  # whatever a test changes
    )
    shared.start()
    return shared
