"""Dead letters are kept whole, bounded, apart from others, and go only when somebody says so."""

from __future__ import annotations

import errno
import os
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import msgspec
import pytest
from hypothesis import given, settings
from structlog.testing import capture_logs

from trireme_collector import (
    ConfigError,
    DeliveryConfig,
    DeliveryError,
    PacketReport,
    PermanentDeliveryError,
    Pipeline,
    Record,
    decode_json,
)
from trireme_collector.delivery import (
    DROPPED_LETTERS_FAILED,
    DROPPED_LETTERS_FULL,
    DeadLetterEditor,
    DeadLetterFile,
    SpoolConfig,
    StoredLetter,
    dead_letter_names,
    dead_letter_path,
    read_letters,
)
from trireme_collector.records import encode_json
from trireme_collector.testing import FailingCollector, FakeClock, MemoryCollector
from trireme_collector.testing.strategies import NASTY_TEXT, records

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MANY = 1 << 30


def reports(*numbers: int) -> list[PacketReport]:
    return [PacketReport(packet_id=number) for number in numbers]


def make(directory: Path, *, max_bytes: int = MANY, name: str = "x") -> DeadLetterFile:
    file = DeadLetterFile(str(directory), name, max_bytes)
    file.open()
    return file


def add(file: DeadLetterFile, *numbers: int) -> dict[str, int]:
    return dict(file.add(reports(*numbers), reason="no", time_ns=7, attempts=2))


def numbers(stored: Sequence[StoredLetter]) -> list[int | None]:
    found: list[int | None] = []
    for item in stored:
        record = item.letter and decode_json(bytes(item.letter.record))
        found.append(record.packet_id if isinstance(record, PacketReport) else None)
    return found


def kept(directory: Path) -> list[int | None]:
    return numbers(list(read_letters(dead_letter_path(str(directory), "x"))))


def test_a_letter_holds_the_record_and_why(tmp_path: Path) -> None:
    file = make(tmp_path)
    assert add(file, 1, 2) == {}
    first, second = read_letters(Path(file.place))
    assert first.letter is not None
    assert (first.letter.collector, first.letter.reason) == ("x", "no")
    assert (first.letter.time_ns, first.letter.attempts) == (7, 2)
    assert bytes(first.letter.record) == encode_json(reports(1)[0])
    assert second.offset == Path(file.place).read_bytes().index(b"\n") + 1


def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        add(make(tmp_path / "state"), 1)
    finally:
        os.umask(before)
    modes = [path.stat().st_mode for path in sorted((tmp_path / "state").rglob("*"))]
    assert [stat.S_IMODE(mode) for mode in modes] == [0o700, 0o600]
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


