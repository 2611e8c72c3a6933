"""A queue on disk never waits for it, and its account holds at any time and across restarts."""

from __future__ import annotations

import errno
import os
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tests.core.delivery.spool.faulty_storage import FaultyStorage
from trireme_collector import ConfigError, DeliveryConfig, PacketReport, encode_msgpack
from trireme_collector.delivery import DROPPED_CLOSED, DROPPED_RECORDS, SpoolConfig
from trireme_collector.delivery._spool_directory import abandoned_spools, spool_directory
from trireme_collector.delivery._spool_queue import (
    DROPPED_MALFORMED,
    DROPPED_UNDECODABLE,
    SpoolQueue,
)
from trireme_collector.delivery.spool import DROPPED_FULL, DROPPED_NO_SPACE, Spool, SystemStorage
from trireme_collector.testing.strategies import records as any_records

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from trireme_collector.records import Record

MANY = 1 << 30
SMALL = SpoolConfig(max_bytes=65_536, segment_bytes=4096)


def reports(*numbers: int) -> list[PacketReport]:
    return [PacketReport(packet_id=number) for number in numbers]


def numbers(records: Sequence[Record]) -> list[int]:
    return [record.packet_id for record in records if isinstance(record, PacketReport)]


def make(
    path: Path,
    *,
    spool: SpoolConfig = SMALL,
    storage: SystemStorage | None = None,
    queue_records: int = 1000,
) -> SpoolQueue:
    config = DeliveryConfig(state_directory=str(path), spool=spool, queue_records=queue_records)
    queue = SpoolQueue("x", config, storage=storage)
    queue.open(7, lambda: None)
    return queue


def put(queue: SpoolQueue, *which: int) -> None:
    assert not queue.put(reports(*which), [100] * len(which), {})


def balances(queue: SpoolQueue) -> bool:
    balance = queue.balance()
    gone = balance.delivered + balance.dead_lettered + sum(balance.dropped.values())
    return balance.accepted == gone + balance.queued


def test_records_are_accepted_when_they_were_written(tmp_path: Path) -> None:
    queue = make(tmp_path)
    put(queue, 1, 2)
    balance = queue.balance()
    assert (balance.accepted, balance.queued, queue.records) == (0, 0, 0)
    assert balance.spool is not None
    assert balance.spool.unwritten == 2
    assert queue.take(10, MANY) == ()
    assert queue.write(0) == 2
    assert queue.write(0) == 0
    assert (queue.balance().accepted, queue.records, queue.unwritten) == (2, 2, 0)
    assert numbers(queue.take(10, MANY)) == [1, 2]


def test_what_was_taken_is_given_again_until_it_is_acknowledged(tmp_path: Path) -> None:
    queue = make(tmp_path)
    put(queue, 1, 2, 3)
    queue.write(0)
    mark = queue.mark()
    assert numbers(queue.take(2, MANY)) == [1, 2]
    assert numbers(queue.take(10, MANY)) == [1, 2]
    queue.acknowledge(1, 0, {})
    assert numbers(queue.take(10, MANY)) == [2]
    queue.acknowledge(0, 1, {})
    assert queue.settled < mark
    assert numbers(queue.take(10, MANY)) == [3]
    queue.acknowledge(0, 0, {"refused": 1})
    assert queue.settled >= mark
    balance = queue.balance()
    assert (balance.delivered, balance.dead_lettered, balance.dropped) == (1, 1, {"refused": 1})
    assert (queue.records, queue.size_bytes) == (0, 0)


def test_the_account_goes_on_after_a_restart(tmp_path: Path) -> None:
    queue = make(tmp_path)
    put(queue, 1, 2, 3)
    queue.put([], [], {"filter": 4})
    queue.write(0)
    queue.take(1, MANY)
    queue.acknowledge(1, 0, {})
    queue.release()
    queue = make(tmp_path)
    balance = queue.balance()
    assert (balance.accepted, balance.delivered, balance.queued) == (7, 1, 2)
    assert balance.dropped == {"filter": 4}
    assert queue.size_bytes > 0
    assert numbers(queue.take(10, MANY)) == [2, 3]


