"""Rotated files are compressed whole, in the background, and the oldest go."""

from __future__ import annotations

import gzip
import os
import threading
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from tests.plugins.file.lives import Life, read_all, reports
from trireme_collector_file import FileCollector
from trireme_collector_file._background import Background
from trireme_collector_file._disk import SystemDisk
from trireme_collector_file._rotation import find_generations
from trireme_collector_file._upkeep import StoppedError, Upkeep

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BASE = "flows.jsonl"
STAMP = "20260102T030405Z"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "d"


@pytest.fixture
def life(directory: Path) -> Life:
    return Life(directory, SystemDisk())


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def upkeep(directory: Path, keep: int = 0) -> Upkeep:
    return Upkeep(directory / BASE, SystemDisk(), keep=keep, compresses=True)


def never() -> bool:
    return False


def test_rotated_files_are_compressed(life: Life, directory: Path) -> None:
    collector = life.start()
    assert collector is not None
    for _ in range(3):
        life.deliver(collector, 6)
        life.clock.advance(1)
    collector.close()
    assert names(directory) == [
        BASE,
        f"{BASE}.{STAMP}.gz",
        f"{BASE}.20260102T030406Z.gz",
        f"{BASE}.20260102T030408Z.gz",
    ]
    assert read_all(directory) == list(range(18))


def test_a_compressed_file_keeps_rights_and_time(life: Life, directory: Path) -> None:
    plain = directory / f"{BASE}.{STAMP}"
    plain.write_bytes(b"x\n" * 400_000)
    plain.chmod(0o640)
    os.utime(plain, (1_000_000_000, 1_000_000_000))
    upkeep(life.directory).run(never)
    (packed,) = directory.iterdir()
    assert gzip.decompress(packed.read_bytes()) == b"x\n" * 400_000
    assert packed.stat().st_mode & 0o777 == 0o640
    assert packed.stat().st_mtime == 1_000_000_000


def test_compressed_files_count_among_those_that_stay(directory: Path) -> None:
    life = Life(directory, SystemDisk(), keep=2)
    collector = life.start()
    assert collector is not None
    for _ in range(6):
        life.deliver(collector, 5)
    collector.close()
    assert [name for name in names(directory) if name.endswith(".gz")] == names(directory)[1:]
    assert read_all(directory) == list(range(15, 30))


def test_a_start_ends_what_a_kill_has_interrupted(life: Life, directory: Path) -> None:
    whole = b'{"type":"packet","packet_id":1000}\n'
    for number, has_plain, has_packed in ((0, True, False), (1, True, True), (2, False, True)):
        name = f"{BASE}.{STAMP}" + (f".{number}" if number else "")
        if has_plain:
            (directory / name).write_bytes(whole * 300_000)
        if has_packed:
            (directory / f"{name}.gz").write_bytes(gzip.compress(whole * 300_000))
    (directory / f".{BASE}.{STAMP}.gz.partial").write_bytes(b"half")
    strangers = {f".{BASE}.notes.gz.partial", f"{BASE}.old.gz", f".{BASE}.{STAMP}.partial"}
    for stranger in strangers:
        (directory / stranger).write_bytes(b"")
    collector = life.start()
    assert collector is not None
    collector.close()
    suffixes = ("", ".1", ".2")
    packed = {f"{BASE}.{STAMP}{suffix}.gz" for suffix in suffixes}
    assert set(names(directory)) == {BASE, *packed, *strangers}
    for name in packed:
        assert gzip.decompress((directory / name).read_bytes()) == whole * 300_000


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"no gzip",
        gzip.compress(b"another\n", mtime=0),
        gzip.compress(b"one\n" * 90_000, mtime=0),
        gzip.compress(b"one\n" * 100_001, mtime=0),
        gzip.compress(b"one\n" * 100_000, mtime=0)[:-9],
    ],
)
def test_a_plain_file_stays_while_the_compressed_one_does_not_hold_it(
    life: Life, directory: Path, packed: bytes
) -> None:
    plain = life.directory / f"{BASE}.{STAMP}"
    plain.write_bytes(b"one\n" * 100_000)
    (directory / f"{BASE}.{STAMP}.gz").write_bytes(packed)
    upkeep(directory).run(never)
    assert plain.read_bytes() == b"one\n" * 100_000
    assert (directory / f"{BASE}.{STAMP}.gz").read_bytes() == packed


