"""Dead letters are sent again, and what was delivered is gone."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireme_collector import (
    ConfigError,
    DeliveryConfig,
    PacketReport,
    PermanentDeliveryError,
    RefusedCredentialsError,
    RetryableDeliveryError,
    decode_json,
)
from trireme_collector.delivery import (
    DeadLetterEditor,
    DeadLetterFile,
    ReplayReport,
    adapt,
    read_letters,
    replay_letters,
)
from trireme_collector.testing import FailingCollector, FakeClock, MemoryCollector

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from trireme_collector import Record

CONFIG = DeliveryConfig(batch_records=4, give_up_seconds=1)


def fill(directory: Path, count: int) -> Path:
    file = DeadLetterFile(str(directory), "x", 1 << 30)
    file.open()
    records = [PacketReport(packet_id=number, sequence=number) for number in range(count)]
    assert not file.add(records, reason="no", time_ns=7, attempts=1)
    return Path(file.place)


def numbers(records: Sequence[Record]) -> list[int]:
    return [record.packet_id for record in records if isinstance(record, PacketReport)]


def kept(path: Path) -> list[int]:
    letters = [stored.letter for stored in read_letters(path)]
    return numbers([decode_json(bytes(letter.record)) for letter in letters if letter])


def replay(path: Path, collector: object) -> ReplayReport:
    adapter = adapt(collector, name="x")
    return replay_letters(path, adapter, collector="x", config=CONFIG, clock=FakeClock())


def test_all_are_delivered_as_they_were_and_removed(tmp_path: Path) -> None:
    path = fill(tmp_path, 10)
    memory = MemoryCollector()
    assert replay(path, memory) == ReplayReport(collector="x", delivered=10)
    assert numbers(memory.records) == list(range(10))
    assert [record.sequence for record in memory.records] == list(range(10))
    assert [len(batch) for batch in memory.batches] == [4, 4, 2]
    assert memory.calls == ["open", "flush", "close"]
    assert not path.exists()


def test_what_is_refused_again_stays(tmp_path: Path) -> None:
    path = fill(tmp_path, 6)

    class Picky(MemoryCollector):
        def deliver(self, batch: Sequence[Record]) -> None:
            if {1, 4} & set(numbers(batch)):
                raise PermanentDeliveryError("still bad")
            super().deliver(batch)

    report = replay(path, Picky())
    assert (report.delivered, report.refused, report.left) == (4, 2, 0)
    assert report.error == "PermanentDeliveryError: still bad"
    assert kept(path) == [1, 4]


@pytest.mark.parametrize("error", [RetryableDeliveryError, RefusedCredentialsError])
def test_a_receiver_that_is_away_ends_it(
    tmp_path: Path, error: type[RetryableDeliveryError]
) -> None:
    path = fill(tmp_path, 10)
    collector = FailingCollector([None, error("away", delivered=1)])
    report = replay(path, collector)
    assert (report.delivered, report.left) == (5, 5)
    assert report.error.endswith("away")
    assert kept(path) == [5, 6, 7, 8, 9]
    assert len(collector.attempts) == 2


def test_a_receiver_that_cannot_be_reached_at_all(tmp_path: Path) -> None:
    class Away(MemoryCollector):
        def open(self) -> None:
            raise RetryableDeliveryError("nobody there")

    path = fill(tmp_path, 3)
    report = replay(path, Away())
    assert (report.left, report.error) == (3, "RetryableDeliveryError: nobody there")
    assert kept(path) == [0, 1, 2]


def test_a_mistake_in_the_configuration_changes_nothing(tmp_path: Path) -> None:
    class Wrong(MemoryCollector):
        def open(self) -> None:
            raise ConfigError("no such host")

    path = fill(tmp_path, 3)
    with pytest.raises(ConfigError, match="no such host"):
        replay(path, Wrong())
    assert kept(path) == [0, 1, 2]


def test_without_letters_the_collector_is_left_alone(tmp_path: Path) -> None:
    file = DeadLetterFile(str(tmp_path), "x", 1 << 30)
    file.open()
    memory = MemoryCollector()
    assert replay(Path(file.place), memory) == ReplayReport(collector="x")
    assert "open" not in memory.calls


def test_damaged_lines_stay(tmp_path: Path) -> None:
    path = fill(tmp_path, 2)
    whole = path.read_bytes()
    no_record = whole.splitlines()[0].replace(b'"type":"packet"', b'"type":"parcel"')
    path.write_bytes(b"nonsense\n" + no_record + b"\n" + whole)
    assert replay(path, MemoryCollector()) == ReplayReport(collector="x", delivered=2, damaged=2)
    assert path.read_bytes() == b"nonsense\n" + no_record + b"\n"


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("moment", range(6))
def test_a_crash_sends_one_batch_twice_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    path = fill(tmp_path, 10)
    sent: list[int] = []
    moments = itertools.count()

    def pass_moment() -> None:
        if next(moments) == moment:
            raise Killed

    class Receiver(MemoryCollector):
        def deliver(self, batch: Sequence[Record]) -> None:
            pass_moment()
            sent.extend(numbers(batch))

    remove = DeadLetterEditor.remove

    def removing(editor: DeadLetterEditor, offsets: Collection[int]) -> None:
        pass_moment()
        remove(editor, offsets)

    monkeypatch.setattr(DeadLetterEditor, "remove", removing)
    with monkeypatch.context() as patch:
        # A process that has ended does not tidy up.
        patch.setattr(DeadLetterEditor, "_compact", lambda _: None)
        with pytest.raises(Killed):
            replay(path, Receiver())
    replay(path, Receiver())
    assert set(sent) == set(range(10))
    assert len(sent) <= 10 + CONFIG.batch_records
    assert not path.exists()


@given(st.lists(st.sampled_from(["take", "away", "bad", "bug"]), max_size=12))
def test_nothing_is_lost_whatever_the_collector_does(
    tmp_path_factory: pytest.TempPathFactory, script: list[str]
) -> None:
    path = fill(tmp_path_factory.mktemp("state"), 9)
    errors = {"away": RetryableDeliveryError, "bad": PermanentDeliveryError, "bug": KeyError}

    def scripted() -> Iterator[Exception | None]:
        for word in script:
            yield errors[word]("x") if word in errors else None

    collector = FailingCollector(scripted())
    report = replay(path, collector)
    assert report.delivered + report.refused + report.left == 9
    assert sorted([*numbers(collector.records), *kept(path)]) == list(range(9))