@settings(max_examples=30, deadline=None)
@given(record=records(text=NASTY_TEXT))
def test_any_record_is_one_line(record: Record, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = make(tmp_path_factory.mktemp("state"))
    reason = "\ud800\n\x1b[31m" + "x" * 5000
    assert file.add([record], reason=reason, time_ns=0, attempts=1) == {}
    (stored,) = read_letters(Path(file.place))
    assert stored.letter is not None
    assert bytes(stored.letter.record) == encode_json(record)
    assert stored.letter.reason == "?" + reason[1:1000]


def test_what_is_no_record_is_counted_and_harms_no_other(tmp_path: Path) -> None:
    file = make(tmp_path)
    broken = msgspec.structs.replace(reports(2)[0], claims=object())
    with capture_logs() as logs:
        lost = file.add([*reports(1), broken, *reports(3)], reason="no", time_ns=0, attempts=1)
    assert lost == {DROPPED_LETTERS_FAILED: 1}
    assert kept(tmp_path) == [1, 3]
    assert [(log["event"], log["records"]) for log in logs] == [("dead_letters_lost", 1)]


def test_it_is_bounded_and_says_what_was_lost(tmp_path: Path) -> None:
    file = make(tmp_path)
    add(file, 1)
    size = Path(file.place).stat().st_size
    bounded = make(tmp_path, max_bytes=3 * size)
    with capture_logs() as logs:
        assert add(bounded, 2, 3, 4, 5) == {DROPPED_LETTERS_FULL: 2}
        assert add(bounded, 6) == {DROPPED_LETTERS_FULL: 1}
    assert kept(tmp_path) == [1, 2, 3]
    assert Path(file.place).stat().st_size <= 3 * size
    assert logs[0]["error"].endswith("as large as delivery.dead_letter_bytes allows")


@pytest.mark.parametrize("cut", [1, 2, 50])
@pytest.mark.parametrize("reopen", [True, False])
def test_a_torn_tail_costs_what_was_torn(tmp_path: Path, cut: int, reopen: bool) -> None:
    file = make(tmp_path)
    add(file, 1, 2)
    path = Path(file.place)
    path.write_bytes(path.read_bytes()[:-cut])
    assert kept(tmp_path) == [1]
    if reopen:
        file = make(tmp_path)
        assert path.read_bytes().endswith(b"\n")
    add(file, 3)
    assert kept(tmp_path) == [1, 3]


def test_a_file_without_any_line_is_mended(tmp_path: Path) -> None:
    file = make(tmp_path)
    Path(file.place).write_bytes(b"\0" * 200_000)
    add(file, 1)
    assert kept(tmp_path) == [1]


def test_a_damaged_line_is_shown_as_such(tmp_path: Path) -> None:
    file = make(tmp_path)
    add(file, 1)
    with Path(file.place).open("ab") as other:
        other.write(b"nonsense\n")
    add(file, 2)
    assert kept(tmp_path) == [1, None, 2]


def failing(number: int, code: int) -> Callable[..., NoReturn]:
    del number

    def fail(*_: object) -> NoReturn:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("call", ["pwrite", "fsync", "open"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_what_the_disk_refuses_is_counted_and_leaves_nothing_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    file = make(tmp_path)
    add(file, 1)
    with monkeypatch.context() as patch, capture_logs():
        patch.setattr(os, call, failing(1, code))
        assert add(file, 2, 3) == {DROPPED_LETTERS_FAILED: 2}
    assert kept(tmp_path) == [1]
    assert add(file, 4) == {}
    assert kept(tmp_path) == [1, 4]


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = make(tmp_path)
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: write(fd, data[:7], offset))
    add(file, 1, 2)
    assert kept(tmp_path) == [1, 2]


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b", "x" * 65])
def test_a_name_is_one_harmless_component(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="rename the collector"):
        DeadLetterFile(str(tmp_path), name, MANY)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious", encoding="utf-8")
    make(tmp_path, name="other")
    dead_letter_path(str(tmp_path), "x").symlink_to(target)
    with pytest.raises(ConfigError, match="cannot be used"):
        make(tmp_path)
    with pytest.raises(OSError, match="symbolic links"):
        kept(tmp_path)
    assert target.read_text(encoding="utf-8") == "precious"


def test_a_directory_that_everybody_can_write_to_is_refused(tmp_path: Path) -> None:
    make(tmp_path)
    directory = tmp_path / "dead-letters"
    directory.chmod(0o777)
    with pytest.raises(ConfigError, match="everybody can write"):
        make(tmp_path)
    directory.chmod(0o700)
    tmp_path.chmod(0o777)
    with pytest.raises(ConfigError, match="everybody can write"):
        make(tmp_path)
    tmp_path.chmod(0o1777)
    make(tmp_path)


@pytest.mark.parametrize("kind", ["file", "missing", "pipe"])
def test_what_cannot_be_used_is_a_mistake_of_the_configuration(tmp_path: Path, kind: str) -> None:
    state = tmp_path / "state"
    if kind == "file":
        state.write_bytes(b"")
    elif kind == "missing":
        state = state / "deeper"
    else:
        make(state, name="other")
        os.mkfifo(dead_letter_path(str(state), "x"))
    with pytest.raises(ConfigError, match=r"dead letters of 'x': .* set another delivery\.state"):
        make(state)


def test_names_are_those_of_the_files(tmp_path: Path) -> None:
    assert dead_letter_names(str(tmp_path)) == []
    for name in ("b", "a.1"):
        make(tmp_path, name=name)
    (tmp_path / "dead-letters" / ".a.1.jsonl.new").write_bytes(b"")
    (tmp_path / "dead-letters" / "notes").write_bytes(b"")
    assert dead_letter_names(str(tmp_path)) == ["a.1", "b"]


def test_nothing_is_there_before_the_first(tmp_path: Path) -> None:
    assert kept(tmp_path) == []


def test_what_is_removed_is_gone_at_once_and_its_space_later(tmp_path: Path) -> None:
    file = make(tmp_path)
    add(file, 1, 2, 3)
    path = Path(file.place)
    with DeadLetterEditor(path) as editor:
        stored = list(editor.read())
        editor.remove([stored[0].offset, stored[2].offset])
        assert kept(tmp_path) == [2]
        add(file, 4)
    assert kept(tmp_path) == [2, 4]
    assert path.read_bytes().count(b"\n") == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    add(file, 5)
    assert kept(tmp_path) == [2, 4, 5]


def test_an_editor_that_dies_costs_nothing_but_space(tmp_path: Path) -> None:
    file = make(tmp_path)
    add(file, 1, 2)
    path = Path(file.place)
    editor = DeadLetterEditor(path)
    editor.remove([0])
    path.with_name(f".{path.name}.new").write_bytes(b"half a")
    os.close(editor._descriptor)  # as the end of a process does
    assert kept(tmp_path) == [2]
    with DeadLetterEditor(path) as another:
        assert numbers(list(another.read())) == [2]
    assert path.read_bytes().count(b"\n") == 1
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_an_empty_file_goes(tmp_path: Path) -> None:
    file = make(tmp_path)
    add(file, 1, 2)
    with DeadLetterEditor(Path(file.place)) as editor:
        editor.clear()
    assert not Path(file.place).exists()
    add(file, 3)
    assert kept(tmp_path) == [3]


def test_letters_that_come_meanwhile_are_for_the_next_time(tmp_path: Path) -> None:
    file = make(tmp_path)
    add(file, 1)
    with DeadLetterEditor(Path(file.place)) as editor:
        found = []
        for stored in editor.read():
            found.append(stored)
            add(file, 2)
        assert numbers(found) == [1]
    assert kept(tmp_path) == [1, 2]


def test_two_editors_do_not_meet(tmp_path: Path) -> None:
    file = make(tmp_path)
    add(file, 1)
    path = Path(file.place)
    with DeadLetterEditor(path), pytest.raises(DeliveryError, match="another command changes"):
        DeadLetterEditor(path)
    with DeadLetterEditor(path) as editor:
        assert numbers(list(editor.read())) == [1]


def test_adding_and_removing_at_once_loses_nothing(tmp_path: Path) -> None:
    file = make(tmp_path)
    path = Path(file.place)
    add(file, 0)
    removed: list[int | None] = []
    ended = threading.Event()

    def edit() -> None:
        while not ended.is_set():
            try:
                with DeadLetterEditor(path) as editor:
                    stored = list(editor.read())[:5]
                    editor.remove([item.offset for item in stored])
                    removed.extend(numbers(stored))
            except FileNotFoundError:
                continue  # it was empty and went

    thread = threading.Thread(target=edit)
    thread.start()
    for number in range(1, 100):
        assert add(file, number) == {}
    ended.set()
    thread.join()
    assert sorted([*removed, *kept(tmp_path)], key=lambda n: n or 0) == list(range(100))


def test_what_a_collector_refuses_is_in_its_file(tmp_path: Path) -> None:
    delivery = DeliveryConfig(state_directory=str(tmp_path))
    bad = FailingCollector([PermanentDeliveryError("no", delivered=1, rejected=1)])
    pipeline = Pipeline({"x": bad}, delivery=delivery, clock=FakeClock(), threads=False).start()
    for number in range(3):
        pipeline.collect_packet_event(PacketReport(packet_id=number))
    with capture_logs() as logs:
        assert pipeline.flush()
    account = pipeline.status().collectors[0]
    assert (account.accepted, account.delivered, account.dead_lettered) == (3, 2, 1)
    assert account.dropped == account.queued == 0
    assert kept(tmp_path) == [1]
    assert logs[0]["kept_in"] == str(tmp_path / "dead-letters" / "x.jsonl")


def test_a_state_directory_that_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    directory = str(tmp_path / "no" / "such")
    delivery = DeliveryConfig(state_directory=directory, spool=SpoolConfig(enabled=False))
    memory = MemoryCollector()
    pipeline = Pipeline({"x": memory}, delivery=delivery, threads=False)
    with pytest.raises(ConfigError, match="dead letters of 'x'"):
        pipeline.start()
    assert "open" not in memory.calls