def test_nothing_is_overwritten_by_a_rotation(life: Life, directory: Path) -> None:
    (directory / f"{BASE}.{STAMP}.gz").write_bytes(gzip.compress(b""))
    collector = life.start()
    assert collector is not None
    life.deliver(collector, 6)
    collector.close()
    assert names(directory) == [BASE, f"{BASE}.{STAMP}.1.gz", f"{BASE}.{STAMP}.gz"]
    assert read_all(directory) == list(range(6))


def test_what_is_no_file_is_left_alone(life: Life, directory: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret\n")
    (life.directory / f"{BASE}.{STAMP}").symlink_to(tmp_path / "secret")
    (directory / f"{BASE}.{STAMP}.1").mkdir()
    (directory / f"{BASE}.{STAMP}.2").write_bytes(b"two\n")
    upkeep(directory).run(never)
    assert names(directory) == [f"{BASE}.{STAMP}", f"{BASE}.{STAMP}.1", f"{BASE}.{STAMP}.2.gz"]


def test_a_stop_leaves_no_half_and_loses_nothing(life: Life, directory: Path) -> None:
    plain = life.directory / f"{BASE}.{STAMP}"
    plain.write_bytes(os.urandom(1 << 20))
    asked = 0

    def after_two() -> bool:
        nonlocal asked
        asked += 1
        return asked > 2

    with pytest.raises(StoppedError):
        upkeep(directory).run(after_two)
    assert names(directory) == [plain.name]
    upkeep(directory).run(never)
    assert names(directory) == [f"{plain.name}.gz"]


def test_a_failure_is_logged_and_tried_again(directory: Path) -> None:
    class Stubborn(SystemDisk):
        fails = True

        def unlink(self, path: str) -> None:
            if self.fails and path.endswith("Z"):
                raise PermissionError(1, "Operation not permitted")
            super().unlink(path)

    disk = Stubborn()
    life = Life(directory, disk)
    collector = life.start()
    assert collector is not None
    with capture_logs() as logs:
        life.deliver(collector, 6)
        life.deliver(collector, 1)
    assert [log["event"] for log in logs] == ["upkeep_failed"]
    assert "not permitted" in logs[0]["error"]
    assert not life.failures
    disk.fails = False
    life.clock.advance(61)
    life.deliver(collector, 1)
    collector.close()
    assert names(directory) == [BASE, f"{BASE}.{STAMP}.gz"]
    assert read_all(directory) == list(range(8))


def test_nobody_waits_for_the_compression(directory: Path) -> None:
    life = Life(directory, SystemDisk())
    going, may_go = threading.Event(), threading.Event()

    class Slow(SystemDisk):
        def rename(self, source: str, target: str) -> None:
            if target.endswith(".gz"):
                going.set()
                assert may_go.wait(30)
            super().rename(source, target)

    collector = FileCollector(life.options, name="f", time_ns=life.clock.time_ns, disk=Slow())
    collector.open()
    collector.deliver(reports(0, 6))
    assert going.wait(30)
    for number in range(6, 40):
        collector.deliver(reports(number, 1))
    may_go.set()
    collector.wait_idle()
    collector.close()
    assert read_all(directory) == list(range(40))
    assert [name for name in names(directory) if name.endswith(".gz")] == names(directory)[1:]


def test_the_background_does_all_that_it_was_asked_for() -> None:
    done = 0

    def work(is_stopped: Callable[[], bool]) -> None:
        nonlocal done
        assert not is_stopped()
        done += 1

    background = Background(work, "test")
    background.wait()
    for number in range(1, 4):
        background.request()
        background.wait()
        assert done == number
    assert background.stop(1)


def test_the_background_stops_when_it_is_told_to() -> None:
    begun, ended = threading.Event(), threading.Event()

    def work(is_stopped: Callable[[], bool]) -> None:
        begun.set()
        while not is_stopped():
            ended.wait(0.001)

    background = Background(work, "test")
    background.request()
    background.request()
    assert begun.wait(30)
    assert background.stop(30)


def test_generations_are_found_among_other_names() -> None:
    found = find_generations(
        "f",
        [
            "f",
            f"f.{STAMP}.10",
            f"f.{STAMP}.9.gz",
            f"f.{STAMP}.9",
            "f.20250102T030405Z.gz",
            f"f.{STAMP}.gz.partial",
            f"f.{STAMP}x",
            f"ff.{STAMP}",
            f"f.{STAMP}.٣",
        ],
    )
    assert [(g.name, g.plain, g.compressed) for g in found] == [
        ("f.20250102T030405Z", False, True),
        (f"f.{STAMP}.9", True, True),
        (f"f.{STAMP}.10", True, False),
    ]
