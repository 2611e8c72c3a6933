"""Pieces of checkpoints in a topic."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from tests.plugins.kafka.topics import read
from trireme_collector.netobserv.sharing import CheckpointError, Partition
from trireme_collector_kafka._configuration import producer_configuration
from trireme_collector_kafka._state_log import StateLog, StateReference

if TYPE_CHECKING:
    from tests.plugins.kafka.mock_cluster import MockCluster

FLOWS = Partition("flows", 5)
_numbers = itertools.count(1)


def connect(cluster: MockCluster, topic: str) -> StateLog:
    base = {"bootstrap.servers": ",".join(cluster.brokers)}
    consumer = {
        **base,
        "group.id": "g",
        "enable.partition.eof": True,
        "auto.offset.reset": "error",
        "enable.auto.commit": False,
    }
    return StateLog(topic, "g|1", {**base, **producer_configuration()}, consumer, 10.0)


def test_pieces_are_found_among_others(cluster: MockCluster) -> None:
    topic = f"states-{next(_numbers)}"
    cluster.create(topic, 3)
    log, other = connect(cluster, topic), connect(cluster, topic)
    pieces = (b"a" * 400_000, b"b", b"")
    first = log.write({FLOWS: pieces, Partition("flows", 2): [b"c"], Partition("flows", 1): ()})
    second = other.write({FLOWS: [b"d"]})
    assert first[FLOWS].partition == second[FLOWS].partition == 2
    assert log.read(FLOWS, first[FLOWS]) == other.read(FLOWS, first[FLOWS]) == pieces
    assert log.read(FLOWS, second[FLOWS]) == (b"d",)
    assert log.read(Partition("flows", 1), first[Partition("flows", 1)]) == ()
    log.remove(FLOWS, first[FLOWS])
    log.close()
    assert [message.value for message in read(cluster.brokers, topic)].count(b"") == 4
    assert other.read(FLOWS, second[FLOWS]) == (b"d",)
    other.close()


def test_what_is_not_there(cluster: MockCluster) -> None:
    topic = f"states-{next(_numbers)}"
    cluster.create(topic)
    log = connect(cluster, topic)
    lost = StateReference(writer="x", number=1, pieces=1)
    assert log.read(FLOWS, lost) is None
    cluster.refuse(topic, 3)
    missing = connect(cluster, topic)
    with pytest.raises(CheckpointError, match=r"cleanup\.policy=compact"):
        missing.write({FLOWS: [b"x"]})
    log.close()
    missing.close()
