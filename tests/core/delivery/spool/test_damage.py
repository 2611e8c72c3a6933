"""Damage costs the records it touches, one more at most, and they are counted; it always starts."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.core.delivery.spool.spools import SMALL, check, drain, fill, number, records, segments
from trireme_collector.delivery.spool import (
    LOST_DAMAGED,
    LOST_MISSING,
    FsyncMode,
    Spool,
    SpoolConfig,
)
from trireme_collector.delivery.spool._frames import MAGIC, encode_frames

if TYPE_CHECKING:
    from pathlib import Path

HEADER = 64
FRAME = 24 + 40
COUNT = 8


def survivors(directory: Path, given: int) -> list[int]:
    """Start, deliver everything, and hold what is lost to what is counted."""
    with Spool.open(directory, SMALL) as spool:
        reader = spool.reader("a")
        found = drain(reader)
        account = check(reader.account)
        assert not account.spooled
        assert found == sorted(set(found))
        if not spool.recovery.state_lost:
            assert account.accepted == given
            assert len(found) == given - account.dropped
        spool.append(records([999]), 0)
        assert drain(reader) == [999]
    return found


@pytest.mark.parametrize("name", ["segment", "state"])
def test_any_byte_may_be_another(tmp_path: Path, name: str) -> None:
    # The mode in which everything is there.
    fill(tmp_path / "sound", COUNT, config=SpoolConfig(max_bytes=65536, segment_bytes=4096))
    (path,) = (p for p in (tmp_path / "sound").iterdir() if p.name.endswith(name))
    content = path.read_bytes()
    # The file of positions is mostly nothing, and says the same six times.
    places = [
        place
        for place in range(len(content))
        if content[place] not in b"\0\n" and (place < 1 << 16 or not place % 16)
    ]
    for place in places:
        copy = tmp_path / "copy"
        shutil.copytree(tmp_path / "sound", copy)
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        (copy / path.name).write_bytes(changed)
        lost = COUNT - len(survivors(copy, COUNT))
        touches = name == "segment" and place >= HEADER
        assert lost <= (2 if touches else 0), f"byte {place}"
        shutil.rmtree(copy)


@pytest.mark.parametrize("cut", range(0, HEADER + 3 * FRAME, 5))
def test_any_tail_may_be_missing(tmp_path: Path, cut: int) -> None:
    fill(tmp_path / "s", COUNT)
    (path,) = segments(tmp_path / "s")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - cut])
    assert len(survivors(tmp_path / "s", COUNT)) == COUNT - -(-cut // FRAME)


@pytest.mark.parametrize("left", range(HEADER))
def test_a_segment_may_be_too_short_to_be_one(tmp_path: Path, left: int) -> None:
    fill(tmp_path / "s", COUNT)
    (path,) = segments(tmp_path / "s")
    path.write_bytes(path.read_bytes()[:left])
    assert survivors(tmp_path / "s", COUNT) == []
    assert bool(left) == (tmp_path / "s" / "damaged" / path.name).exists()


@pytest.mark.parametrize("page", range(16))
def test_any_page_may_be_zeros(tmp_path: Path, page: int) -> None:
    config = SpoolConfig(max_bytes=1 << 20, segment_bytes=1 << 16, fsync=FsyncMode.NEVER)
    fill(tmp_path / "s", 1000, config=config, at_once=100)
    path = segments(tmp_path / "s")[0]
    content = bytearray(path.read_bytes())
    zeros = len(content[page * 4096 : (page + 1) * 4096])
    content[page * 4096 : page * 4096 + zeros] = bytes(zeros)
    path.write_bytes(content)
    with Spool.open(tmp_path / "s", config) as spool:
        reader = spool.reader("a")
        found = drain(reader, 500)
        account = check(reader.account)
        # Zeros at the end look as if nothing had been written there.
        reason = LOST_MISSING if page == 15 else LOST_DAMAGED
        assert account.dropped_by_reason == {reason: 1000 - len(found)}
        assert 0 < 1000 - len(found) <= 4096 // FRAME + 2
        damage = spool.status().damage
        assert damage.ranges == (page < 15)
        assert damage.range_bytes >= (4096 - HEADER) * damage.ranges


def test_a_segment_may_be_missing(tmp_path: Path) -> None:
    fill(tmp_path / "full", 400)
    names = [path.name for path in segments(tmp_path / "full")]
    for index, name in enumerate(names):
        copy = tmp_path / f"{index}"
        shutil.copytree(tmp_path / "full", copy)
        (copy / name).unlink()
        with Spool.open(copy, SMALL) as spool:
            reader = spool.reader("a")
            found = drain(reader)
            account = check(reader.account)
            assert (account.accepted, account.spooled) == (400, 0)
            assert account.dropped == 400 - len(found) <= 4096 // FRAME
            assert account.dropped_by_reason.keys() <= {LOST_MISSING, LOST_DAMAGED}


def test_everything_but_the_segments_may_be_missing(tmp_path: Path) -> None:
    fill(tmp_path / "s", 400)
    for path in (tmp_path / "s").iterdir():
        if path.suffix != ".segment":
            path.unlink()
    with Spool.open(tmp_path / "s", SMALL) as spool:
        assert spool.recovery.state_lost
        assert drain(spool.reader("a")) == list(range(400))


def test_a_damaged_head_and_no_state_are_helped_by_another_segment(tmp_path: Path) -> None:
    fill(tmp_path / "s", 400)
    (tmp_path / "s" / "state").write_bytes(b"nonsense")
    first = segments(tmp_path / "s")[0]
    content = bytearray(first.read_bytes())
    content[:HEADER] = bytes(HEADER)
    first.write_bytes(content)
    with Spool.open(tmp_path / "s", SMALL) as spool:
        assert spool.recovery.damaged_states == 6
        assert drain(spool.reader("a")) == list(range(400))


def test_damaged_parts_are_kept_aside(tmp_path: Path) -> None:
    fill(tmp_path / "s", COUNT)
    (path,) = segments(tmp_path / "s")
    content = bytearray(path.read_bytes())
    begin = HEADER + 3 * FRAME
    content[begin + 30] ^= 1
    torn = b"\xc1TRF and then the power went"
    content += torn
    path.write_bytes(content)
    with Spool.open(tmp_path / "s", SMALL) as spool:
        assert spool.recovery.torn_bytes == len(torn)
        one, two = spool.reader("a"), spool.reader("b")
        assert drain(one) == drain(two)
        damage = spool.status().damage
        assert (damage.ranges, damage.range_bytes, damage.torn_tails) == (1, FRAME, 1)
        assert damage.unkept == 0
    kept = {p.name: p.read_bytes() for p in (tmp_path / "s" / "damaged").iterdir()}
    assert kept[f"{path.name}-{begin:08x}"] == bytes(content[begin : begin + FRAME])
    assert kept[f"{path.name}-{HEADER + COUNT * FRAME:08x}"] == torn
    assert len(path.read_bytes()) == HEADER + COUNT * FRAME
    with Spool.open(tmp_path / "s", SMALL) as spool:
        assert spool.status().damage == damage


def test_what_is_kept_aside_is_bounded(tmp_path: Path) -> None:
    fill(tmp_path / "s", COUNT)
    (path,) = segments(tmp_path / "s")
    content = bytearray(path.read_bytes())
    for index in range(0, COUNT, 2):
        content[HEADER + index * FRAME + 40] ^= 1
    path.write_bytes(content)
    config = SpoolConfig(
        max_bytes=65536, segment_bytes=4096, damaged_bytes=2 * FRAME, fsync=FsyncMode.NEVER
    )
    with Spool.open(tmp_path / "s", config) as spool:
        assert drain(spool.reader("a")) == list(range(1, COUNT, 2))
        damage = spool.status().damage
        assert (damage.ranges, damage.unkept) == (4, 2)


def test_a_record_that_holds_a_frame_is_no_frame(tmp_path: Path) -> None:
    with Spool.open(tmp_path / "s", SMALL) as spool:
        spool.reader("a")
        forged = encode_frames(records([666, 667]), 2, 12345) + MAGIC * 20
        spool.append([forged, *records([1])], 0)
    (path,) = segments(tmp_path / "s")
    content = bytearray(path.read_bytes())
    content[HEADER] ^= 1
    path.write_bytes(content)
    with Spool.open(tmp_path / "s", SMALL) as spool:
        assert drain(spool.reader("a")) == [1]


def test_a_segment_full_of_heads_takes_no_minutes(tmp_path: Path) -> None:
    config = SpoolConfig(fsync=FsyncMode.NEVER)
    with Spool.open(tmp_path / "s", config) as spool:
        spool.reader("a")
        spool.append([(MAGIC + b"\x00\x00\x10\x00") * 120_000, *records([1])], 0)
    (path,) = segments(tmp_path / "s")
    content = bytearray(path.read_bytes())
    content[HEADER] ^= 1
    path.write_bytes(content)
    with Spool.open(tmp_path / "s", config) as spool:
        reader = spool.reader("a")
        drain(reader)
        assert not check(reader.account).spooled


def test_damage_while_it_is_open_is_seen(tmp_path: Path) -> None:
    with Spool.open(tmp_path / "s", SMALL) as spool:
        reader = spool.reader("a")
        spool.append(records(range(12)), 0)
        (path,) = segments(tmp_path / "s")
        with path.open("r+b") as file:
            file.seek(HEADER + 5 * FRAME + 3)
            file.write(b"\xff")
        batch = reader.read(12)
        assert list(map(number, batch.payloads)) == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]
        assert list(batch.sequences) == [1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12]
        assert check(reader.account).dropped_by_reason == {LOST_DAMAGED: 1}
        reader.acknowledge(3)
        reader.rewind()
        assert drain(reader) == [3, 4, 6, 7, 8, 9, 10, 11]
        assert check(reader.account).delivered == 11


def test_a_segment_taken_away_while_it_is_open_is_missing(tmp_path: Path) -> None:
    with Spool.open(tmp_path / "s", SMALL) as spool:
        reader = spool.reader("a")
        spool.append(records(range(200)), 0)
        paths = segments(tmp_path / "s")
        paths[1].unlink()
        found = drain(reader)
        account = check(reader.account)
        assert account.dropped_by_reason == {LOST_MISSING: 200 - len(found)}
        assert account.spooled == 0
