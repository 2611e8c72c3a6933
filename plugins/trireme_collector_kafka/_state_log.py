"""Live conversations in a topic: pieces that nobody but their own reference names."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Annotated, TypeAlias

import msgspec

from trireme_collector.netobserv.sharing import CheckpointError
from trireme_collector_kafka._clients import Silence, own_text
from trireme_collector_kafka._errors import explain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import confluent_kafka

    from trireme_collector.netobserv.sharing import Partition
    from trireme_collector_kafka._errors import KafkaFault

__all__ = ["StateLog", "StateReference"]

_POLL_SECONDS = 0.2
# A piece is a megabyte at most, so that is more than any memory.
_MAX_PIECES = 100_000
_Place: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
# The end of the partition, no such partition or topic, an offset that is not there (any more).
_ENDS = frozenset({-191, -190, -140, 1, 3})


class StateReference(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """Where the pieces of a checkpoint are; it stands beside the committed offset.

    Attributes:
        version: The version of this form.
        writer: Who wrote them: no two processes have one in common.
        number: Which of the writer's checkpoints it is.
        partition: The partition of the state topic.
        offset: Where the first of them is.
        pieces: How many there are.
    """

    version: int = msgspec.field(name="v", default=1)
    writer: str = msgspec.field(name="w", default="")
    number: _Place = msgspec.field(name="c", default=0)
    partition: _Place = msgspec.field(name="p", default=0)
    offset: _Place = msgspec.field(name="o", default=0)
    pieces: Annotated[int, msgspec.Meta(ge=0, le=_MAX_PIECES)] = msgspec.field(name="n", default=0)


class _Report:
    """What became of a piece."""

    __slots__ = ("fault", "offset")

    def __init__(self) -> None:
        self.fault: str | None = "no acknowledgement came"
        self.offset = -1

    def settle(self, fault: KafkaFault | None, message: confluent_kafka.Message) -> None:
        """Take the report of its delivery."""
        if fault is None:
            self.fault, self.offset = None, message.offset() or 0
        else:
            self.fault = explain(fault, tls=True)


class StateLog:
    """Writes the pieces of checkpoints, reads them, and removes those that nobody needs.

    Pieces of one checkpoint have names that no other checkpoint uses, so an instance that was
    taken for dead cannot touch what others wrote. They count from the moment at which a commit,
    which such an instance is refused, refers to them.

    Args:
        topic: The topic.
        group: The group that shares the partitions.
        producer: The configuration of a producer.
        consumer: The configuration of a consumer.
        timeout_seconds: How long brokers may take.
    """

    def __init__(
        self,
        topic: str,
        group: str,
        producer: Mapping[str, object],
        consumer: Mapping[str, object],
        timeout_seconds: float,
    ) -> None:
        """Connect."""
        import confluent_kafka  # noqa: PLC0415  belongs to the extra

        self._library = confluent_kafka
        self._topic = topic
        self._group = group
        self._timeout_seconds = timeout_seconds
        self._writer = uuid.uuid4().hex[:16]
        self._number = 0
        self._consumer_configuration = dict(consumer)
        self._producer = confluent_kafka.Producer(dict(producer), logger=Silence())
        self._partitions = 0

    def partitions(self) -> int:
        """Count the partitions of the topic; 0 if there is no such topic.

        Raises:
            CheckpointError: Nobody answers.
        """
        if not self._partitions:
            try:
                known = self._producer.list_topics(self._topic, timeout=self._timeout_seconds)
            except self._library.KafkaException as error:
                msg = f"the topic {self._topic!r} cannot be looked for: {own_text(error)}"
                raise CheckpointError(msg) from None
            found = known.topics.get(self._topic)
            self._partitions = 0 if found is None or found.error else len(found.partitions)
        return self._partitions

    def write(self, states: Mapping[Partition, Sequence[bytes]]) -> dict[Partition, StateReference]:
        """Write pieces and wait until all replicas have them.

        Raises:
            CheckpointError: Not all of them do.
        """
        self._number += 1
        reports: dict[Partition, list[_Report]] = {}
        count = self.partitions() if any(states.values()) else 1
        if not count:
            msg = f"there is no topic {self._topic!r}: create it with cleanup.policy=compact"
            raise CheckpointError(msg)
        for partition, pieces in states.items():
            number = partition.number % count
            reports[partition] = [
                self._put(number, self._key(partition, self._writer, self._number, index), piece)
                for index, piece in enumerate(pieces)
            ]
        self._flush()
        faults = [r.fault for listed in reports.values() for r in listed if r.fault is not None]
        if faults:
            # Asking for the topic tells the library that rights may have been given since.
            self._partitions = 0
            msg = (
                f"live conversations cannot be kept in the topic {self._topic!r}: {faults[0]};"
                " they are tried again"
            )
            raise CheckpointError(msg)
        return {
            partition: StateReference(
                writer=self._writer if listed else "",
                number=self._number if listed else 0,
                partition=partition.number % count,
                offset=min((report.offset for report in listed), default=0),
                pieces=len(listed),
            )
            for partition, listed in reports.items()
        }

    def remove(self, partition: Partition, reference: StateReference) -> None:
        """Let go of pieces that nobody refers to any more; nobody waits for that."""
        for index in range(reference.pieces):
            key = self._key(partition, reference.writer, reference.number, index)
            self._put(reference.partition, key, None)

    def read(self, partition: Partition, reference: StateReference) -> tuple[bytes, ...] | None:
        """Read the pieces of a checkpoint.

        Returns:
            None if some of them are not there.

        Raises:
            CheckpointError: Nobody answers.
        """
        if not reference.pieces:
            return ()
        wanted = {
            self._key(partition, reference.writer, reference.number, index): index
            for index in range(reference.pieces)
        }
        found: dict[int, bytes] = {}
        consumer = self._library.Consumer(self._consumer_configuration, logger=Silence())
        place = self._library.TopicPartition(self._topic, reference.partition, reference.offset)
        try:
            consumer.assign([place])
            limit = time.monotonic() + self._timeout_seconds
            while len(found) < len(wanted):
                # It waits for as many as it is asked for, and more may never come.
                messages = consumer.consume(len(wanted) - len(found), _POLL_SECONDS)
                for message in messages:
                    fault = message.error()
                    if fault is None:
                        index = wanted.get(message.key() or b"")
                        if index is not None:
                            found[index] = message.value() or b""
                    elif fault.code() in _ENDS:
                        return None
                if messages:
                    limit = time.monotonic() + self._timeout_seconds
                elif time.monotonic() > limit:
                    msg = f"no broker gives the live conversations of {partition}"
                    raise CheckpointError(msg)
        except self._library.KafkaException as error:
            msg = f"the live conversations of {partition} cannot be read: {own_text(error)}"
            raise CheckpointError(msg) from None
        finally:
            consumer.close()
        return tuple(found[index] for index in range(reference.pieces))

    def close(self) -> None:
        """End it; what was to be removed is removed if that is quick."""
        self._producer.flush(1.0)
        self._producer.purge()
        self._producer.flush(1.0)

    def _key(self, partition: Partition, writer: str, number: int, index: int) -> bytes:
        return f"{self._group}|{partition}|{writer}|{number}|{index}".encode()

    def _put(self, number: int, key: bytes, value: bytes | None) -> _Report:
        report = _Report()
        try:
            self._producer.produce(self._topic, value, key, number, on_delivery=report.settle)
        except (BufferError, self._library.KafkaException) as error:
            report.fault = own_text(error)
        return report

    def _flush(self) -> None:
        if self._producer.flush(self._timeout_seconds):
            # Given up, so that they cannot come late; the next attempt has other names.
            self._producer.purge()
            self._producer.flush(1.0)
