"""Flow logs that any number of instances share: what sources and sinks of packages offer.

A source divides its flow logs into partitions. Each has one owner at a time, which keeps the
conversations of it and hands them, as a `PartitionCheckpoint`, to the source for whoever comes
after.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Generic, Literal, NamedTuple, Protocol, TypeVar

import msgspec

from trireme_collector.errors import TriremeError
from trireme_collector.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = [
    "RECORD_SINK_GROUP",
    "CheckpointError",
    "Partition",
    "PartitionCheckpoint",
    "PartitionOwner",
    "Portion",
    "RecordSink",
    "RecordSinkSpec",
    "SharedSource",
    "SharedSourceSpec",
    "SourceError",
]

RECORD_SINK_GROUP = "trireme_collector.record_sinks"
"""The entry-point group of sinks: a name and a `RecordSinkSpec`."""

ConfigT = TypeVar("ConfigT", bound=msgspec.Struct)


class SourceError(TriremeError):
    """A source cannot go on."""

    exit_code = ExitCode.INPUT


class CheckpointError(TriremeError):
    """A checkpoint was not kept; what it stands for may be given out again.

    Attributes:
        is_usual: Whether it is nothing to worry about: partitions are just being divided anew.
    """

    def __init__(self, message: str, *, is_usual: bool = False) -> None:
        """Keep beside the message whether people should know."""
        super().__init__(message)
        self.is_usual = is_usual


class Partition(NamedTuple):
    """A part of the flow logs that belongs together.

    Attributes:
        topic: What it is a part of.
        number: Which part.
    """

    topic: str
    number: int

    def __str__(self) -> str:
        """Write it as messages name it."""
        return f"{self.topic}/{self.number}"


class Portion(NamedTuple):
    """Flow logs of one partition, in their order; the lists are of one length.

    Attributes:
        partition: The partition.
        offsets: The place of each in the partition.
        times_ms: When each was written there.
        values: The flow logs.
    """

    partition: Partition
    offsets: Sequence[int]
    times_ms: Sequence[int]
    values: Sequence[bytes]


class PartitionCheckpoint(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """All that the next owner of a partition needs in order to go on.

    Attributes:
        offset: The first flow log that does not count yet.
        note: A text of at most 3,000 characters.
        states: The live conversations, in pieces that are small enough for one message; None if
            they were kept and cannot be found.
    """

    offset: int
    note: str
    states: tuple[bytes, ...] | None = ()


class PartitionOwner(Protocol):
    """Whoever follows the conversations; called while the source is polled or closed."""

    def assigned(self, partition: Partition, checkpoint: PartitionCheckpoint | None) -> None:
        """Take a partition: from its checkpoint, or from its beginning if there is none."""

    def revoking(self, partitions: Sequence[Partition]) -> None:
        """Bring partitions to an end: this is the last time that they can be kept."""

    def lost(self, partitions: Sequence[Partition]) -> None:
        """Forget partitions that belong to somebody else already."""


class SharedSource(Protocol):
    """Gives flow logs to one of several instances, and keeps its checkpoints.

    Attributes:
        values: What is read: flow logs of the format, or records of ours in JSON.
    """

    values: Literal["netobserv", "native"]

    def start(self, owner: PartitionOwner) -> None:
        """Join the others.

        Raises:
            TriremeError: It cannot.
        """

    def poll(self, seconds: float, *, paused: bool = False) -> Iterable[Portion]:
        """Give what has come, or nothing after some time; call the owner about partitions.

        It must be called every few minutes at least, or the others take the partitions over.

        Args:
            seconds: How long to wait.
            paused: Whether no flow logs are wanted now.

        Raises:
            SourceError: It cannot go on.
        """
        ...

    def keep(self, checkpoints: Mapping[Partition, PartitionCheckpoint]) -> None:
        """Keep checkpoints; whoever takes a partition from now on begins there.

        Raises:
            CheckpointError: At least one was not kept; earlier ones still count.
        """

    def annotate(self, notes: Mapping[Partition, str]) -> None:
        """Change the note of the checkpoints that were kept last.

        Raises:
            CheckpointError: At least one was not changed.
        """

    def is_at_end(self, partition: Partition, offset: int) -> bool:
        """Ask whether there is nothing at this offset or beyond; no if nobody answers."""
        ...

    def close(self) -> None:
        """Leave the others; the owner is told before."""


class RecordSink(Protocol):
    """Takes conversation records."""

    @property
    def backlog(self) -> int:
        """How many lines were not acknowledged yet."""
        ...

    def write(self, lines: Sequence[bytes], places: Sequence[str]) -> None:
        """Take records without waiting for them.

        Args:
            lines: Records as JSON, without line ends.
            places: For each, a text that is the same whenever it is written again.

        Raises:
            TriremeError: It will never take them.
        """

    def settle(self, seconds: float) -> bool:
        """Wait until all that was written is safe; give whether it is.

        Raises:
            TriremeError: It never will be.
        """
        ...

    def close(self) -> None:
        """End it; what is not settled is given up."""


@dataclasses.dataclass(frozen=True)
class SharedSourceSpec(Generic[ConfigT]):
    """What an entry point of the group ``trireme_collector.flow_sources`` may name.

    Attributes:
        config_type: The options, strictly typed.
        factory: Makes the source from options, the names of what is read, and the name of the
            group that shares it.
    """

    config_type: type[ConfigT]
    factory: Callable[[ConfigT, Sequence[str], str], SharedSource]


@dataclasses.dataclass(frozen=True)
class RecordSinkSpec(Generic[ConfigT]):
    """What an entry point of the group ``trireme_collector.record_sinks`` names.

    Attributes:
        config_type: The options, strictly typed.
        factory: Makes the sink from options and the name of what is written to.
    """

    config_type: type[ConfigT]
    factory: Callable[[ConfigT, str], RecordSink]
