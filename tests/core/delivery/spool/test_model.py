"""A spool does what a list would do, whatever is asked of it in whatever order."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.core.delivery.spool.faulty_storage import FaultyStorage
from tests.core.delivery.spool.spools import check, number, records
from trireme_collector.delivery import WhenFull
from trireme_collector.delivery.spool import FsyncMode, Spool, SpoolConfig, StartAt

READERS = st.sampled_from(["a", "b", "c"])


class Reader:
    """What a reader of the model knows: the records it has still to settle, and the counts."""

    def __init__(self, waiting: list[int]) -> None:
        self.waiting = waiting
        self.sequences: list[int] = []
        self.accepted = len(waiting)

    @property
    def taken(self) -> int:
        """How many of those waiting are being sent."""
        return len(self.sequences)


class SpoolModel(RuleBasedStateMachine):
    """Compares a spool with lists; only how many were given up at the cap is learned from it."""

    when_full = WhenFull.DROP_NEWEST
    fsync = FsyncMode.INTERVAL

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.config = SpoolConfig(
            max_bytes=16_384, segment_bytes=4096, fsync=self.fsync, when_full=self.when_full
        )
        self.spool = Spool.open(self.directory / "s", self.config, storage=FaultyStorage())
        self.given = 0
        self.now = 0
        self.readers: dict[str, Reader] = {}
        self.kept: list[int] = []

    def teardown(self) -> None:
        self.spool.close()
        shutil.rmtree(self.directory)

    @rule(count=st.integers(1, 60), size=st.integers(8, 300))
    def append(self, count: int, size: int) -> None:
        numbers = list(range(self.given, self.given + count))
        self.given += count
        taken = self.spool.append(records(numbers, size), self.now)
        assert taken.count + taken.refused == count
        assert not (taken.refused and self.when_full is WhenFull.DROP_OLDEST)
        # The first ones are taken: what does not fit is the end.
        numbers = numbers[: taken.count]
        self.kept += numbers
        for name, reader in self.readers.items():
            reader.accepted += count
            reader.waiting += numbers
            self.forget_dropped(name, reader)

    def forget_dropped(self, name: str, reader: Reader) -> None:
        """Take from the model what was given up: the oldest of those not taken."""
        spooled = check(self.spool.reader(name).account).spooled
        lost = len(reader.waiting) - spooled
        assert lost >= 0
        if self.when_full is WhenFull.DROP_NEWEST:
            assert not lost
        del reader.waiting[reader.taken : reader.taken + lost]

    @rule(name=READERS, end=st.booleans())
    def add_reader(self, name: str, end: bool) -> None:
        if name in self.readers:
            return
        reader = self.spool.reader(name, StartAt.END if end else StartAt.OLDEST)
        spooled = check(reader.account).spooled
        assert not (end and spooled)
        self.readers[name] = Reader(self.kept[len(self.kept) - spooled :])

    @rule(name=READERS)
    def remove_reader(self, name: str) -> None:
        account = self.spool.remove_reader(name)
        assert (account is None) is (name not in self.readers)
        self.readers.pop(name, None)

    @rule(name=READERS, count=st.integers(1, 80), size=st.integers(1, 5000))
    def read(self, name: str, count: int, size: int) -> None:
        if name not in self.readers:
            return
        reader = self.readers[name]
        batch = self.spool.reader(name).read(count, size)
        found = list(map(number, batch.payloads))
        rest = reader.waiting[reader.taken :]
        assert found == rest[: len(found)]
        assert bool(found) is bool(rest)
        reader.sequences += batch.sequences

    @rule(name=READERS, data=st.data())
    def acknowledge(self, name: str, data: st.DataObject) -> None:
        reader = self.readers.get(name)
        if reader is None or not reader.taken:
            return
        count = data.draw(st.integers(1, reader.taken))
        dead = data.draw(st.integers(0, count))
        dropped = data.draw(st.integers(0, count - dead))
        spool_reader = self.spool.reader(name)
        before = spool_reader.account
        settled = spool_reader.acknowledge(
            reader.sequences[count - 1], dead_lettered=dead, dropped={"filter": dropped}
        )
        assert settled == count
        after = check(spool_reader.account)
        assert after.dead_lettered == before.dead_lettered + dead
        assert after.dropped == before.dropped + dropped
        assert after.delivered == before.delivered + count - dead - dropped
        del reader.waiting[:count]
        del reader.sequences[:count]

    @rule(name=READERS)
    def rewind(self, name: str) -> None:
        if name in self.readers:
            self.spool.reader(name).rewind()
            self.readers[name].sequences = []
            self.forget_dropped(name, self.readers[name])

    @rule(seconds=st.floats(0, 1))
    def tick(self, seconds: float) -> None:
        self.now += round(seconds * 1e9)
        self.spool.tick(self.now)

    @rule()
    @precondition(lambda self: self.when_full is WhenFull.DROP_NEWEST)
    def reopen(self) -> None:
        self.spool.close()
        self.spool = Spool.open(self.directory / "s", self.config, storage=FaultyStorage())
        for reader in self.readers.values():
            reader.sequences = []

    @invariant()
    def accounts_balance(self) -> None:
        status = self.spool.status()
        assert status.size_bytes <= self.config.max_bytes
        assert status.durable_sequence <= status.next_sequence
        assert {account.name for account in status.readers} == self.readers.keys()
        for account in status.readers:
            reader = self.readers[account.name]
            assert check(account).spooled == len(reader.waiting)
            assert account.accepted == reader.accepted


class OldestModel(SpoolModel):
    """The same with the oldest given up. What was being sent then is lost by a restart."""

    when_full = WhenFull.DROP_OLDEST
    fsync = FsyncMode.NEVER

    @rule()
    def reopen_settled(self) -> None:
        self.spool.close()
        self.spool = Spool.open(self.directory / "s", self.config, storage=FaultyStorage())
        for name, reader in self.readers.items():
            reader.sequences = []
            self.forget_dropped(name, reader)


SETTINGS = settings(stateful_step_count=40)
TestDropNewest = SpoolModel.TestCase
TestDropNewest.settings = SETTINGS
TestDropOldest = OldestModel.TestCase
TestDropOldest.settings = SETTINGS
