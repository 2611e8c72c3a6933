"""Finding out at start what is there, whatever happened before."""

from __future__ import annotations

import contextlib
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec

from trireme_collector.delivery._spool_config import FsyncMode
from trireme_collector.delivery.spool._damage import DAMAGED_DIRECTORY
from trireme_collector.delivery.spool._frames import HEAD_BYTES, count_torn
from trireme_collector.delivery.spool._scan import Scanner
from trireme_collector.delivery.spool._segment import (
    HEADER_BYTES,
    UNFINISHED,
    load_segment,
    segment_key,
)
from trireme_collector.delivery.spool._state import Damage, State, load_state
from trireme_collector.delivery.spool.crash_points import CrashPoint, reach
from trireme_collector.errors import ConfigError

if TYPE_CHECKING:
    from trireme_collector.delivery._spool_config import SpoolConfig
    from trireme_collector.delivery.spool._damage import DamageKeeper
    from trireme_collector.delivery.spool._files import Files
    from trireme_collector.delivery.spool._segment import Segment

__all__ = ["Found", "Recovery", "load_segments", "recover"]

_AT_ONCE = 1000


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """What a start found.

    Attributes:
        created: Whether there was nothing.
        segments: How many segments there are.
        torn_bytes: What was cut off the end because it was not written whole, or damaged.
        torn_records: How many records that cost, as far as it can be known.
        damaged_states: Places in the file of positions that were not whole.
        state_lost: Whether none of them was whole: readers begin anew.
        unreadable_segments: Segments that could not be read at all.
    """

    created: bool = False
    segments: int = 0
    torn_bytes: int = 0
    torn_records: int = 0
    damaged_states: int = 0
    state_lost: bool = False
    unreadable_segments: int = 0


class Found(msgspec.Struct, kw_only=True):
    """What the spool goes on from."""

    segments: list[Segment]
    state: State
    next_sequence: int
    durable: int
    generation: int
    recovery: Recovery


def recover(files: Files, config: SpoolConfig, keeper: DamageKeeper, new_seed: int) -> Found:
    """Look at the directory and make it sound.

    Only the last segment is read; the others are known by name, head and size, and what lies in
    them is proved when it is read. Everything is looked at before anything is changed.

    Raises:
        ConfigError: A newer version wrote it, or the directory cannot be read.
        OSError: A file could not be changed.
    """
    try:
        names = frozenset(files.names())
    except OSError as error:
        msg = f"spool {files.directory}: cannot be listed: {error.strerror}; check the disk"
        raise ConfigError(msg) from error
    saved, damaged_states = load_state(files)
    segments, unreadable = load_segments(files, names, saved)
    for name in names:
        if name.endswith(UNFINISHED):
            with contextlib.suppress(OSError):  # it is in nobody's way
                files.unlink(name)
    for name in unreadable:
        _put_aside(files, name)
    state = saved or State(
        seed=segments[-1].seed if segments else new_seed,
        durable=1,
        next_sequence=1,
        refused={},
        readers={},
        damage=Damage(),
    )
    state.damage.files += len(unreadable)
    next_sequence = _lowest_free(files, state, segments, unreadable)
    torn_bytes = torn_records = 0
    if segments:
        last = segments[-1]
        next_sequence, torn_bytes, torn_records = _recover_last(
            files, last, keeper, state.damage, next_sequence
        )
        if last.seed != state.seed or last.end >= config.segment_bytes:
            last.closed = True
        if last.closed and last.descriptor >= 0:
            files.close(last.descriptor)
            last.descriptor = -1
    return Found(
        segments=segments,
        state=state,
        next_sequence=next_sequence,
        durable=_make_durable(files, config, segments, state.durable, next_sequence),
        generation=max((key[1] for name in names if (key := segment_key(name))), default=0),
        recovery=Recovery(
            created=saved is None and not segments and not unreadable,
            segments=len(segments),
            torn_bytes=torn_bytes,
            torn_records=torn_records,
            damaged_states=damaged_states,
            state_lost=saved is None and bool(segments or unreadable or damaged_states),
            unreadable_segments=len(unreadable),
        ),
    )


