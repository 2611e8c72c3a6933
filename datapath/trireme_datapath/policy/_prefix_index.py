"""Longest-prefix match over elementary intervals.

All prefixes of a family cut the address space into intervals inside of which every address
has the same longest prefix. One binary search finds the interval.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trireme_datapath.policy.model import Prefix

__all__ = ["PrefixIndex", "PrefixNode"]

T = TypeVar("T")


class PrefixNode(Generic[T]):
    """A prefix, what is known about it, and the next shorter prefix around it."""

    __slots__ = ("parent", "prefix", "value")

    def __init__(self, prefix: Prefix, value: T, parent: PrefixNode[T] | None) -> None:
        self.prefix = prefix
        self.value = value
        self.parent = parent


class PrefixIndex(Generic[T]):
    """Finds the longest of many prefixes that contains an address.

    Attributes:
        starts: By address size (4, 16), the first address of every interval, sorted.
        owners: By address size, the longest prefix of every interval, or None.
    """

    __slots__ = ("owners", "starts")

    def __init__(self, values: Mapping[Prefix, T]) -> None:
        """Cut the address space once."""
        self.starts: dict[int, list[bytes]] = {}
        self.owners: dict[int, list[PrefixNode[T] | None]] = {}
        for size in (4, 16):
            prefixes = [prefix for prefix in values if len(prefix.network) == size]
            prefixes.sort(key=lambda prefix: (prefix.network, prefix.length))
            self.starts[size], self.owners[size] = _cut(prefixes, values, size)

    def find(self, address: bytes) -> PrefixNode[T] | None:
        """Give the longest prefix that contains a packed address, or None."""
        size = len(address)
        return self.owners[size][bisect_right(self.starts[size], address) - 1]


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
