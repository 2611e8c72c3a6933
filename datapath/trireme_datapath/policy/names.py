"""The addresses that the DNS names in the rules of a unit stand for, as answers told."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["MAX_LEARNED_ADDRESSES", "UnitNames", "name_matches"]

MAX_LEARNED_ADDRESSES: Final = 4_096
"""Addresses that one unit may have learned; beyond, the one that expires first goes."""


def name_matches(pattern: str, name: str) -> bool:
    """Whether a name, without its last dot, is the one of a rule or lies below its wildcard."""
    if pattern.startswith("*."):
        return name.endswith(pattern[1:]) and len(name) >= len(pattern)
    return name == pattern


class UnitNames:
    """What the names of one unit stand for now.

    Args:
        patterns: The number of the address set that each name or wildcard is; without last dots.

    Attributes:
        sets: The numbers of the sets that hold each learned address.
        evicted: Addresses that had to make room.
    """

    __slots__ = ("_exact", "_expiries", "_order", "_wild", "evicted", "sets")

    def __init__(self, patterns: Mapping[str, int]) -> None:
        """Begin knowing nothing."""
        self._exact = {name: number for name, number in patterns.items() if name[:2] != "*."}
        self._wild = {name[2:]: number for name, number in patterns.items() if name[:2] == "*."}
        # By address: when each name stops to stand for it.
        self._expiries: dict[bytes, dict[str, int]] = {}
        self._order: list[tuple[int, bytes, str]] = []
        self.sets: dict[bytes, tuple[int, ...]] = {}
        self.evicted = 0

    def numbers(self, name: str) -> tuple[int, ...]:
        """Give the sets that a name, without its last dot, belongs to."""
        exact = self._exact.get(name)
        found = [] if exact is None else [exact]
        if self._wild:
            rest = name
            while True:
                _, dot, rest = rest.partition(".")
                if not dot:
                    break
                number = self._wild.get(rest)
                if number is not None:
                    found.append(number)
        return tuple(found)

    def learn(self, name: str, address: bytes, expires_ns: int) -> bool:
        """Note that a name stands for an address until a time.

        Returns:
            Whether that changed which rules the address meets.
        """
        if not self.numbers(name):
            return False
        names = self._expiries.setdefault(address, {})
        known = names.get(name)
        if known is not None and known >= expires_ns:
            return False
        names[name] = expires_ns
        if known is not None:
            return False  # its place in the order is put right when its turn comes
        heapq.heappush(self._order, (expires_ns, address, name))
        while len(self._order) > MAX_LEARNED_ADDRESSES:
            self._forget_first()
        return self._settle(address)

    def expire(self, now_ns: int) -> bool:
        """Forget what is no longer so; say whether something was."""
        changed = False
        order = self._order
        while order and order[0][0] <= now_ns:
            _, address, name = order[0]
            expires_ns = self._expiries[address][name]
            if expires_ns > now_ns:  # it was told again meanwhile
                heapq.heapreplace(order, (expires_ns, address, name))
                continue
            heapq.heappop(order)
            changed |= self._drop(address, name)
        return changed

    def learned(self) -> Iterator[tuple[str, bytes, int]]:
        """Give every name with an address and when it expires."""
        for address, names in self._expiries.items():
            for name, expires_ns in names.items():
                yield name, address, expires_ns

    def _forget_first(self) -> None:
        _, address, name = heapq.heappop(self._order)
        self._drop(address, name)
        self.evicted += 1

    def _drop(self, address: bytes, name: str) -> bool:
        names = self._expiries[address]
        del names[name]
        if not names:
            del self._expiries[address]
        return self._settle(address)

    def _settle(self, address: bytes) -> bool:
        names = self._expiries.get(address, ())
        numbers = tuple(sorted({number for name in names for number in self.numbers(name)}))
        before = self.sets.pop(address, ())
        if numbers:
            self.sets[address] = numbers
        return numbers != before
