"""Fuzz what crosses between processes: ``python -m tests.fuzz.fuzz_record_link --seconds 60``."""

from __future__ import annotations

import struct
import sys
from typing import TYPE_CHECKING

from tests.fuzz.harness import Target, main
from trireme_collector import FlowRecord, TraceReport, encode_msgpack
from trireme_datapath.processes._record_link import BatchError, read_batch

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["TARGET"]

_BODIES = (encode_msgpack(TraceReport(lines=("a", "b"))), encode_msgpack(FlowRecord()))
_SEEDS = (
    b"",
    bytes(8),
    *(struct.pack(">QI", 7, len(body)) + body for body in _BODIES),
    bytes(8) + b"".join(struct.pack(">I", len(body)) + body for body in _BODIES),
)


def run(data: bytes) -> Hashable:
    """Read a batch, or one documented error."""
    try:
        first, records = read_batch(data)
    except BatchError as error:
        return str(error).partition(" ")[0]
    assert first == int.from_bytes(data[:8], "big")
    return len(records), tuple(type(record).__name__ for record in records)


TARGET = Target(name="record-link", seeds=_SEEDS, run=run, max_bytes=4_000, max_seconds=0.02)

if __name__ == "__main__":
    sys.exit(main([TARGET]))
