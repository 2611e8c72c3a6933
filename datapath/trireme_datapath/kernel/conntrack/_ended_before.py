"""Which connections of a list had ended before some moment: somebody else has told of those.

The kernel keeps a TCP connection for a while after both sides are done, and says how long yet.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trireme_datapath.kernel.conntrack._rows import ConnectionRow

__all__ = ["EndedBefore"]

_DIRECTORY: Final = Path("/proc/sys/net/netfilter")
_TCP: Final = 6
_SECOND: Final = 1_000_000_000
# By state: the setting that says how long the kernel keeps such a connection, and its default.
_KEPT: Final = {
    7: ("nf_conntrack_tcp_timeout_time_wait", 120),
    8: ("nf_conntrack_tcp_timeout_close", 10),
}


class _Listing(Protocol):
    @property
    def rows(self) -> Sequence[ConnectionRow]: ...

    def seconds_left(self, index: int) -> int: ...


class EndedBefore:
    """Finds connections that had ended before a moment.

    Args:
        moment_ns: The moment, nanoseconds since 1970 UTC.
        directory: Where the settings of the kernel are.
    """

    def __init__(self, moment_ns: int, directory: Path = _DIRECTORY) -> None:
        """Read the settings of the network namespace of the calling thread."""
        self._moment_ns = moment_ns
        self._kept_ns = {
            state: _read(directory / name, default) * _SECOND
            for state, (name, default) in _KEPT.items()
        }

    def among(self, listing: _Listing, now_ns: int) -> frozenset[int]:
        """Give the positions of those in a part of a list.

        The kernel tells whole seconds: one that ended in the second of the moment is none of them.

        Args:
            listing: The part.
            now_ns: When it was read.
        """
        found = set()
        for index, row in enumerate(listing.rows):
            kept_ns = self._kept_ns.get(row[12], 0) if row[0] == _TCP else 0
            if kept_ns:
                left_ns = (listing.seconds_left(index) + 1) * _SECOND
                if now_ns - kept_ns + left_ns <= self._moment_ns:
                    found.add(index)
        return frozenset(found)


def _read(path: Path, default: int) -> int:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return default
