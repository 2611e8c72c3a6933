"""Names of interfaces by index, remembered, and asked again now and then."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["InterfaceNames"]

_MAX_NAMES: Final = 1024  # a host with more interfaces only pays a system call for some of them
_REFRESH_NS: Final = 10_000_000_000  # interfaces are renamed when they are set up, rarely later


class InterfaceNames:
    """The names of interfaces by their index."""

    __slots__ = ("_lookup", "_names", "_next_refresh_ns")

    def __init__(self, lookup: Callable[[int], str] = socket.if_indextoname) -> None:
        """Remember nothing yet.

        Args:
            lookup: Asks the system for a name; raises OSError when there is no such index.
        """
        self._lookup = lookup
        self._names: dict[int, str] = {}
        self._next_refresh_ns = 0

    def _ask(self, index: int) -> str:
        try:
            return self._lookup(index)
        except OSError:
            return ""  # the interface went while the packet waited

    def name(self, index: int) -> str:
        """Give the name; empty for index 0 and for an interface that is gone."""
        if index == 0:
            return ""
        name = self._names.get(index)
        if name is None:
            name = self._ask(index)
            if len(self._names) >= _MAX_NAMES:
                del self._names[next(iter(self._names))]
            self._names[index] = name
        return name

    def refresh(self, now_ns: int) -> bool:
        """Ask again for every name, if it is time to.

        Returns:
            Whether any name changed.
        """
        if now_ns < self._next_refresh_ns:
            return False
        self._next_refresh_ns = now_ns + _REFRESH_NS
        changed = False
        for index, old in list(self._names.items()):
            name = self._ask(index)
            if name != old:
                self._names[index] = name
                changed = True
        return changed
