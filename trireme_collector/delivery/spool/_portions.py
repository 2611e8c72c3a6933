"""Cutting what is appended at once into what fits into a segment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trireme_collector.delivery.spool._frames import HEAD_BYTES, MAX_PAYLOAD_BYTES
from trireme_collector.delivery.spool._segment import HEADER_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["split_payloads"]


def split_payloads(
    payloads: Sequence[bytes], segment_bytes: int
) -> tuple[Sequence[Sequence[bytes]], int]:
    """Split what is more than one segment takes, and leave out what no segment takes.

    Returns:
        The portions, in order, and how many payloads were left out.
    """
    if not payloads:
        return (), 0
    room = segment_bytes - HEADER_BYTES
    longest = min(room - HEAD_BYTES, MAX_PAYLOAD_BYTES)
    sizes = list(map(len, payloads))
    if sum(sizes) + HEAD_BYTES * len(sizes) <= room and max(sizes) <= longest:
        return (payloads,), 0
    portions: list[list[bytes]] = [[]]
    taken = left_out = 0
    for payload, size in zip(payloads, sizes, strict=True):
        if size > longest:
            left_out += 1
            continue
        taken += size + HEAD_BYTES
        if taken > room:
            portions.append([])
            taken = size + HEAD_BYTES
        portions[-1].append(payload)
    return [portion for portion in portions if portion], left_out
