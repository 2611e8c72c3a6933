"""The options of the Kafka collector."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from trireme_collector import option_addresses  # noqa: TC001  msgspec reads the annotations
from trireme_collector_kafka._connection import ConnectionOptions, TopicName, check_topic

__all__ = ["KafkaOptions"]


class KafkaOptions(ConnectionOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of the collector ``kafka``.

    Attributes:
        topic: The topic. It is not created.
        format: ``json`` for the JSON form of the records, ``netobserv`` for flow logs; then
            records that are no flows are not taken.
        agent_ip: The address of this host, for ``AgentIP`` in flow logs.
        key: ``addresses`` gives both ways of a conversation one partition, ``none`` spreads
            records evenly.
        partitioner: How a key chooses its partition: as Java clients do (``murmur2``), as
            librdkafka does (``crc32``), or as Go clients and the agent of NetObserv do
            (``fnv1a``).
        compression: How batches of messages are compressed.
        max_message_bytes: The largest message, and the largest batch; not more than
            ``max.message.bytes`` of the topic.
        timeout_seconds: How long a batch may wait for its acknowledgement before that counts as a
            failure. The messages stay on their way meanwhile.
    """

    topic: TopicName
    format: Literal["json", "netobserv"] = "json"
    agent_ip: option_addresses.IpAddress = ""
    key: Literal["addresses", "none"] = "addresses"
    partitioner: Literal["murmur2", "crc32", "fnv1a"] = "murmur2"
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = "lz4"
    max_message_bytes: Annotated[int, msgspec.Meta(ge=1024, le=1_000_000_000)] = 1_000_000
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=300)] = 30.0

    def __post_init__(self) -> None:
        """Refuse options that exclude each other.

        Raises:
            ValueError: They do.
        """
        super().__post_init__()
        # Again, for those who build their options without a file.
        check_topic(self.topic)
        if self.agent_ip and self.format != "netobserv":
            raise ValueError("format = netobserv beside agent_ip")
