"""Rules of one rank: the first of them, in file order, that takes a protocol and a port.

Ports and ICMP types share one scale of 16 bits: an ICMP type and code count as
``type * 256 + code``, and protocols that have neither are judged at 0.
"""

from __future__ import annotations

import enum
import heapq
from bisect import bisect_right
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from trireme_datapath.policy.spellings import PORT_PROTOCOLS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trireme_datapath.policy.flow_policy import FlowPolicy
    from trireme_datapath.policy.model import IcmpMatch, Rule

__all__ = ["Bucket", "Entry", "Rank", "spans"]

_FULL = ((0, 0xFFFF),)
Segments: TypeAlias = "tuple[list[int], list[Entry | None]]"


class Rank(enum.IntEnum):
    """The tables of one direction, in the order in which they are searched."""

    OBSERVED_REJECT = 0
    REJECT = 1
    OBSERVED_ACCEPT = 2
    ACCEPT = 3
    OBSERVED_APPLY = 4

    @property
    def label(self) -> str:
        """The name in explanations and the documentation."""
        return {
            Rank.OBSERVED_REJECT: "observe-continue reject",
            Rank.REJECT: "reject",
            Rank.OBSERVED_ACCEPT: "observe-continue accept",
            Rank.ACCEPT: "accept",
            Rank.OBSERVED_APPLY: "observe-apply",
        }[self]


class Entry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A rule as reached through one of its address sets.

    Attributes:
        number: Its place among all entries of the direction: file order, then set order.
        index: The place of the rule in the file, within its unit and direction.
        policy: What a flow gets from it.
    """

    number: int
    index: int
    rank: Rank
    rule: Rule
    policy: FlowPolicy


def spans(rule: Rule, protocol: int) -> tuple[tuple[int, int], ...]:
    """Give the ranges of the 16-bit scale that a rule takes of a protocol."""
    if rule.protocols and protocol not in rule.protocols:
        return ()
    if rule.ports:
        if protocol not in PORT_PROTOCOLS:
            return ()
        return tuple((ports.first, ports.last) for ports in rule.ports)
    if rule.icmp:
        matches = (match for match in rule.icmp if match.protocol == protocol)
        return tuple(_icmp_span(match) for match in matches)
    return _FULL


def _icmp_span(match: IcmpMatch) -> tuple[int, int]:
    first = match.type << 8
    return (first, first | 0xFF) if match.code is None else (first | match.code, first | match.code)


class Bucket:
    """Entries of one rank that the same addresses reach.

    Attributes:
        entries: The entries in the order in which they are tried.
    """

    __slots__ = ("_named", "_other", "_segments", "entries")

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = entries
        # Protocols that no rule names share one answer: the first rule for any protocol.
        self._named = frozenset(p for entry in entries for p in entry.rule.protocols)
        self._other: Segments | None = None
        self._segments: dict[int, Segments] = {}

    def find(self, protocol: int, value: int) -> Entry | None:
        """Give the first entry that takes a protocol and a port or ICMP type and code."""
        segments = self._segments.get(protocol)
        if segments is None:
            segments = self._flatten(protocol)
        starts, owners = segments
        return owners[bisect_right(starts, value) - 1]

    def starts(self, protocol: int) -> list[int]:
        """Give where the answer for a protocol changes."""
        return (self._segments.get(protocol) or self._flatten(protocol))[0]

    def _flatten(self, protocol: int) -> Segments:
        """Cut the 16-bit scale of a protocol, once, into segments with one answer each."""
        if protocol not in self._named:
            if self._other is None:
                first = next((e for e in self.entries if spans(e.rule, protocol)), None)
                self._other = ([0], [first])
            segments = self._other
        else:
            segments = _cut(self.entries, protocol)
        self._segments[protocol] = segments
        return segments


def _cut(entries: Sequence[Entry], protocol: int) -> Segments:
    ranges: list[tuple[int, int, int]] = []
    points = {0}
    for order, entry in enumerate(entries):
        taken = spans(entry.rule, protocol)
        for first, last in taken:
            ranges.append((first, order, last))
            points.add(first)
            points.add(last + 1)
        if taken == _FULL:
            break  # whatever comes later can never be reached
    ranges.sort()
    starts: list[int] = []
    owners: list[Entry | None] = []
    active: list[tuple[int, int]] = []
    position = 0
    for point in sorted(points):
        while position < len(ranges) and ranges[position][0] == point:
            heapq.heappush(active, ranges[position][1:])
            position += 1
        while active and active[0][1] < point:
            heapq.heappop(active)
        owner = entries[active[0][0]] if active else None
        if not owners or owners[-1] is not owner:
            starts.append(point)
            owners.append(owner)
    return starts, owners