class StalledStorage(SystemStorage):
    """A disk that does not come back before it is told to."""

    def __init__(self) -> None:
        self.stalls = False
        self.stalled = threading.Event()
        self.go_on = threading.Event()

    def write_at(self, descriptor: int, data: bytes | memoryview, offset: int) -> int:
        if self.stalls:
            self.stalled.set()
            assert self.go_on.wait(60)
        return super().write_at(descriptor, data, offset)


def test_a_stalled_disk_holds_up_nobody_who_puts_or_looks(tmp_path: Path) -> None:
    storage = StalledStorage()
    queue = make(tmp_path, storage=storage, queue_records=5)
    storage.stalls = True
    put(queue, 1, 2, 3)
    writer = threading.Thread(target=queue.write, args=(0,))
    writer.start()
    assert storage.stalled.wait(60)
    put(queue, 4, 5)
    put(queue, 6, 7)  # the memory for them is used up
    balance = queue.balance()
    assert balance.spool is not None
    assert (balance.accepted, balance.given, balance.spool.unwritten) == (0, 7, 7)
    storage.stalls = False
    storage.go_on.set()
    writer.join(60)
    queue.write(0)
    balance = queue.balance()
    assert (balance.accepted, balance.queued) == (7, 5)
    assert balance.dropped == {DROPPED_RECORDS: 2}
    assert numbers(queue.take(10, MANY)) == [1, 2, 3, 4, 5]


def test_a_full_spool_and_a_full_disk_are_counted(tmp_path: Path) -> None:
    storage = FaultyStorage()
    queue = make(tmp_path, spool=SpoolConfig(max_bytes=16_384, segment_bytes=4096), storage=storage)
    storage.faults.begin(errno.ENOSPC, kinds=frozenset(("write_at",)), last=1000)
    put(queue, 1)
    with capture_logs() as logs:
        queue.write(0)
    assert queue.balance().dropped == {DROPPED_NO_SPACE: 1}
    assert logs[0]["event"] == "records_not_spooled"
    assert os.strerror(errno.ENOSPC) in logs[0]["error"]
    storage.faults.end()
    put(queue, *range(400))
    queue.write(0)
    balance = queue.balance()
    assert balance.dropped[DROPPED_FULL] > 0
    assert balance.accepted == 401
    assert balances(queue)


def test_a_file_that_cannot_be_opened_is_asked_for_again(tmp_path: Path) -> None:
    storage = FaultyStorage()
    queue = make(tmp_path, storage=storage)
    put(queue, 1, 2)
    queue.write(0)
    storage.faults.begin(errno.EMFILE, kinds=frozenset(("open",)), last=1000)
    with pytest.raises(OSError, match="open files"):
        queue.take(10, MANY)
    assert balances(queue)
    storage.faults.end()
    assert numbers(queue.take(10, MANY)) == [1, 2]
    queue.tick(0)
    spool = queue.balance().spool
    assert spool is not None
    assert spool.read_failures == 1


def test_what_another_version_wrote_is_counted_and_passed_over(tmp_path: Path) -> None:
    directory = spool_directory(str(tmp_path), "x")
    directory.parent.mkdir()
    good = encode_msgpack(PacketReport(packet_id=1))
    with Spool.open(directory, SMALL) as spool:
        spool.reader("delivery")
        spool.append([b"", good, b"\x81\xa4type\xa3new", b"\xc1", good, b"\xc1"], 0)
    queue = make(tmp_path)
    assert numbers(queue.take(10, MANY)) == [1, 1]
    queue.acknowledge(1, 0, {})
    assert queue.balance().dropped == {DROPPED_UNDECODABLE: 1}
    assert balances(queue)
    queue.acknowledge(1, 0, {})
    assert queue.balance().dropped == {DROPPED_UNDECODABLE: 4}
    assert (queue.records, queue.balance().delivered) == (0, 2)


def test_nothing_but_unreadable_records_leaves_nothing_to_do(tmp_path: Path) -> None:
    directory = spool_directory(str(tmp_path), "x")
    directory.parent.mkdir()
    with Spool.open(directory, SMALL) as spool:
        spool.reader("delivery")
        spool.append([b"\xc1"] * 5, 0)
    queue = make(tmp_path)
    assert queue.take(2, MANY) == ()
    assert (queue.records, queue.balance().dropped) == (0, {DROPPED_UNDECODABLE: 5})


