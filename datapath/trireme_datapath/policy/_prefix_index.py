"""Longest-prefix match over elementary intervals.

All prefixes of a family cut the address space into intervals inside of which every address
has the same longest prefix. One binary search finds the interval. Where there are many
IPv4 intervals, a directory by the first two bytes leaves the search only a few of them:
a search through all would spend its time waiting for memory.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trireme_datapath.policy.model import Prefix

__all__ = ["PrefixIndex", "PrefixNode"]

T = TypeVar("T")
_DIRECTORY_FROM = 1_024  # intervals; fewer stay in the processor's cache anyway


class PrefixNode(Generic[T]):
    """A prefix, what is known about it, and the next shorter prefix around it."""

    __slots__ = ("parent", "prefix", "value")

    def __init__(self, prefix: Prefix, value: T, parent: PrefixNode[T] | None) -> None:
        self.prefix = prefix
        self.value = value
        self.parent = parent


class PrefixIndex(Generic[T]):
    """Finds the longest of many prefixes that contains an address."""

    __slots__ = ("_directory", "_owners_4", "_owners_6", "_starts_4", "_starts_6")

    def __init__(self, values: Mapping[Prefix, T]) -> None:
        """Cut the address space once."""
        prefixes = sorted(values, key=lambda prefix: (prefix.network, prefix.length))
        of_4 = (prefix for prefix in prefixes if len(prefix.network) == 4)
        of_6 = (prefix for prefix in prefixes if len(prefix.network) == 16)
        self._starts_4, self._owners_4 = _cut(of_4, values, 4)
        self._starts_6, self._owners_6 = _cut(of_6, values, 16)
        self._directory = (
            _directory(self._starts_4) if len(self._starts_4) >= _DIRECTORY_FROM else None
        )

    def find(self, address: bytes) -> PrefixNode[T] | None:
        """Give the longest prefix that contains a packed address, or None."""
        if len(address) == 16:
            return self._owners_6[bisect_right(self._starts_6, address) - 1]
        directory = self._directory
        if directory is None:
            return self._owners_4[bisect_right(self._starts_4, address) - 1]
        block = address[0] << 8 | address[1]
        low, high = directory[block], directory[block + 1]
        return self._owners_4[bisect_right(self._starts_4, address, low, high) - 1]


def _directory(starts: list[bytes]) -> array[int]:
    """Give, for each first two bytes, where the intervals that begin there begin."""
    blocks = (block.to_bytes(2) + bytes(2) for block in range(0x10000))
    return array("L", [*(bisect_left(starts, block) for block in blocks), len(starts)])


def _cut(
    prefixes: Iterable[Prefix], values: Mapping[Prefix, T], size: int
) -> tuple[list[bytes], list[PrefixNode[T] | None]]:
    bits = size * 8
    end_of_space = 1 << bits
    starts = [0]
    owners: list[PrefixNode[T] | None] = [None]
    # Prefixes nest or are apart, never overlap in part: the stack holds the open ones.
    open_nodes: list[tuple[int, PrefixNode[T]]] = []

    def note(start: int, owner: PrefixNode[T] | None) -> None:
        if starts[-1] == start:
            owners[-1] = owner
        elif start < end_of_space:
            starts.append(start)
            owners.append(owner)

    def close() -> None:
        end, _ = open_nodes.pop()
        note(end, open_nodes[-1][1] if open_nodes else None)

    for prefix in prefixes:
        start = int.from_bytes(prefix.network)
        while open_nodes and open_nodes[-1][0] <= start:
            close()
        parent = open_nodes[-1][1] if open_nodes else None
        node = PrefixNode(prefix, values[prefix], parent)
        open_nodes.append((start + (1 << (bits - prefix.length)), node))
        note(start, node)
    while open_nodes:
        close()
    return [start.to_bytes(size) for start in starts], owners
