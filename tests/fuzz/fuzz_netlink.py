"""Fuzz how queues are read: ``python -m tests.fuzz.fuzz_netlink --seconds 60 --seed 1``."""

from __future__ import annotations

import struct
import sys
from typing import TYPE_CHECKING

from tests.fuzz.harness import Target, main
from trireme_datapath.backends._netlink_codec import MessageError, PacketMessage, parse_message
from trireme_datapath.backends._netlink_layout import discover, may_widen
from trireme_datapath.backends._queue_statistics import parse_statistics

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["TARGET"]

_SLOT = 320


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _seeds() -> tuple[bytes, ...]:
    head = _attribute(1, struct.pack("!IHB", 1, 0x0800, 1))
    some = _attribute(5, b"\0\0\0\2") + _attribute(3, b"\0\0\0\7") + _attribute(4, bytes(16))
    more = _attribute(9, b"\0\6" + bytes(10)) + _attribute(16, bytes(4)) + _attribute(13, bytes(4))
    bodies = [
        head + _attribute(10, b"E" + bytes(39)),
        head + some + more + _attribute(10, b"E" + bytes(127)),
        head + some + _attribute(10, b"\x60" + bytes(60)),
    ]
    packets = [struct.pack("=IHHII", 20 + len(b), 0x300, 0, 0, 0) + bytes(4) + b for b in bodies]
    error = struct.pack("=IHHIIi", 36, 2, 0, 1, 1, -2) + bytes(16)
    return (*packets, error, b"    5  27067     3 2   128     7     8     5000  1\n")


def run(data: bytes) -> Hashable:
    """Read a message, look for its layout, and read it through that."""
    view = memoryview(data)
    queues = len(parse_statistics(data.decode("latin-1")))
    try:
        parsed = parse_message(view)
    except MessageError as error:
        return error.packet_id is None, queues
    layout = discover(view, _SLOT, may_widen(view))
    if layout is None or not isinstance(parsed, PacketMessage) or len(data) > _SLOT:
        return type(parsed).__name__
    ((packet_id, key, *_),) = layout.rows(memoryview(data.ljust(_SLOT, b"\0")))
    assert packet_id == parsed.packet_id
    assert (key == layout.key) == layout.matches(view)
    return layout.version, len(key), parsed.timestamp_ns is None, parsed.captured_of is None


TARGET = Target(name="netlink", seeds=_seeds(), run=run, max_bytes=2_000, max_seconds=0.005)

if __name__ == "__main__":
    sys.exit(main([TARGET]))
