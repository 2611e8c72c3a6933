"""What was decided about the first fragment of a datagram, for the fragments behind it.

Where conntrack is loaded the kernel puts datagrams together before they are queued; this is for
where it is not, and for captures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from trireme_datapath.judgement import Outcome
    from trireme_datapath.packet import Packet

__all__ = ["FragmentTable"]

_TIMEOUT_NS: Final = 30_000_000_000  # net.ipv4.ipfrag_time

_Key = tuple[bytes, bytes, int, int]


class FragmentTable:
    """Verdicts by addresses, protocol and identification, for 30 seconds.

    Args:
        max_datagrams: How many are remembered; beyond, the older half is forgotten.
    """

    def __init__(self, max_datagrams: int) -> None:
        """Start empty."""
        self._max = max_datagrams
        self._verdicts: dict[_Key, tuple[bool, Outcome | None, int]] = {}

    def clear(self) -> None:
        """Forget all, because the policy changed."""
        self._verdicts.clear()

    def keep(self, packet: Packet, outcome: Outcome | None, *, denied: bool, now_ns: int) -> None:
        """Remember what was decided about a first fragment, and by which outcome, if by any."""
        if len(self._verdicts) >= self._max:
            kept = list(self._verdicts.items())[self._max // 2 :]
            self._verdicts = dict(kept)
        self._verdicts[_key(packet)] = (denied, outcome, now_ns)

    def find(self, packet: Packet, now_ns: int) -> tuple[bool, Outcome | None] | None:
        """Say if the datagram of a later fragment is denied, and by what; None: nobody knows."""
        known = self._verdicts.get(_key(packet))
        if known is None or now_ns - known[2] > _TIMEOUT_NS:
            return None
        return known[:2]


def _key(packet: Packet) -> _Key:
    return packet.source, packet.destination, packet.protocol, packet.identification
