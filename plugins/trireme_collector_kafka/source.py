"""The source ``kafka``: flow logs of topics, divided among the instances of a consumer group."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Literal

from trireme_collector import ConfigError
from trireme_collector.netobserv.sharing import (
    CheckpointError,
    Partition,
    PartitionCheckpoint,
    Portion,
    SharedSourceSpec,
    SourceError,
)
from trireme_collector.option_secrets import SecretError
from trireme_collector_kafka._clients import Silence, group_says, own_text, require_library
from trireme_collector_kafka._configuration import (
    connection_configuration,
    producer_configuration,
)
from trireme_collector_kafka._connection import check_topic
from trireme_collector_kafka._source_options import KafkaSourceOptions
from trireme_collector_kafka._state_log import StateLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import confluent_kafka
    from structlog.typing import FilteringBoundLogger

    from trireme_collector.netobserv.sharing import PartitionOwner
    from trireme_collector_kafka._state_log import StateReference

__all__ = ["SOURCE", "KafkaSource", "KafkaSourceOptions"]

_BATCH = 2_000
_ASK_SECONDS = 2.0
_SILENCE_SECONDS = 5.0
_ATTEMPTS = 8
_PARTITION_EOF = -191
# Troubles that no waiting mends.
_HOPELESS = frozenset({58, -169, 33, 34, -181})
_FAULTS = {
    3: "a topic does not exist any more; create it",
    -188: "a topic does not exist any more; create it",
    29: "this user may not read a topic; give it the right READ",
    30: "this user may not join the group; give it the right READ on the group",
}


class KafkaSource:
    """A member of a consumer group.

    The offset that is committed is that of the last checkpoint, and beside it stands where the
    live conversations of that moment are: one commit decides both, and brokers take it from
    the owner of a partition alone.

    Args:
        options: How brokers are reached and where states are kept.
        topics: The topics with flow logs.
        group: The group.

    Attributes:
        values: What the messages are.
        gone: How many offsets were not there any more when they were to be read.
    """

    def __init__(self, options: KafkaSourceOptions, topics: Sequence[str], group: str) -> None:
        """Keep the options; connect nowhere.

        Raises:
            ConfigError: The names cannot be those of a group and of topics.
        """
        self.values: Literal["netobserv", "native"]
        self.values = "native" if options.format == "json" else "netobserv"
        self.gone = 0
        self._options = options
        self._topics = list(topics)
        self._group = group
        self._state_topic = options.state_topic or f"{group}-state"
        if not self._topics or not group:
            msg = "the source 'kafka' needs the name of a group, and at least one topic"
            raise ConfigError(msg)
        for topic in (*self._topics, self._state_topic):
            try:
                check_topic(topic)
            except ValueError as error:
                msg = f"{topic!r} cannot be the name of a topic: {error}"
                raise ConfigError(msg) from error
        self._failure: Exception | None = None
        self._kept: dict[Partition, tuple[int, StateReference]] = {}
        self._ends: dict[Partition, int] = {}
        self._silent_until = 0.0
        self._is_paused: bool | None = None

    def start(self, owner: PartitionOwner) -> None:
        """Join the group.

        Raises:
            ConfigError: Something is missing: the extra, a file, a topic.
            SourceError: No broker answers.
        """
        require_library("the source 'kafka'")
        import confluent_kafka  # noqa: PLC0415  belongs to the extra

        self._library = confluent_kafka
        self._owner = owner
        options = self._options
        try:
            base = connection_configuration(options)
        except SecretError as error:
            raise ConfigError(f"source 'kafka': {error}") from error
        reading = {
            **base,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "queued.max.messages.kbytes": options.prefetch_bytes // 1024,
        }
        producer = {**base, **producer_configuration(), "compression.type": options.compression}
        group = {
            "group.id": self._group,
            "group.instance.id": options.instance_id,
            "auto.offset.reset": "earliest",
            "session.timeout.ms": int(options.session_timeout_seconds * 1_000),
            "heartbeat.interval.ms": int(min(3.0, options.session_timeout_seconds / 3) * 1_000),
            # Partitions that stay are not taken away and given back.
            "partition.assignment.strategy": "cooperative-sticky",
        }
        single = {**reading, "group.id": self._group, "auto.offset.reset": "error"}
        if not options.instance_id:
            del group["group.instance.id"]
        try:
            self._states = StateLog(
                self._state_topic, self._group, producer, single, options.timeout_seconds
            )
            self._consumer = confluent_kafka.Consumer(
                {**reading, **group, "error_cb": self._note}, logger=Silence()
            )
        except confluent_kafka.KafkaException as error:
            raise ConfigError(f"source 'kafka': {own_text(error, tls=options.tls)}") from None
        # The library belongs to the extra.
        from trireme_collector_kafka._group_offsets import GroupOffsets  # noqa: PLC0415

        self._offsets = GroupOffsets(self._consumer, self._group, options.timeout_seconds)
        self._announce()
        self._require_topics()
        self._consumer.subscribe(
            self._topics,
            on_assign=self._guarded(self._assign),
            on_revoke=self._guarded(self._revoke),
            on_lost=self._guarded(self._lose),
        )

    def poll(self, seconds: float, *, paused: bool = False) -> Iterable[Portion]:
        """Give what has come; see `SharedSource`."""
        self._pause(paused=paused)
        try:
            messages = self._consumer.consume(_BATCH, seconds)
        except self._library.KafkaException as error:
            messages = []
            self._failure = self._failure or SourceError(self._says(own_text(error)))
        self._raise_failure()
        found: dict[tuple[str, int], tuple[list[int], list[int], list[bytes]]] = {}
        for message in messages:
            if (fault := message.error()) is not None:
                self._look_at(fault, message)
                continue
            name = (message.topic() or "", message.partition() or 0)
            lists = found.get(name)
            if lists is None:
                lists = found[name] = ([], [], [])
            lists[0].append(message.offset() or 0)
            lists[1].append(message.timestamp()[1])
            lists[2].append(message.value() or b"")
        self._raise_failure()
        return [Portion(Partition(*name), *lists) for name, lists in found.items()]

    def keep(self, checkpoints: Mapping[Partition, PartitionCheckpoint]) -> None:
        """Keep checkpoints; see `SharedSource`."""
        references = self._states.write({p: c.states or () for p, c in checkpoints.items()})
        self._offsets.commit(
            {p: (c.offset, references[p], c.note) for p, c in checkpoints.items()},
        )
        for partition, checkpoint in checkpoints.items():
            old = self._kept.get(partition)
            self._kept[partition] = checkpoint.offset, references[partition]
            if old is not None:
                self._states.remove(partition, old[1])

    def annotate(self, notes: Mapping[Partition, str]) -> None:
        """Change the notes beside the offsets; see `SharedSource`."""
        self._offsets.commit({p: (*self._kept[p], note) for p, note in notes.items()})

    def is_at_end(self, partition: Partition, offset: int) -> bool:
        """Ask the leader whether there is more; see `SharedSource`."""
        now = time.monotonic()
        if self._is_paused or now < self._silent_until:
            return False
        place = self._library.TopicPartition(*partition)
        try:
            marks = self._consumer.get_watermark_offsets(place, timeout=_ASK_SECONDS)
        except self._library.KafkaException:
            marks = None
        if marks is None:
            self._silent_until = now + _SILENCE_SECONDS
            return False
        # Marks of transactions stand at the end, too, and are not given out.
        return marks[1] in (offset, self._ends.get(partition, -1))

    def close(self) -> None:
        """Leave the group; see `SharedSource`."""
        self._consumer.close()
        self._states.close()
        self._raise_failure()

    def _assign(self, places: list[confluent_kafka.TopicPartition]) -> None:
        starts = []
        for place in self._offsets.committed(places):
            partition = Partition(place.topic, place.partition)
            checkpoint = self._restored(partition, place)
            self._owner.assigned(partition, checkpoint)
            offset = self._library.OFFSET_BEGINNING if checkpoint is None else checkpoint.offset
            starts.append(self._library.TopicPartition(*partition, offset))
            self._ends.pop(partition, None)
        self._consumer.incremental_assign(starts)
        # Old ones may be paused, new ones may have been here before: both are told again.
        self._is_paused = None

    def _restored(
        self, partition: Partition, place: confluent_kafka.TopicPartition
    ) -> PartitionCheckpoint | None:
        if place.offset < 0:
            return None
        reference, note = self._offsets.read(partition, place)
        states = self._states_of(partition, reference)
        self._kept[partition] = place.offset, reference
        self._count_gone(partition, place.offset)
        return PartitionCheckpoint(offset=place.offset, note=note, states=states)

    def _states_of(
        self, partition: Partition, reference: StateReference
    ) -> tuple[bytes, ...] | None:
        said = ""
        for _ in range(_ATTEMPTS):
            try:
                return self._states.read(partition, reference)
            except CheckpointError as error:
                said = str(error)
        raise SourceError(self._says(said))

    def _count_gone(self, partition: Partition, offset: int) -> None:
        """Tell when the topic was emptied faster than it was read."""
        place = self._library.TopicPartition(*partition)
        try:
            marks = self._consumer.get_watermark_offsets(place, timeout=_ASK_SECONDS)
        except self._library.KafkaException:
            marks = None
        if marks is not None and marks[0] > offset:
            self.gone += marks[0] - offset
            _logger().warning(
                "flow_logs_gone",
                partition=str(partition),
                offsets=marks[0] - offset,
                remedy="keep the topic for longer than the group may be away",
            )

    def _revoke(self, places: list[confluent_kafka.TopicPartition]) -> None:
        partitions = [Partition(place.topic, place.partition) for place in places]
        try:
            self._owner.revoking(partitions)
        finally:
            self._forget(partitions)
            self._consumer.incremental_unassign(places)

    def _lose(self, places: list[confluent_kafka.TopicPartition]) -> None:
        partitions = [Partition(place.topic, place.partition) for place in places]
        self._owner.lost(partitions)
        self._forget(partitions)
        self._consumer.incremental_unassign(places)
        _logger().warning(
            "partitions_lost",
            partitions=[str(partition) for partition in partitions],
            meaning="others go on from the last checkpoint",
        )

    def _forget(self, partitions: Sequence[Partition]) -> None:
        for partition in partitions:
            self._kept.pop(partition, None)
            self._ends.pop(partition, None)

    def _guarded(
        self, call: Callable[[list[confluent_kafka.TopicPartition]], None]
    ) -> Callable[[confluent_kafka.Consumer, list[confluent_kafka.TopicPartition]], None]:
        """Keep what a callback raises until the library has returned."""

        def guarded(
            consumer: confluent_kafka.Consumer, places: list[confluent_kafka.TopicPartition]
        ) -> None:
            del consumer
            try:
                call(places)
            except Exception as error:  # noqa: BLE001  raised again by _raise_failure
                self._failure = self._failure or error

        return guarded

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _pause(self, *, paused: bool) -> None:
        if paused == self._is_paused:
            return
        places = self._consumer.assignment()
        (self._consumer.pause if paused else self._consumer.resume)(places)
        self._is_paused = paused

    def _look_at(self, fault: confluent_kafka.KafkaError, message: confluent_kafka.Message) -> None:
        if fault.code() == _PARTITION_EOF:
            partition = Partition(message.topic() or "", message.partition() or 0)
            self._ends[partition] = message.offset() or 0
        else:
            self._note(fault)

    def _note(self, fault: confluent_kafka.KafkaError) -> None:
        """Take an error that concerns no message: most pass by themselves."""
        if (found := _FAULTS.get(fault.code())) is not None:
            text = found
        elif fault.fatal() or fault.code() in _HOPELESS:
            text = own_text(self._library.KafkaException(fault), tls=self._options.tls)
        else:
            return
        self._failure = self._failure or SourceError(self._says(text))

    def _require_topics(self) -> None:
        try:
            known = self._consumer.list_topics(timeout=self._options.timeout_seconds).topics
        except self._library.KafkaException as error:
            # Why nobody answered was told beside it: TLS, or a password.
            self._consumer.poll(0)
            self._raise_failure()
            raise SourceError(self._says(own_text(error, tls=self._options.tls))) from None
        for topic in (*self._topics, self._state_topic):
            if topic not in known:
                policy = ", with cleanup.policy=compact" if topic == self._state_topic else ""
                msg = f"the topic {topic!r} does not exist, or may not be described; create it"
                raise ConfigError(self._says(f"{msg}{policy}"))

    def _announce(self) -> None:
        options = self._options
        if options.tls and not options.verify:
            _logger().warning("tls_verification_off", source="kafka", brokers=options.brokers)
        if options.sasl_mechanism and not options.tls:
            _logger().warning("credentials_unencrypted", source="kafka", brokers=options.brokers)

    def _says(self, text: str) -> str:
        return group_says(self._group, text)


@functools.cache
def _logger() -> FilteringBoundLogger:
    import structlog  # noqa: PLC0415  not needed as long as all is well

    logger: FilteringBoundLogger = structlog.get_logger("trireme_collector.kafka")
    return logger


SOURCE: SharedSourceSpec[KafkaSourceOptions] = SharedSourceSpec(
    config_type=KafkaSourceOptions, factory=KafkaSource
)
"""What the entry point names."""