def load_segments(
    files: Files, names: frozenset[str], saved: State | None
) -> tuple[list[Segment], list[str]]:
    """Look at every segment's head; also give the names of those that cannot be used."""
    segments: list[Segment] = []
    failed: list[str] = []
    for name in sorted(name for name in names if segment_key(name)):
        try:
            segment = load_segment(files, name, saved.seed if saved else None)
        except OSError:
            continue  # it stays where it is, and what it held is counted as missing
        if segment is None:
            failed.append(name)
        else:
            segments.append(segment)
    if failed and segments and saved is None:
        # Their heads are damaged, but segments of one spool share their seed.
        for name in failed[:]:
            try:
                segment = load_segment(files, name, segments[-1].seed)
            except OSError:
                segment = None
            if segment is not None:
                failed.remove(name)
                segments.append(segment)
        segments.sort(key=lambda segment: (segment.first, segment.generation))
    return segments, failed


def _put_aside(files: Files, name: str) -> None:
    """Keep a file that is no segment where it is in nobody's way."""
    try:
        if files.size(name):
            files.make_directory(DAMAGED_DIRECTORY)
            files.put_in_place(name, f"{DAMAGED_DIRECTORY}/{name}")
        else:
            files.unlink(name)
    except OSError:
        return  # it is passed over at the next start as well


def _lowest_free(files: Files, state: State, segments: list[Segment], unreadable: list[str]) -> int:
    """Find a sequence that no record can have had, but for those of the last segment."""
    lowest = max(1, state.next_sequence)
    for reader in state.readers.values():
        lowest = max(lowest, reader.position, *(end for _, end in reader.holes), reader.start)
    if segments:
        lowest = max(lowest, segments[-1].first)
    for name in unreadable:
        key = segment_key(name)
        if key and (not segments or key[0] >= segments[-1].first):
            try:
                size = files.size(name)
            except OSError:
                size = 0
            # No more records than that can have been in it.
            lowest = max(lowest, key[0] + max(0, size - HEADER_BYTES) // HEAD_BYTES)
    return lowest


def _recover_last(
    files: Files, last: Segment, keeper: DamageKeeper, damage: Damage, next_sequence: int
) -> tuple[int, int, int]:
    """Read the last segment, cut what is not whole, and open it for writing if that is sound.

    Returns:
        The next sequence, and the bytes and records that were cut off.
    """
    limit = last.end
    try:
        scanner = Scanner(files, last)
    except OSError:
        return next_sequence + limit // HEAD_BYTES, 0, 0
    expected = last.first
    try:
        while True:
            sequences, _ = scanner.read(expected, limit, _AT_ONCE, _AT_ONCE * 1024)
            if not sequences:
                break
            expected = sequences[-1] + 1
        tail = scanner.damage[-1] if scanner.damage and scanner.damage[-1][1] == limit else None
        torn = scanner.peek(tail[0], limit) if tail else b""
    finally:
        scanner.close()
    lost = count_torn(torn, expected)
    next_sequence = max(next_sequence, expected + lost)
    begin = limit - len(torn)
    is_written = bool(torn.strip(b"\0"))
    if is_written:
        damage.torn_tails += 1
        damage.torn_bytes += len(torn)
        if keeper.keep(last, begin, limit) is False:
            damage.unkept += 1
        reach(CrashPoint.OPEN_DAMAGE_KEPT)
    last.end = begin
    if last.sound:
        _open_last(files, last, cut=bool(torn))
    return next_sequence, len(torn) if is_written else 0, lost


def _open_last(files: Files, last: Segment, *, cut: bool) -> None:
    """Open a segment for writing on; where that fails, a new one will be begun."""
    try:
        last.descriptor = files.open_write(last.name)
        if cut:
            files.truncate(last.descriptor, last.end)
            reach(CrashPoint.OPEN_TAIL_CUT)
    except OSError:
        return
    last.size = last.end
    last.closed = False


def _make_durable(
    files: Files, config: SpoolConfig, segments: list[Segment], durable: int, next_sequence: int
) -> int:
    """Sync what may not have been before the process ended; give what is durable then."""
    if config.fsync is FsyncMode.NEVER:
        return durable
    needed = [one for one, two in pairwise(segments) if two.first > durable] + segments[-1:]
    try:
        for segment in needed:
            descriptor = files.open_read(segment.name)
            try:
                files.sync(descriptor)
            finally:
                files.close(descriptor)
            segment.synced_end = segment.end
        files.sync_directory()
    except OSError:
        return min(durable, next_sequence)
    return next_sequence
