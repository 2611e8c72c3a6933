"""The fast door's view of a stream of alike packets, and what it remembers of new flows."""

from __future__ import annotations

import functools
import sys
from struct import Struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trireme_datapath.flows import Origin
    from trireme_datapath.packets import Verdict
    from trireme_datapath.rulings import Ruling
    from trireme_datapath.units import Way

__all__ = ["FAST_PROTOCOLS", "MAX_FRESH", "MAX_REMEMBERED", "FastRow", "Lane"]

FAST_PROTOCOLS: Final = (6, 17)
"""The protocols that the fast door judges: TCP and UDP."""

FastRow = tuple[int, bytes, int, int, int, int, bytes, int, int]
"""One packet for the fast door, as one precompiled big-endian struct reads it from a message.

In order: the packet id; the bytes that tell the lane; the length field of the payload attribute;
the first byte of the IP header; the IP total length, header included; the four bytes of fragment
field, time to live and protocol (the next header alone for IPv6); addresses and ports, 12 or 36
bytes; then the 16 bits at offset 4 of the transport header (the length of UDP) and the 16 bits at
offset 12 (data offset and flags of TCP).
"""

_SHORTEST: Final = 20  # bytes of transport that a row reads: a TCP header without options
_LENGTHS: Final = 40 + 0x10000  # an IPv6 header and what its length field can say
_KEY_4: Final = Struct("4s4s2s2s")
_KEY_6: Final = Struct("16s16s2s2s")
MAX_REMEMBERED: Final = 16_384
"""Rulings about more than one flow that a lane remembers; it forgets all when there are more.

A table that keeps those used last costs more in every packet than asking the policy again now and
then. Forgetting all takes a millisecond.
"""
MAX_FRESH: Final = 8_192
"""Rulings about one flow that a lane remembers, in case a second one comes; likewise.

They are kept apart, as a flood of flows that have nothing in common fills any table: so it makes
nobody forget the others.
"""


class Lane:
    """Packets of one IP version that come the same way with the same mark.

    Attributes:
        way: What hook, interfaces and mark say about the units.
        interface: The interface that records name.
        origin: The origin of the flows that its packets open.
        tables: The flows of the fast protocols by protocol number.
        reverse_tables: The same for packets in the other direction.
        memories: Remembered rulings of the fast protocols by protocol number, each by the server's
            and the client's address and the server's port: those about more than one flow, and
            those about one.
        split: Takes a flow key apart: source, destination, source port, destination port.
        join: Makes one of these.
        version_mask: Bits of the first header byte that are compared.
        version_value: What they must be: version 4 without options, or version 6.
        kind_mask: Bits of the field with the protocol that tell a whole packet's protocol: a
            fragment has others.
        header_bytes: Length of the IP header: 20 or 40.
        expected: By IP total length, the length field of a whole payload attribute, byte
            swapped as `FastRow` has it; -1 where the packet is too short for the fast door.
        accepted_mark: The mark that accepted packets get, None to leave it.
        denied_verdict: What becomes of packets of rejected flows.
        denied_mark: The mark that they get, None to leave it.
    """

    __slots__ = (
        "accepted_mark",
        "denied_mark",
        "denied_verdict",
        "expected",
        "header_bytes",
        "interface",
        "join",
        "kind_mask",
        "memories",
        "origin",
        "reverse_tables",
        "split",
        "tables",
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
        accepted_mark: int | None,
        origin: Origin,
    ) -> None:
        """Lay out the tables; `copy_range` is how many bytes of a packet the kernel copies."""
        self.interface = interface
        self.origin = origin
        self.accepted_mark = accepted_mark
        self.denied_verdict, self.denied_mark = denied
        if version == 4:
            self.split, self.join = _KEY_4.unpack, _KEY_4.pack
            self.header_bytes = 20
            self.version_mask, self.version_value, self.kind_mask = 0xFF, 0x45, 0x3FFF00FF
        else:
            self.split, self.join = _KEY_6.unpack, _KEY_6.pack
            self.header_bytes = 40
            self.version_mask, self.version_value, self.kind_mask = 0xF0, 0x60, 0xFF
        self.expected = _payload_lengths(copy_range, self.header_bytes + _SHORTEST)
        self.enter(way)

    def enter(self, way: Way) -> None:
        """Take the tables of a way, at first and whenever the policy changes."""
        self.way = way
        self.tables = {number: way.zone.table(number) for number in FAST_PROTOCOLS}
        self.reverse_tables = {number: way.reverse_zone.table(number) for number in FAST_PROTOCOLS}
        self.memories: dict[int, tuple[dict[bytes, Ruling], dict[bytes, Ruling]]] = {
            number: ({}, {}) for number in FAST_PROTOCOLS
        }


@functools.cache
def _payload_lengths(copy_range: int, shortest: int) -> Sequence[int]:
    """Say for each IP total length how long the payload attribute must be, -1 for none."""
    whole = range(shortest, max(copy_range, shortest))
    lengths = [-1] * shortest
    lengths += [_as_rows_have_it(4 + total) for total in whole]
    lengths += [_as_rows_have_it(4 + copy_range)] * (_LENGTHS - len(lengths))
    return lengths[:_LENGTHS]


def _as_rows_have_it(length: int) -> int:
    """Swap the bytes of a length in the host's order, which the struct reads the other way."""
    if length > 0xFFFF:
        return -1
    return length if sys.byteorder == "big" else (length & 0xFF) << 8 | length >> 8
