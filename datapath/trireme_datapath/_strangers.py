"""Connections that the flow table does not know: it had to make room, or the agent is new.

What is known of one is what the kernel says: its addresses and ports, and its mark.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trireme_datapath._account_records import ICMP, NOTHING
from trireme_datapath.flows import Flow, Origin
from trireme_datapath.packets import Hook

if TYPE_CHECKING:
    from collections.abc import Callable

    from trireme_datapath.core import EngineCore
    from trireme_datapath.kernel.conntrack import ConnectionRow
    from trireme_datapath.kernel.marks import ConnectionMark
    from trireme_datapath.rulings import Ruling

__all__ = ["Strangers"]

_MAX_RULINGS: Final = 4_096  # all are forgotten at once, in about a millisecond


class Strangers:
    """Finds out whose a connection is, and remembers what was reported of those that had to go.

    Args:
        core: What the doors of the engine share.
        mark: The mark that accepted connections have; None where connections are not marked.
        is_local: Whether a packed address is one of this host.
        max_evicted: How many connections are remembered.
    """

    def __init__(
        self,
        core: EngineCore,
        mark: ConnectionMark | None,
        is_local: Callable[[bytes], bool],
        max_evicted: int,
    ) -> None:
        """Know none."""
        self._core = core
        self._mark = mark
        self._is_local = is_local
        self._max_evicted = max_evicted
        self._evicted: dict[tuple[int, bytes], tuple[int, int, int, int]] = {}
        self._rulings: dict[tuple[int, bytes], Ruling | bool] = {}
        self._rulings_revision = core.revision

    def remember(self, flow: Flow, reported: tuple[int, int, int, int]) -> None:
        """Remember what was reported of a flow that had to make room."""
        if len(self._evicted) >= self._max_evicted:
            self._core.counters["accounts_forgotten"] += 1
            return
        self._evicted[flow.protocol, flow.key] = reported

    def recall(self, protocol: int, key: bytes) -> tuple[int, int, int, int] | None:
        """Give what was reported of a connection, once; None if nothing is remembered."""
        return self._evicted.pop((protocol, key), None)

    def reported(
        self, row: ConnectionRow, key: bytes, known_since_ns: int
    ) -> tuple[int, int, int, int]:
        """Give what was reported of a connection that is taken into the table.

        It had to make room before, or is of a former life of the agent. What that reported is not
        known, but of a connection that was young at its end it is nothing.

        Args:
            row: The connection.
            key: Its packed addresses and ports.
            known_since_ns: When the oldest began that was young then.
        """
        found = self.recall(row[0], key)
        if found is None:
            found = NOTHING if row[9] > known_since_ns else row[5:9]
        return found

    def is_ours(self, row: ConnectionRow) -> bool:
        """Whether the mark of a connection says that it was accepted here."""
        mark = self._mark
        return mark is not None and row[11] & mark.mask == mark.accepted

    def origin(self, row: ConnectionRow) -> Origin:
        """Say where the first packet of a connection must have been queued."""
        if self._core.policy.local_unit is None:
            return Origin(Hook.UNKNOWN, "", "", 0)
        if self._is_local(row[2]):
            return Origin(Hook.LOCAL_IN, "", "", 0)
        if self._is_local(row[1]):
            return Origin(Hook.LOCAL_OUT, "", "", 0)
        return Origin(Hook.FORWARD, "", "", 0)

    def rule(self, row: ConnectionRow, key: bytes) -> Ruling | bool:
        """Judge a connection by its addresses; for one without units say if it passes."""
        core = self._core
        rulings = self._rulings
        if self._rulings_revision != core.revision or len(rulings) >= _MAX_RULINGS:
            rulings.clear()
            self._rulings_revision = core.revision
        pair = (row[0], row[1] + row[2] + (row[4] if row[0] not in ICMP else key[-4:]))
        ruling = rulings.get(pair)
        if ruling is None:
            way = core.ways.find(self.origin(row).hook, "", "", 0)
            ruling = rulings[pair] = core.rule(row[0], key, way, "")
        return ruling

    def forget_rulings(self) -> None:
        """Forget what was decided, because the same question may have another answer now."""
        self._rulings.clear()
