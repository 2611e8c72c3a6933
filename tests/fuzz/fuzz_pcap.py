"""Fuzz the capture reader: ``python -m tests.fuzz.fuzz_pcap --seconds 60 --seed 1``."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.fuzz.harness import Target, main
from trireme_datapath.backends.pcap import MAX_FRAME_BYTES, CaptureError, CaptureReader

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["TARGET"]

_CAPTURES = Path(__file__).parents[1] / "data" / "captures"


def run(data: bytes) -> Hashable:
    """Read the bytes as a capture to their end."""
    packets = 0
    ended = ""
    offset = 0
    reader = None
    try:
        with CaptureReader(io.BytesIO(data), name="fuzz") as reader:
            for packet in reader:
                packets += 1
                assert len(packet.data) <= packet.original_length
                assert len(packet.data) <= MAX_FRAME_BYTES
                assert packet.number == reader.frames
    except CaptureError as error:
        # Numbers and quoted bytes aside, a message names the place that refused the input.
        ended = re.sub(r"\b[0-9a-f]+\b", "", str(error))
        offset = error.offset
    assert not ended or (offset >= 0 and ended.startswith("fuzz: at byte "))
    if reader is None:
        return ended
    assert packets + sum(reader.skipped.values()) >= reader.frames - 1
    return ended, min(packets, 3), frozenset(reader.skipped)


TARGET = Target(
    name="pcap",
    seeds=tuple(path.read_bytes() for path in sorted(_CAPTURES.glob("*.*cap*"))),
    run=run,
    max_bytes=16_384,
)

if __name__ == "__main__":
    sys.exit(main([TARGET]))
