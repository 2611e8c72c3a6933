"""What a spool knows beside its segments: the readers' accounts, in one small file.

The file has six places, each for the whole state with a check. They are written in turn where they
lie, and of those that are whole the one with the highest generation counts. Replacing the file by
a rename instead would make every acknowledgement wait for the disk: the file system has to finish
writing the old file before it can let go of it.

* Places 0 and 1 are written with every acknowledgement. They outlive the process.
* Places 2 and 3 are written and synced now and then, by whoever calls `Spool.tick`; places 4 and 5
  when an append needs room. The one of a pair that was synced last is never written over, so a
  loss of power leaves at least that.

Nothing here needs space once the file is there: on a full disk positions go on being kept.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import msgspec
from xxhash import xxh64_hexdigest

from trireme_collector.delivery.spool._account import (
    SavedReader,  # noqa: TC001  msgspec looks at the types of the fields
)
from trireme_collector.delivery.spool._segment import VERSION
from trireme_collector.delivery.spool.crash_points import EXIT_CODE, CrashPoint, is_due, reach
from trireme_collector.errors import ConfigError

if TYPE_CHECKING:
    from trireme_collector.delivery.spool._files import Files

__all__ = ["CURRENT", "SYNCED", "SYNCED_FOR_ROOM", "Damage", "State", "StateFile", "load_state"]

CURRENT = (0, 1)
"""The places for what has to outlive the process."""
SYNCED = (2, 3)
"""The places for what has to outlive a loss of power."""
SYNCED_FOR_ROOM = (4, 5)
"""The same, for whoever cannot wait for the others."""

_NAME = "state"
_PLACES = 6
_PLACE_BYTES = 65_536
_HEAD_BYTES = 25  # the check in 16 digits, a blank, the length in 7, a line end
_BLOCK = 4096


class Damage(msgspec.Struct, kw_only=True):
    """What was found damaged since the spool exists.

    Attributes:
        ranges: Damaged ranges within segments.
        range_bytes: What they took.
        torn_tails: Ends of segments that were not written whole.
        torn_bytes: What they took.
        unkept: Ranges and tails that could not be kept aside.
        files: Segments that were too short to be one.
    """

    ranges: int = 0
    range_bytes: int = 0
    torn_tails: int = 0
    torn_bytes: int = 0
    unkept: int = 0
    files: int = 0


class State(msgspec.Struct, kw_only=True):
    """The content of the file.

    Attributes:
        version: The version of the format.
        generation: Rises with every replacement.
        seed: Seeds the checks of new segments.
        durable: Every record below this sequence outlives a loss of power.
        next_sequence: No record up to now has this sequence or a higher one.
        refused: Records refused since the spool exists, by reason.
        readers: The accounts by name.
        damage: What was found damaged.
    """

    version: int = VERSION
    generation: int = 0
    seed: int
    durable: int
    next_sequence: int
    refused: dict[str, int]
    readers: dict[str, SavedReader]
    damage: Damage


class _Version(msgspec.Struct):
    version: int


class StateFile:
    """Writes the file.

    Args:
        files: The directory.
    """

    def __init__(self, files: Files) -> None:
        """Open nothing yet."""
        self._files = files
        self._descriptor = -1
        # The place of each pair that must not be written over.
        self._good: dict[tuple[int, int], int] = {}

    def write(self, state: State, places: tuple[int, int]) -> int:
        """Write a state so that it outlives the process.

        Returns:
            Its place, for `sync`.

        Raises:
            OSError: It could not be written; the one before is still there.
        """
        if self._descriptor < 0:
            self._open(state)
        first, second = places
        place = second if self._good.get(places, second) == first else first
        data = _encode(state)
        offset = place * _PLACE_BYTES
        if is_due(CrashPoint.STATE_HALF_WRITTEN):
            self._files.write(self._descriptor, data[: len(data) // 2], offset)
            os._exit(EXIT_CODE)
        self._files.write(self._descriptor, data, offset)
        if places == CURRENT:
            self._good[places] = place
        reach(CrashPoint.STATE_WRITTEN)
        return place

    def sync(self, place: int, places: tuple[int, int]) -> None:
        """Make what was written outlive a loss of power.

        Raises:
            OSError: It may not; the one before does.
        """
        self._files.sync(self._descriptor)
        self._good[places] = place
        reach(CrashPoint.STATE_SYNCED)

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            self._files.close(descriptor)

    def _open(self, state: State) -> None:
        """Open the file; a new one gets its space at once."""
        try:
            self._descriptor = self._files.open_write(_NAME)
        except FileNotFoundError:
            data = _encode(state).ljust(_BLOCK, b"\n")
            descriptor = self._files.open_write(_NAME, create=True)
            try:
                for place in range(_PLACES):
                    self._files.write(descriptor, data, place * _PLACE_BYTES)
            except OSError:
                self._files.close(descriptor)
                self._files.unlink(_NAME)
                raise
            self._descriptor = descriptor
            return
        self._good = _newest_places(self._files, self._descriptor)


def load_state(files: Files) -> tuple[State | None, int]:
    """Read the newest whole state.

    Returns:
        The state, or None when there is none, and how many places were damaged.

    Raises:
        ConfigError: A newer version wrote it.
    """
    try:
        descriptor = files.open_read(_NAME)
    except OSError:
        return None, 0
    best: State | None = None
    damaged = 0
    try:
        for place in range(_PLACES):
            found = _read(files, descriptor, place)
            if found is None:
                damaged += 1
            elif best is None or found.generation > best.generation:
                best = found
    finally:
        files.close(descriptor)
    return best, damaged


def _newest_places(files: Files, descriptor: int) -> dict[tuple[int, int], int]:
    """Find the place of each pair that must not be written over."""
    good: dict[tuple[int, int], int] = {}
    for places in (CURRENT, SYNCED, SYNCED_FOR_ROOM):
        states = {place: _read(files, descriptor, place) for place in places}
        whole = {place: state.generation for place, state in states.items() if state is not None}
        if whole:
            good[places] = max(whole, key=whole.__getitem__)
    return good


def _encode(state: State) -> bytes:
    text = msgspec.json.encode(state)
    if len(text) > _PLACE_BYTES - _HEAD_BYTES:
        raise OSError(errno.EFBIG, "too many readers for the file of positions")
    return b"%s %07d\n%s\n" % (xxh64_hexdigest(text).encode(), len(text), text)


def _read(files: Files, descriptor: int, place: int) -> State | None:
    """Read one place; None when it is not whole."""
    try:
        data = files.read(descriptor, _PLACE_BYTES, place * _PLACE_BYTES)
        length = int(data[17:24])
        text = data[_HEAD_BYTES : _HEAD_BYTES + length]
        if length < 0 or data[:16] != xxh64_hexdigest(text).encode():
            return None
        version = msgspec.json.decode(text, type=_Version).version
        if version > VERSION:
            msg = (
                f"spool {files.directory}: its state has version {version}, this program knows up"
                f" to {VERSION}; deliver it with the version that wrote it, or choose another"
                " directory; nothing was changed"
            )
            raise ConfigError(msg)
        return msgspec.json.decode(text, type=State)
    except (OSError, ValueError):  # msgspec's errors are ValueErrors, too
        return None
