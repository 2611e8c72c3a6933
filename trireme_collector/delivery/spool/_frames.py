"""How one record lies in a segment: a head that names and proves it, then its bytes.

::

    magic 4 | length u32 | sequence u64 | check u64 | payload        (little endian)

The check is XXH64 over the payload, seeded with the seed of the segment plus the sequence. So it
covers all three fields in one call without a copy, and somebody whose bytes end up inside a
payload cannot put a frame there that a search after damage would take for a real one: the seed
is random and known to the spool alone. XXH64 needs a third of the time of `zlib.crc32` here.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from xxhash import xxh64_intdigest

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "HEAD_BYTES",
    "MAGIC",
    "MAX_PAYLOAD_BYTES",
    "NextFrame",
    "count_torn",
    "encode_frames",
    "find_frame",
    "read_frames",
]

MAGIC = b"\xc1TRF"
"""Begins every frame: 0xC1 stands neither in MessagePack's structure nor in UTF-8."""
HEAD_BYTES = 24
MAX_PAYLOAD_BYTES = 4 * 1024 * 1024
"""No record is longer, and no length beyond this is believed."""

_HEAD = struct.Struct("<4sIQQ")
_U64 = 0xFFFF_FFFF_FFFF_FFFF
# A search looks at so many places at most, and computes checks over so many bytes. Both are far
# beyond what damage leaves, and keep a segment full of heads from taking minutes.
_SEARCHED_PLACES = 200_000
_SEARCHED_BYTES = 128 * 1024 * 1024


def encode_frames(payloads: Sequence[bytes], sequence: int, seed: int) -> bytes:
    """Frame records.

    Args:
        payloads: The records' bytes.
        sequence: The sequence of the first.
        seed: The seed of the segment that they are for.
    """
    pack = _HEAD.pack
    parts: list[bytes] = []
    append = parts.append
    number = seed + sequence
    for payload in payloads:
        append(pack(MAGIC, len(payload), number - seed, xxh64_intdigest(payload, number & _U64)))
        append(payload)
        number += 1
    return b"".join(parts)


class NextFrame:
    """Where reading stopped, and why."""

    LIMIT = "limit"
    """As many as were wanted."""
    MORE = "more"
    """The bytes end within a frame or before one."""
    BAD = "bad"
    """There is no sound frame here."""


def read_frames(
    data: bytes,
    offset: int,
    seed: int,
    expected: int,
    max_records: int,
    max_bytes: int,
    *,
    is_first: bool,
    into: tuple[list[int], list[bytes]],
) -> tuple[int, int, str]:
    """Take frames from bytes, in order; those before the expected sequence are passed over.

    Args:
        data: The bytes.
        offset: Where a frame begins.
        seed: The seed of the segment.
        expected: The lowest sequence of interest; each frame taken raises it.
        max_records: How many to take at most.
        max_bytes: How many bytes of payload to take at most.
        is_first: Whether the first record is taken however long it is.
        into: Gets the sequences and the payloads.

    Returns:
        Where it stopped, the payload bytes taken, and why it stopped (`NextFrame`).
    """
    unpack = _HEAD.unpack_from
    sequences, payloads = into
    size = len(data)
    taken = 0
    count = 0
    while count < max_records:
        body = offset + HEAD_BYTES
        if body > size:
            short = size - offset
            # A wrong beginning is wrong however little of it there is.
            stop = NextFrame.MORE if data[offset : offset + 4] == MAGIC[:short] else NextFrame.BAD
            return offset, taken, NextFrame.MORE if not short else stop
        magic, length, sequence, check = unpack(data, offset)
        if magic != MAGIC or length > MAX_PAYLOAD_BYTES:
            return offset, taken, NextFrame.BAD
        end = body + length
        if end > size:
            return offset, taken, NextFrame.MORE
        payload = data[body:end]
        if xxh64_intdigest(payload, (seed + sequence) & _U64) != check:
            return offset, taken, NextFrame.BAD
        if sequence >= expected:
            if taken + length > max_bytes and not (is_first and not count):
                return offset, taken, NextFrame.LIMIT
            sequences.append(sequence)
            payloads.append(payload)
            taken += length
            count += 1
            expected = sequence + 1
        offset = end
    return offset, taken, NextFrame.LIMIT


def find_frame(data: bytes, offset: int, seed: int) -> int | None:
    """Find the next sound frame that lies wholly in the bytes, or None."""
    places = _SEARCHED_PLACES
    budget = _SEARCHED_BYTES
    size = len(data)
    while places and (offset := data.find(MAGIC, offset)) >= 0:
        places -= 1
        body = offset + HEAD_BYTES
        if body > size:
            return None
        _, length, sequence, check = _HEAD.unpack_from(data, offset)
        if body + length <= size and length <= budget:
            budget -= length
            payload = data[body : body + length]
            if xxh64_intdigest(payload, (seed + sequence) & _U64) == check:
                return offset
        offset += 1
    return None


def count_torn(data: bytes, expected: int) -> int:
    """Count the records that a damaged tail held, as far as it can be known.

    A frame that ends beyond the tail was never written whole and is none. What has no readable
    head counts as one record: it is better to report a loss too many than one too few.
    """
    offset = lost = 0
    while len(data) - offset >= HEAD_BYTES:
        magic, length, sequence, _ = _HEAD.unpack_from(data, offset)
        if magic != MAGIC or sequence != expected + lost or length > MAX_PAYLOAD_BYTES:
            return lost + 1 if data.strip(b"\0") else lost
        offset += HEAD_BYTES + length
        if offset > len(data):
            break
        lost += 1
    return lost
