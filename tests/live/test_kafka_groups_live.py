"""Instances that share topics come, go, are killed and cut off: every flow log counts once."""

from __future__ import annotations

import itertools
import json
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.plugins.kafka.conftest import cluster, fragile
from tests.plugins.kafka.instances import Group
from trireme_collector.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.plugins.kafka.instances import Outcome
    from tests.plugins.kafka.mock_cluster import MockCluster

__all__ = ["cluster", "fragile"]

pytestmark = [pytest.mark.live, pytest.mark.patient]

_OFFSET_COMMIT = 8
_NOT_COORDINATOR, _COORDINATOR_LOADING, _REBALANCE = 16, 14, 27
_PARTITIONS = 6
# On a machine that is busy one may join too late to have anything: again, with more time.
_SESSION_SECONDS = (4, 4, 8)
_numbers = itertools.count(1)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Group]]:
    made: list[Group] = []

    def build(cluster: MockCluster, *words: str, session_seconds: int = 4) -> Group:
        name = f"g{next(_numbers)}"
        for topic in ("flows", "state", "out"):
            cluster.create(f"{name}-{topic}", _PARTITIONS)
        group = Group(cluster.brokers, tmp_path, name, *words, session_seconds=session_seconds)
        made.append(group)
        return group

    yield build
    for group in made:
        group.close()


def check(group: Group, outcome: Outcome) -> None:
    """Check that every flow log was counted once, and that repeated records are the same."""
    assert outcome.flow_logs() == group.sent
    assert not outcome.differing
    numbers: dict[str, list[int]] = {}
    for place in outcome.records:
        partition, _, number = place.rpartition("/")
        numbers.setdefault(partition, []).append(int(number))
    assert all(sorted(found) == list(range(len(found))) for found in numbers.values())


def test_one_leaves_and_another_goes_on(cluster: MockCluster, make: Callable[..., Group]) -> None:
    """Nothing comes twice: who leaves keeps all that it has counted."""
    group = make(cluster)
    group.send(500)
    first = group.start()
    group.wait_until_kept()
    group.send(500)
    left = group.stop(first)
    second = group.start()
    group.send(300)
    outcome = group.settled()
    parts = [left, group.stop(second)]
    check(group, outcome)
    assert [part["lost_partitions"] for part in parts] == [0, 0]
    assert outcome.repeated == 0
    assert sum(part["flow_logs"] for part in parts) == sum(group.sent.values())
    assert sum(part["records"] for part in parts) == len(outcome.records)


def test_instances_that_come_and_go(cluster: MockCluster, make: Callable[..., Group]) -> None:
    """What comes twice is announced.

    A broker takes the commits of those who give partitions away. The mock takes none from the
    moment that another one joins again: who is a millisecond later loses what it gave away.
    """
    group = make(cluster)
    group.send(500)
    first = group.start()
    group.wait_until_kept()
    group.send(500)
    second, third = group.start(), group.start()
    for _ in range(4):
        group.send(200)
        time.sleep(0.7)
    group.wait_until_kept()
    group.send(200)
    left = group.stop(first)
    group.send(300)
    outcome = group.settled()
    parts = [left, group.stop(second), group.stop(third)]
    check(group, outcome)
    assert sum(part["flow_logs"] for part in parts) >= sum(group.sent.values())
    assert sum(part["records"] for part in parts) == len(outcome.records) + outcome.repeated
    assert outcome.repeated <= sum(part["unkept_records"] for part in parts)
    if not any(part["lost_partitions"] for part in parts):
        assert outcome.repeated == 0
        assert sum(part["flow_logs"] for part in parts) == sum(group.sent.values())


def test_a_kill_in_the_middle(cluster: MockCluster, make: Callable[..., Group]) -> None:
    """At most what was given out since the last checkpoint comes twice, the same again."""
    group = make(cluster, "--records", "flowLog,endConnection")
    group.send(200)
    instances = [group.start() for _ in range(3)]
    time.sleep(4)
    between = 0
    for victim in instances[:2]:
        for _ in range(5):
            group.send(100)
            time.sleep(0.3)
        victim.kill()
        victim.wait()
        group.start()
        between += 500
    outcome = group.settled()
    check(group, outcome)
    # Each victim had a third of what came since its last checkpoint, which was 0.7 s ago.
    assert outcome.repeated <= between


