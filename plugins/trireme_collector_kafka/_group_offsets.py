"""The offsets of a consumer group, and what is written beside them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from trireme_collector import ConfigError
from trireme_collector.netobserv.sharing import CheckpointError, SourceError
from trireme_collector_kafka._clients import group_says, own_text
from trireme_collector_kafka._errors import explain
from trireme_collector_kafka._state_log import StateReference

if TYPE_CHECKING:
    from collections.abc import Mapping

    import confluent_kafka

    from trireme_collector.netobserv.sharing import Partition

__all__ = ["GroupOffsets"]

_ATTEMPTS = 8
_COMMITS = 5
_COMMIT_SECONDS = 0.1
# The coordinator of the group moves, or is just dividing the partitions.
_SOON_OVER = frozenset({14, 15, 16, 27})
# Generation or member are not what they were, or are just being found out.
_BETWEEN_OWNERS = frozenset({22, 25, 27, -142, -144})


class GroupOffsets:
    """Commits offsets together with where the live conversations of that moment are.

    Args:
        consumer: A member of the group.
        group: The name of the group.
        timeout_seconds: How long brokers may take to answer.
    """

    def __init__(
        self, consumer: confluent_kafka.Consumer, group: str, timeout_seconds: float
    ) -> None:
        """Ask nobody yet."""
        self._consumer = consumer
        self._group = group
        self._timeout_seconds = timeout_seconds

    def committed(
        self, places: list[confluent_kafka.TopicPartition]
    ) -> list[confluent_kafka.TopicPartition]:
        """Ask what was committed, patiently: a wrong start would count everything again.

        Raises:
            SourceError: Nobody tells.
        """
        import confluent_kafka  # noqa: PLC0415  belongs to the extra

        if not places:
            return []
        said = ""
        for _ in range(_ATTEMPTS):
            try:
                found = self._consumer.committed(places, timeout=self._timeout_seconds / 2)
            except confluent_kafka.KafkaException as error:
                said = own_text(error)
                continue
            faults = [place.error for place in found if place.error is not None]
            if not faults:
                return found
            said = str(faults[0])
        text = f"nobody tells which offsets were committed: {said}"
        raise SourceError(group_says(self._group, text))

    def read(
        self, partition: Partition, place: confluent_kafka.TopicPartition
    ) -> tuple[StateReference, str]:
        """Read what stands beside an offset: where the states are, and a note.

        Raises:
            ConfigError: Somebody else has committed it.
        """
        head, _, note = (place.metadata or "").partition("\n")
        try:
            return msgspec.json.decode(head, type=StateReference), note
        except ValueError:
            msg = (
                f"somebody else commits offsets for {partition} in the group {self._group!r}; use"
                " another --group"
            )
            raise ConfigError(msg) from None

    def commit(self, entries: Mapping[Partition, tuple[int, StateReference, str]]) -> None:
        """Commit offsets, each with its reference and its note.

        Raises:
            CheckpointError: They cannot be committed, or not by us any more.
        """
        import confluent_kafka  # noqa: PLC0415  belongs to the extra

        places = [
            confluent_kafka.TopicPartition(
                *partition, offset, f"{msgspec.json.encode(reference).decode()}\n{note}"
            )
            for partition, (offset, reference, note) in entries.items()
        ]
        faults: list[confluent_kafka.KafkaError] = []
        for attempt in range(_COMMITS):
            try:
                done = self._consumer.commit(offsets=places, asynchronous=False)
            except confluent_kafka.KafkaException as error:
                faults = [error.args[0]]
            else:
                faults = [place.error for place in done or () if place.error is not None]
            if not any(fault.code() in _SOON_OVER for fault in faults):
                break
            time.sleep(_COMMIT_SECONDS * attempt)
        if faults:
            said = explain(faults[0], tls=True)
            text = f"offsets of the group {self._group!r} cannot be committed: {said}"
            raise CheckpointError(text, is_usual=faults[0].code() in _BETWEEN_OWNERS)
