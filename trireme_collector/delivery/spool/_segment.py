"""One segment: a file whose name and head say where it begins."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

from xxhash import xxh64_intdigest

from trireme_collector.errors import ConfigError

if TYPE_CHECKING:
    from trireme_collector.delivery.spool._files import Files

__all__ = [
    "HEADER_BYTES",
    "UNFINISHED",
    "VERSION",
    "Segment",
    "encode_header",
    "load_segment",
    "segment_key",
]

HEADER_BYTES = 64
VERSION = 1

UNFINISHED = ".new"
"""Ends the names of files that are not in their place yet."""

_HEADER = struct.Struct("<8sHHIQQQ16xQ")
_MAGIC = b"TRMSPOOL"
_CHECKED = HEADER_BYTES - 8
_NAME = re.compile(r"([0-9a-f]{16})-([0-9a-f]{8})\.segment")


class Segment:
    """What is known about a segment.

    Attributes:
        name: Its file name.
        first: No record in it has a lower sequence.
        generation: Of two segments that begin alike, the higher one replaces the other.
        seed: Seeds the checks of its frames.
        end: Where its sound part ends, as far as is known; it grows while the segment is written.
        synced_end: Up to where it outlives a loss of power.
        size: What it takes on disk, as far as the bounds are concerned.
        descriptor: The open file while it is written, else -1.
        removed: Whether it no longer belongs to the spool.
        closed: Whether nothing will be written to it any more.
        sound: Whether its head is as it was written.
    """

    __slots__ = (
        "closed",
        "descriptor",
        "end",
        "first",
        "generation",
        "name",
        "removed",
        "seed",
        "size",
        "sound",
        "synced_end",
    )

    def __init__(self, first: int, generation: int, seed: int) -> None:
        """Describe a segment that holds nothing."""
        self.name = f"{first:016x}-{generation:08x}.segment"
        self.first = first
        self.generation = generation
        self.seed = seed
        self.end = HEADER_BYTES
        self.synced_end = 0
        self.size = HEADER_BYTES
        self.descriptor = -1
        self.removed = False
        self.closed = False
        self.sound = True


def segment_key(name: str) -> tuple[int, int] | None:
    """Read first sequence and generation from a file name, or None if it is no segment's."""
    match = _NAME.fullmatch(name)
    return (int(match[1], 16), int(match[2], 16)) if match else None


def encode_header(segment: Segment, epoch: int) -> bytes:
    """Give the head of a segment's file."""
    head = _HEADER.pack(_MAGIC, VERSION, HEADER_BYTES, 0, segment.first, segment.seed, epoch, 0)
    return head[:_CHECKED] + xxh64_intdigest(head[:_CHECKED]).to_bytes(8, "little")


def load_segment(files: Files, name: str, seed: int | None) -> Segment | None:
    """Look at a segment's head and size.

    Args:
        files: The directory.
        name: The file.
        seed: What to take when the head is damaged; the name says the rest.

    Returns:
        The segment, or None when its file is too short for one or cannot be read with any seed.

    Raises:
        ConfigError: A newer version wrote it.
        OSError: It cannot be read.
    """
    key = segment_key(name)
    if key is None:
        return None
    size = files.size(name)
    if size < HEADER_BYTES:
        return None
    sound = False
    head = files.read_whole(name, HEADER_BYTES)
    magic, version, _, _, first, own_seed, _, check = _HEADER.unpack(head)
    if magic == _MAGIC and check == xxh64_intdigest(head[:_CHECKED]):
        if version > VERSION:
            msg = (
                f"spool {files.directory}: {name} has version {version}, this program knows up to"
                f" {VERSION}; deliver it with the version that wrote it, or choose another"
                " directory; nothing was changed"
            )
            raise ConfigError(msg)
        sound = first == key[0]
        if sound:
            seed = own_seed
    if seed is None:
        return None
    segment = Segment(*key, seed)
    segment.sound = sound
    segment.end = segment.size = size
    segment.closed = True
    return segment
