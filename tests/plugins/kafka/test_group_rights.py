"""A user who may not do what a group needs is told which right is missing; nothing is given out."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

import pytest

from tests.plugins.kafka.mock_cluster import PRODUCE
from tests.plugins.kafka.topics import read
from trireme_collector.netobserv.sharing import (
    CheckpointError,
    Partition,
    PartitionCheckpoint,
    SourceError,
)
from trireme_collector_kafka._source_options import KafkaSinkOptions, KafkaSourceOptions
from trireme_collector_kafka.sink import KafkaSink, SinkError
from trireme_collector_kafka.source import KafkaSource

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.plugins.kafka.mock_cluster import MockCluster

_FETCH, _COMMIT, _JOIN = 1, 8, 11
_TOPIC_DENIED, _GROUP_DENIED = 29, 30
_PATIENCE_SECONDS = 60.0
_numbers = itertools.count(1)


class Owner:
    """Takes whatever it is given."""

    def __init__(self) -> None:
        self.partitions: list[Partition] = []

    def assigned(self, partition: Partition, checkpoint: PartitionCheckpoint | None) -> None:
        del checkpoint
        self.partitions.append(partition)

    def revoking(self, partitions: Sequence[Partition]) -> None:
        del partitions

    def lost(self, partitions: Sequence[Partition]) -> None:
        del partitions


class Member:
    """A member of a group of its own, with a topic that holds five flow logs."""

    def __init__(self, cluster: MockCluster) -> None:
        self.name = f"rights{next(_numbers)}"
        for kind in ("flows", "state"):
            cluster.create(f"{self.name}-{kind}")
        writer = KafkaSink(KafkaSinkOptions(brokers=cluster.brokers), f"{self.name}-flows")
        writer.write([b'{"n":%d}' % n for n in range(5)], [str(n) for n in range(5)])
        assert writer.settle(_PATIENCE_SECONDS)
        writer.close()
        options = KafkaSourceOptions(
            brokers=cluster.brokers, session_timeout_seconds=6, timeout_seconds=5
        )
        self.source = KafkaSource(options, [f"{self.name}-flows"], self.name)
        self.owner = Owner()
        self.found: list[bytes] = []

    def poll_until(self, what: Callable[[], object]) -> None:
        limit = time.monotonic() + _PATIENCE_SECONDS
        while not what():
            assert time.monotonic() < limit
            for portion in self.source.poll(0.2):
                self.found += portion.values


@pytest.mark.parametrize(
    ("request_key", "code", "right"),
    [
        (_FETCH, _TOPIC_DENIED, "may not read a topic; give it the right READ"),
        (_JOIN, _GROUP_DENIED, "may not join the group; give it the right READ on the group"),
    ],
)
def test_a_group_without_the_right_to_read(
    cluster: MockCluster, request_key: int, code: int, right: str
) -> None:
    member = Member(cluster)
    cluster.fail(request_key, [code] * 20)
    try:
        member.source.start(member.owner)
        with pytest.raises(SourceError, match=right) as caught:
            member.poll_until(lambda: member.found)
    finally:
        cluster.heal(request_key)
    assert f"{member.name!r}" in str(caught.value)
    assert member.found == []
    member.source.close()


def test_checkpoints_without_rights_wait_and_are_kept_later(cluster: MockCluster) -> None:
    member = Member(cluster)
    member.source.start(member.owner)
    member.poll_until(lambda: len(member.found) == 5)
    place = Partition(f"{member.name}-flows", 0)
    checkpoint = {place: PartitionCheckpoint(offset=5, note="{}", states=(b"live",))}
    for request_key, code, said in (
        (PRODUCE, _TOPIC_DENIED, "give it the right WRITE; they are tried again"),
        (
            _COMMIT,
            _GROUP_DENIED,
            "cannot be committed: this user .*; give it the right READ on the group",
        ),
    ):
        cluster.fail(request_key, [code])
        with pytest.raises(CheckpointError, match=said) as caught:
            member.source.keep(checkpoint)
        assert not caught.value.is_usual
    member.source.keep(checkpoint)
    member.source.close()
    values = [message.value for message in read(cluster.brokers, f"{member.name}-state")]
    assert b"live" in values[-1]


def test_records_without_rights_are_never_acknowledged(cluster: MockCluster) -> None:
    """The command ends then, and goes on from its last checkpoint once rights were given."""
    name = f"rights{next(_numbers)}"
    cluster.create(name)
    sink = KafkaSink(KafkaSinkOptions(brokers=cluster.brokers), name)
    cluster.fail(PRODUCE, [_TOPIC_DENIED])
    sink.write([b"{}"], ["1"])
    with pytest.raises(SinkError, match=f"{name}.*give it the right WRITE"):
        sink.settle(_PATIENCE_SECONDS)
    assert sink.refused == 0
    sink.close()
