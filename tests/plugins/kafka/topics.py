"""Reading what a topic holds."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Received", "read"]

_PATIENCE_SECONDS = 30.0


class Received(NamedTuple):
    """A message as a consumer gets it."""

    value: bytes
    key: bytes | None
    partition: int
    headers: dict[str, bytes]


def read(brokers: Sequence[str], topic: str) -> list[Received]:
    """Read a topic from its begin to its end, partition by partition."""
    import confluent_kafka  # noqa: PLC0415  belongs to the extra

    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": ",".join(brokers),
            "group.id": "test",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
        }
    )
    try:
        known = consumer.list_topics(topic, timeout=_PATIENCE_SECONDS).topics[topic].partitions
        places = [confluent_kafka.TopicPartition(topic, n, 0) for n in known]
        consumer.assign(places)
        found: dict[int, list[Received]] = {n: [] for n in known}
        open_ends = set(known)
        limit = time.monotonic() + _PATIENCE_SECONDS
        while open_ends:
            assert time.monotonic() < limit, f"{open_ends} have no end"
            message = consumer.poll(0.1)
            if message is None:
                continue
            error = message.error()
            partition = message.partition()
            assert partition is not None
            if error is None:
                pairs: list[tuple[str, bytes]] = message.headers() or []  # type: ignore[assignment]  # what is read is this
                found[partition].append(
                    Received(
                        message.value() or b"",
                        message.key(),
                        partition,
                        dict(pairs),
                    )
                )
            elif error.code() == confluent_kafka.KafkaError._PARTITION_EOF:
                open_ends.discard(partition)
        return [message for partition in sorted(found) for message in found[partition]]
    finally:
        consumer.close()
