"""The collector keeps the contract, holds a record once, and bounds what it keeps."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

import pytest
from trireme_collector import ConfigError, EndPoint, FlowRecord, RetryableDeliveryError
from trireme_collector.testing import CollectorContract, Fault

from trireme_collector_sqlite import Options, SqliteCollector

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


def flow(sequence: int) -> FlowRecord:
    return FlowRecord(
        instance="host", epoch=1, sequence=sequence, count=1, destination=EndPoint(port=sequence)
    )


class Harness:
    """A database, which others can lock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.built: list[SqliteCollector] = []

    def build(self, *, keep_records: int = 0) -> SqliteCollector:
        options = Options(path=str(self.path), timeout_seconds=0, keep_records=keep_records)
        self.built.append(SqliteCollector(options))
        return self.built[-1]

    def received(self) -> Sequence[int]:
        if not self.path.exists():
            return []
        with contextlib.closing(sqlite3.connect(self.path)) as database:
            return [number for (number,) in database.execute("SELECT sequence FROM flow")]

    def fail(self, fault: Fault) -> contextlib.AbstractContextManager[None] | None:
        return self._lock() if fault is Fault.AWAY else None  # a database refuses no record

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        with contextlib.closing(sqlite3.connect(self.path)) as database:
            database.execute("BEGIN EXCLUSIVE")
            yield
            database.rollback()


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[Harness]:
    made = Harness(tmp_path / "flows.db")
    yield made
    for collector in made.built:
        collector.close()


class TestContract(CollectorContract):
    """Every test of the contract, with the harness of this module."""


def test_what_comes_twice_is_there_once(harness: Harness) -> None:
    collector = harness.build()
    collector.open()
    collector.deliver([flow(1), flow(2)])
    collector.deliver([flow(2), flow(3)])
    assert harness.received() == [1, 2, 3]


def test_old_records_make_room(harness: Harness) -> None:
    collector = harness.build(keep_records=2)
    for number in range(1, 6):
        collector.deliver([flow(number)])
    assert harness.received() == [4, 5]


def test_the_database_is_for_its_owner_only(harness: Harness) -> None:
    harness.build().open()
    assert harness.path.stat().st_mode & 0o777 == 0o600


def test_another_file_is_refused_at_the_start(harness: Harness) -> None:
    harness.path.write_bytes(b"This is not a database, though it is long enough." * 100)
    with pytest.raises(ConfigError, match="file is not a database; check path and disk"):
        harness.build().open()


def test_a_directory_that_is_not_there_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file or directory"):
        SqliteCollector(Options(path=str(tmp_path / "no" / "flows.db"))).open()


def test_a_database_that_is_locked_can_wait(harness: Harness) -> None:
    harness.build().open()
    fault = harness.fail(Fault.AWAY)
    assert fault is not None
    with fault, pytest.raises(RetryableDeliveryError, match="database is locked"):
        harness.build().deliver([flow(1)])


def test_numbers_that_no_database_takes_do_no_harm(harness: Harness) -> None:
    collector = harness.build()
    collector.deliver([FlowRecord(count=2**64, start_time_ns=2**64, sequence=2**64, epoch=2**64)])
    assert harness.received() == [2**63 - 1]