def test_an_instance_that_was_taken_for_dead(
    cluster: MockCluster, make: Callable[..., Group]
) -> None:
    """It goes on with what it had, and nobody believes its commits."""
    for seconds in _SESSION_SECONDS:
        group = make(cluster, session_seconds=seconds)
        group.send(200)
        sleeper, other = group.start(), group.start()
        group.wait_until_kept()
        group.send(300)
        os.kill(sleeper.pid, signal.SIGSTOP)
        group.send(300)
        time.sleep(1.5 * seconds)
        os.kill(sleeper.pid, signal.SIGCONT)
        group.send(300)
        outcome = group.settled()
        check(group, outcome)
        woken, awake = group.stop(sleeper), group.stop(other)
        assert outcome.repeated <= woken["unkept_records"] + awake["unkept_records"]
        if woken["lost_partitions"]:
            return
    pytest.fail("the one that slept had no partition to lose each time: is the machine that slow?")


def test_brokers_that_fail(fragile: MockCluster, make: Callable[..., Group]) -> None:
    group = make(fragile)
    group.send(300)
    first = group.start()
    group.settled()
    fragile.fail(_OFFSET_COMMIT, [_NOT_COORDINATOR, _COORDINATOR_LOADING, _REBALANCE])
    group.send(300)
    for partition in range(_PARTITIONS):
        fragile.lead(f"{group.name}-flows", partition, 1 + partition % 3)
        fragile.lead(f"{group.name}-state", partition, 1 + (partition + 1) % 3)
    group.send(300)
    group.settled()
    fragile.down()
    time.sleep(3)
    fragile.up()
    group.send(300)
    second = group.start()
    check(group, group.settled())
    group.stop(first)
    group.stop(second)


def test_lines_into_a_file(
    cluster: MockCluster, make: Callable[..., Group], tmp_path: Path
) -> None:
    """A file is gone on with; half a line of one that was killed is removed."""
    group = make(cluster, "--places")
    output = tmp_path / "conversations.json"
    group.send(300)
    first = group.start("-o", str(output))
    time.sleep(2.5)
    first.kill()
    first.wait()
    with output.open("ab") as file:
        file.write(b'{"half')
    group.send(300)
    second = group.start("-o", str(output))
    limit = time.monotonic() + 60
    counted: dict[str, int] = {}
    while sum(counted.values()) < 600 and time.monotonic() < limit:
        time.sleep(0.5)
        text = output.read_bytes()
        records = [json.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines()]
        counted = {
            record["_Place"]: record["numFlowLogs"]
            for record in records
            if record["_RecordType"] == "endConnection"
        }
    group.stop(second)
    assert sum(counted.values()) == 600


def test_another_configuration(cluster: MockCluster, make: Callable[..., Group]) -> None:
    """Conversations of another configuration are not taken up, unless they are given up."""
    group = make(cluster)
    group.send(200)
    first = group.start()
    while not group.outcome().records:
        time.sleep(0.3)
    group.stop(first)
    other = group.start(*group.to_topic, "--max-conversations", "7")
    said = other.communicate(timeout=60)[1]
    assert other.returncode == ExitCode.CONFIG, said
    assert "--discard-states" in said
    third = group.start(*group.to_topic, "--max-conversations", "7", "--discard-states")
    time.sleep(6)
    assert group.stop(third)["discarded_states"] > 0


def test_a_topic_that_is_missing(cluster: MockCluster, make: Callable[..., Group]) -> None:
    group = make(cluster)
    lost = group.start(*group.to_topic, "--source", "state_topic=nowhere")
    said = lost.communicate(timeout=60)[1]
    assert lost.returncode == ExitCode.CONFIG, said
    assert "cleanup.policy=compact" in said
