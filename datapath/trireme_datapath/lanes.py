"""The fast door's view of a stream of alike packets, and what it remembers of new flows."""

from __future__ import annotations

import functools
import sys
from struct import Struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trireme_datapath.packets import Verdict
    from trireme_datapath.rulings import Ruling
    from trireme_datapath.units import Way

__all__ = ["FAST_PROTOCOLS", "FastRow", "Lane", "Memory"]

FAST_PROTOCOLS: Final = (6, 17)
"""The protocols that the fast door judges: TCP and UDP."""

FastRow = tuple[int, bytes, int, int, int, int, int, bytes, int, int]
"""One packet for the fast door, as one precompiled big-endian struct reads it from a message.

In order: the packet id; the bytes that tell the lane; the length field of the payload attribute;
of the IP header the first byte, the length field, the fragment field (any field for IPv6) and the
protocol; addresses and ports, 12 or 36 bytes; then the 16 bits at offset 4 of the transport
header (the length of UDP) and the 16 bits at offset 12 (data offset and flags of TCP).
"""

_SHORTEST: Final = 20  # bytes of transport that a row reads: a TCP header without options
_SPLIT_4: Final = Struct("4s4s2s2s").unpack
_SPLIT_6: Final = Struct("16s16s2s2s").unpack
_MAX_REMEMBERED: Final = 16_384  # forgetting them all takes a millisecond or two


class Memory(dict[bytes, "Ruling"]):
    """Rulings by addresses and server port; it forgets all when it is full.

    A flood of flows that have nothing in common would fill any table, and a table that keeps
    the ones used last costs more in every packet than asking the policy again now and then.
    """

    def keep(self, key: bytes, ruling: Ruling) -> None:
        """Remember a ruling."""
        if len(self) >= _MAX_REMEMBERED:
            self.clear()
        self[key] = ruling


class Lane:
    """Packets of one IP version that come the same way with the same mark.

    Attributes:
        way: What hook, interfaces and mark say about the units.
        interface: The interface that records name.
        tables: The flows of the fast protocols by protocol number.
        reverse_tables: The same for packets in the other direction.
        memories: Remembered rulings of the fast protocols.
        split: Takes a flow key apart: source, destination, source port, destination port.
        version_mask: Bits of the first header byte that are compared.
        version_value: What they must be: version 4 without options, or version 6.
        fragment_mask: Bits of the fragment field that must be 0.
        counted_bytes: How much of the IP header its length field counts: 20, or 0 for IPv6.
        uncounted_bytes: How much it does not count: 0, or 40 for IPv6.
        expected: By IP length field, the length field of a whole payload attribute, byte
            swapped as `FastRow` has it; -1 where the packet is too short for the fast door.
        denied_verdict: What becomes of packets of rejected flows.
        denied_mark: The mark that they get, None to leave it.
    """

    __slots__ = (
        "counted_bytes",
        "denied_mark",
        "denied_verdict",
        "expected",
        "fragment_mask",
        "interface",
        "memories",
        "reverse_tables",
        "split",
        "tables",
        "uncounted_bytes",
        "version_mask",
        "version_value",
        "way",
    )

    def __init__(
        self,
        *,
        way: Way,
        version: int,
        interface: str,
        copy_range: int,
        denied: tuple[Verdict, int | None],
    ) -> None:
        """Lay out the tables; `copy_range` is how many bytes of a packet the kernel copies."""
        self.interface = interface
        self.denied_verdict, self.denied_mark = denied
        if version == 4:
            self.split = _SPLIT_4
            self.counted_bytes, self.uncounted_bytes = 20, 0
            self.version_mask, self.version_value, self.fragment_mask = 0xFF, 0x45, 0x3FFF
        else:
            self.split = _SPLIT_6
            self.counted_bytes, self.uncounted_bytes = 0, 40
            self.version_mask, self.version_value, self.fragment_mask = 0xF0, 0x60, 0
        self.expected = _payload_lengths(copy_range, self.uncounted_bytes)
        self.enter(way)

    def enter(self, way: Way) -> None:
        """Take the tables of a way, at first and whenever the policy changes."""
        self.way = way
        self.tables = {number: way.zone.table(number) for number in FAST_PROTOCOLS}
        self.reverse_tables = {number: way.reverse_zone.table(number) for number in FAST_PROTOCOLS}
        self.memories = {number: Memory() for number in FAST_PROTOCOLS}


@functools.cache
def _payload_lengths(copy_range: int, uncounted_bytes: int) -> Sequence[int]:
    """Say for each IP length field how long the payload attribute must be, -1 for none."""
    shortest = (uncounted_bytes or 20) + _SHORTEST - uncounted_bytes
    whole = range(shortest, max(copy_range - uncounted_bytes, shortest))
    lengths = [-1] * shortest
    lengths += [_as_rows_have_it(4 + field + uncounted_bytes) for field in whole]
    lengths += [_as_rows_have_it(4 + copy_range)] * (0x10000 - len(lengths))
    return lengths[:0x10000]


def _as_rows_have_it(length: int) -> int:
    """Swap the bytes of a length in the host's order, which the struct reads the other way."""
    if length > 0xFFFF:
        return -1
    return length if sys.byteorder == "big" else (length & 0xFF) << 8 | length >> 8
