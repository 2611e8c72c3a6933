"""The options of the source and of the sink for conversations."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

from trireme_collector_kafka._connection import ConnectionOptions, check_topic

__all__ = ["KafkaSinkOptions", "KafkaSourceOptions"]

_InstanceId: TypeAlias = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9._-]{0,249}$(?!\n)",
        extra={"expected": "at most 249 letters, digits, '.', '_' and '-'"},
    ),
]


def _check_optional_topic(value: object) -> None:
    if value:
        check_topic(value)


_OptionalTopic: TypeAlias = Annotated[str, msgspec.Meta(extra={"validate": _check_optional_topic})]
_Compression: TypeAlias = Literal["none", "gzip", "snappy", "lz4", "zstd"]


class KafkaSourceOptions(ConnectionOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of the source ``kafka``.

    Attributes:
        format: ``netobserv`` if the messages are flow logs, ``json`` if they are records of ours.
        state_topic: Where live conversations are kept, a topic with ``cleanup.policy=compact``;
            the name of the group with ``-state`` if empty. It is not created.
        compression: How they are compressed there.
        instance_id: A name of this instance alone, under which it gets its partitions back when it
            is started again within ``session_timeout_seconds``; then nobody takes them over.
        session_timeout_seconds: After how long without a sign of life the others take over.
        prefetch_bytes: How much is fetched ahead.
        timeout_seconds: How long brokers may take to answer.
    """

    format: Literal["netobserv", "json"] = "netobserv"
    state_topic: _OptionalTopic = ""
    compression: _Compression = "zstd"
    instance_id: _InstanceId = ""
    session_timeout_seconds: Annotated[float, msgspec.Meta(ge=1, le=1800)] = 45.0
    prefetch_bytes: Annotated[int, msgspec.Meta(ge=1_048_576, le=1_073_741_824)] = 16_777_216
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=300)] = 30.0

    def __post_init__(self) -> None:
        """Refuse options that exclude each other.

        Raises:
            ValueError: They do.
        """
        super().__post_init__()
        _check_optional_topic(self.state_topic)


class KafkaSinkOptions(ConnectionOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of the sink ``kafka``.

    Attributes:
        partitioner: How the id of a conversation chooses a partition; see the collector.
        compression: How batches of messages are compressed.
        max_message_bytes: The largest message, and the largest batch; not more than
            ``max.message.bytes`` of the topic.
    """

    partitioner: Literal["murmur2", "crc32", "fnv1a"] = "murmur2"
    compression: _Compression = "lz4"
    max_message_bytes: Annotated[int, msgspec.Meta(ge=1024, le=1_000_000_000)] = 1_000_000