def test_what_is_no_record_costs_itself(tmp_path: Path) -> None:
    queue = make(tmp_path)
    queue.put([PacketReport(packet_id=1), object(), *reports(2)], [1, 1, 1], {})  # type: ignore[list-item]  # on purpose
    with capture_logs():
        queue.write(0)
    assert numbers(queue.take(10, MANY)) == [1, 2]
    assert queue.balance().dropped == {DROPPED_MALFORMED: 1}
    assert balances(queue)


def test_nothing_is_taken_after_the_end(tmp_path: Path) -> None:
    queue = make(tmp_path)
    put(queue, 1)
    queue.close()
    put(queue, 2, 3)
    queue.put([], [], {"filter": 1})
    queue.write(0)
    balance = queue.balance()
    assert (balance.accepted, balance.queued) == (4, 1)
    assert balance.dropped == {DROPPED_CLOSED: 2, "filter": 1}
    queue.take(10, MANY)
    queue.release()
    # A collector that comes back too late: its record is sent once more after the next start.
    queue.acknowledge(1, 0, {})
    assert queue.take(10, MANY) == ()
    assert numbers(make(tmp_path).take(10, MANY)) == [1]


def test_damage_is_told_at_start(tmp_path: Path) -> None:
    queue = make(tmp_path)
    put(queue, 1, 2, 3)
    queue.write(0)
    queue.release()
    (segment,) = queue.directory.glob("*.segment")
    segment.write_bytes(segment.read_bytes()[:-5])
    with capture_logs() as logs:
        queue = make(tmp_path)
    assert [entry["event"] for entry in logs] == ["spool_damaged"]
    assert numbers(queue.take(10, MANY)) == [1, 2]
    assert balances(queue)


def test_an_abandoned_spool_is_found(tmp_path: Path) -> None:
    queue = make(tmp_path)
    put(queue, 1)
    queue.write(0)
    (queue.directory.parent / "empty").mkdir()
    here = queue.directory.parent / "y"
    assert abandoned_spools([here]) == [queue.directory]
    assert abandoned_spools([here, queue.directory]) == []


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0"])
def test_a_name_that_no_directory_can_have_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot have a spool"):
        spool_directory("/state", name)


@given(batch=any_records())
def test_every_record_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, batch: Record
) -> None:
    queue = make(tmp_path_factory.mktemp("spool"))
    queue.put([batch], [1], {})
    queue.write(0)
    (back,) = queue.take(1, MANY)
    assert encode_msgpack(back) == encode_msgpack(batch)
    queue.release()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(1, 30)),
        st.tuples(st.just("left out"), st.integers(1, 3)),
        st.tuples(st.just("write"), st.just(0)),
        st.tuples(st.just("settle"), st.integers(0, 3)),
        st.tuples(st.just("restart"), st.just(0)),
        st.tuples(st.just("tick"), st.just(0)),
    ),
    max_size=40,
)


@settings(max_examples=60)
@given(steps=STEPS)
def test_nothing_appears_or_disappears(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    path = tmp_path_factory.mktemp("spool")
    spool = SpoolConfig(max_bytes=16_384, segment_bytes=4096)
    queue = make(path, spool=spool, queue_records=40)
    given = 0
    seen: list[int] = []
    for now, (step, count) in enumerate(steps):
        match step:
            case "put":
                put(queue, *range(given, given + count))
                given += count
            case "left out":
                queue.put([], [], {"filter": count})
                given += count
            case "write":
                while queue.write(now):
                    pass
            case "settle":
                taken = queue.take(3, MANY)
                seen += numbers(taken[:count])
                queue.acknowledge(min(count, len(taken)), 0, {})
            case "tick":
                queue.tick(now)
            case _:
                while queue.write(now):
                    pass
                queue.release()
                queue = make(path, spool=spool, queue_records=40)
        assert balances(queue)
    while queue.write(0):
        pass
    while taken := queue.take(10, MANY):
        seen += numbers(taken)
        queue.acknowledge(len(taken), 0, {})
    balance = queue.balance()
    assert balance.accepted == given
    assert balance.queued == 0
    assert len(seen) == balance.delivered
    assert seen == sorted(set(seen))
    queue.release()
