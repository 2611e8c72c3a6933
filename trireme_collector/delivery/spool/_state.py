"""What a spool knows beside its segments: the readers' accounts, in one file, twice.

``state`` is replaced with every acknowledgement and outlives the process. ``state.synced`` is
replaced now and then and outlives a loss of power. The one with the higher generation counts, of
those that are whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from xxhash import xxh64_hexdigest

from trireme_collector.delivery.spool._account import (
    SavedReader,  # noqa: TC001  msgspec looks at the types of the fields
)
from trireme_collector.delivery.spool._segment import VERSION
from trireme_collector.delivery.spool.crash_points import CrashPoint, reach
from trireme_collector.errors import ConfigError

if TYPE_CHECKING:
    from trireme_collector.delivery.spool._files import Files

__all__ = [
    "UNFINISHED",
    "Damage",
    "State",
    "load_state",
    "prepare_state",
    "put_state",
    "store_state",
]

_CURRENT = "state"
_SYNCED = "state.synced"
UNFINISHED = ".new"
"""Ends the names of files that are not in their place yet."""

_LIMIT = 8 * 1024 * 1024


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


def store_state(files: Files, state: State, *, sync: bool) -> None:
    """Replace the file.

    Args:
        files: The directory.
        state: What to keep.
        sync: Whether it has to outlive a loss of power.

    Raises:
        OSError: It could not be replaced; the old one is still there.
    """
    put_state(files, prepare_state(files, state, sync=sync), sync=sync)


def prepare_state(files: Files, state: State, *, sync: bool) -> str:
    """Write the file under another name, which `put_state` takes."""
    text = msgspec.json.encode(state)
    data = xxh64_hexdigest(text).encode() + b"\n" + text + b"\n"
    name = f"{_SYNCED}.{state.generation}{UNFINISHED}" if sync else f"{_CURRENT}{UNFINISHED}"
    files.write_new(name, data, sync=sync)
    return name


def put_state(files: Files, name: str, *, sync: bool) -> None:
    """Give a prepared file its name."""
    reach(CrashPoint.STATE_WRITTEN)
    files.put_in_place(name, _SYNCED if sync else _CURRENT)
    reach(CrashPoint.STATE_REPLACED)


def load_state(files: Files, names: frozenset[str]) -> tuple[State | None, int]:
    """Read the newest whole state.

    Args:
        files: The directory.
        names: What lies in it.

    Returns:
        The state, or None when there is none, and how many of the files were damaged.

    Raises:
        ConfigError: A newer version wrote it.
    """
    best: State | None = None
    damaged = 0
    for name in (_CURRENT, _SYNCED):
        if name not in names:
            continue
        try:
            state = _decode(files.read_whole(name, _LIMIT), files.path(name))
        except (OSError, msgspec.DecodeError):
            state = None
        if state is None:
            damaged += 1
        elif best is None or state.generation > best.generation:
            best = state
    return best, damaged


def _decode(data: bytes, path: str) -> State | None:
    check, _, rest = data.partition(b"\n")
    text = rest.removesuffix(b"\n")
    if check != xxh64_hexdigest(text).encode():
        return None
    version = msgspec.json.decode(text, type=_Version).version
    if version > VERSION:
        msg = (
            f"spool: {path} has version {version}, this program knows up to {VERSION}; deliver it"
            " with the version that wrote it, or choose another directory; nothing was changed"
        )
        raise ConfigError(msg)
    return msgspec.json.decode(text, type=State)
